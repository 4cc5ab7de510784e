"""TODO."""


def prune_reinit_entropy(key, variables, problem, *, learning_rate=0.01):
    """TODO."""
    raise NotImplementedError
