"""TODO."""


def boundary_expand(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
