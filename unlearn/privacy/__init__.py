"""Differential privacy: what a model never memorised need not be forgotten.

`dp_sgd` trains with a bound on what any example can change. It needs jax-privacy
(`pip install "unlearn-jax[privacy]"`), which nothing else here does.
"""

from unlearn.privacy import dp_sgd

__all__ = ["dp_sgd"]
