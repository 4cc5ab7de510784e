"""TODO."""


def layer_noise(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
