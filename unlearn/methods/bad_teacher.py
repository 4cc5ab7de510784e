"""TODO."""


def bad_teacher(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
