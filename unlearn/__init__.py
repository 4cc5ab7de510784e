"""Machine unlearning in JAX.

from unlearn import Problem, Model, make_problem, methods, metrics
"""

from unlearn import methods, metrics
from unlearn.errors import InputError
from unlearn.problem import Batch, Model, Problem, make_problem

__all__ = [
    "Batch",
    "InputError",
    "Model",
    "Problem",
    "make_problem",
    "methods",
    "metrics",
]
