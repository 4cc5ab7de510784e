"""TODO."""


def reset_head_distill(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
