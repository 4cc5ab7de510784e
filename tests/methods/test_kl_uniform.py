"""What is particular to uniform outputs."""

import jax
import numpy as np
from cases import case
from references import linear_case, softmax

KEY = jax.random.key(3)

WHOLE = dict(batch_size=40, momentum=0.9)


def test_kl_uniform_gradient():
    """d KL(uniform || softmax) / d logits = p - 1/K, a mean over examples."""
    problem, original = linear_case()
    fn, seen = case("kl_uniform", problem, learning_rate=0.3, epochs=1, **WHOLE)
    after, info = fn(KEY, original, seen)
    x = np.asarray(problem.inputs(problem.forget)).reshape(len(problem.forget), -1)
    kernel = np.asarray(original["params"]["head"]["kernel"])
    p = softmax(x @ kernel)
    np.testing.assert_allclose(
        after["params"]["head"]["kernel"],
        kernel - 0.3 * x.T @ (p - 1 / 3) / len(x),
        rtol=1e-4,
        atol=1e-5,
    )
    kl = np.mean(np.sum(np.log(1 / 3 / p) / 3, -1))
    np.testing.assert_allclose(info["loss"][0, 0], kl, rtol=1e-4)
