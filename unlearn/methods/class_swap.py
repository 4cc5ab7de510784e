"""TODO."""


def class_swap(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
