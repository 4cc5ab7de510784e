"""TODO."""


def ntk_scrub(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
