"""TODO."""


def amnesiac_relabel(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
