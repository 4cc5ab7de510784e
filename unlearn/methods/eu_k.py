"""TODO."""


def eu_k(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
