"""TODO."""


def delete(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
