"""TODO."""


def masked_small_gradients(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
