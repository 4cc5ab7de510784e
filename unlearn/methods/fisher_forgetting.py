"""TODO."""


def fisher_forgetting(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
