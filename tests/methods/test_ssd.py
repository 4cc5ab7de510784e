"""What is particular to SSD, and to LFSSD, which dampens by the same sizes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from references import dense_fisher
from sklearn.datasets import load_digits
from trees import assert_close, distance

from unlearn import make_problem
from unlearn.models import from_linen
from unlearn.problem import sample_retain
from unlearn.training import Recipe, predict_set, train


@pytest.mark.slow
def test_ssd_dampens_by_the_formula(problem, variables):
    alpha, dampening = 1.0, 0.8
    everything = jnp.arange(len(problem.labels))
    of_forget = dense_fisher(problem, variables, problem.forget)
    of_all = dense_fisher(problem, variables, everything)

    def dampen(p, f, d):
        return np.where(f > alpha * d, p * np.minimum(dampening * d / f, 1), p)

    expected = jax.tree.map(dampen, variables["params"], of_forget, of_all)
    fn, seen = case("ssd", problem, alpha=alpha, dampening=dampening)
    after, info = fn(jax.random.key(0), variables, seen)
    assert_close(after["params"], expected, 1e-4)
    assert 0 < info["selected"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssd", "lfssd"])
def test_a_sample_of_the_retain_set_dampens_as_all_of_it(name, problem, variables):
    """Of five copies of each retained example one, and the size of the whole."""
    whole = problem.replace(retain=jnp.tile(problem.retain, 5))
    part = problem.replace(retain=problem.retain, total_retain=5 * len(problem.retain))
    key = jax.random.key(0)
    expected, sampled, unknown = (
        case(name, p, alpha=1.0)[0](key, variables, p)[0]
        for p in (whole, part, problem)
    )
    assert_close(sampled, expected, 1e-4)
    assert distance(unknown, expected) > 1e-2  # the control: the share of the sample


class NormedPerceptron(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(len(x), -1)
        for width in (128, 64):
            x = nn.Dense(width)(x)
            norm = nn.BatchNorm(use_running_average=not train, momentum=0.9)
            x = nn.relu(norm(x))
        return nn.Dense(10)(x)


@pytest.fixture(scope="module")
def digits():
    """The digits of scikit-learn, to be forgotten: the 7s, and a net of all."""
    data = load_digits()
    images, labels = np.uint8(data.images * 255 / 16)[..., None], data.target
    sevens = np.flatnonzero(labels == 7)
    net = from_linen(NormedPerceptron())
    problem = make_problem(images, labels, sevens, net, forget_classes=[7])
    recipe = Recipe(epochs=15, batch_size=64, learning_rate=0.05)
    fitting = jax.jit(lambda key: train(key, problem, jnp.arange(len(labels)), recipe))
    return problem, fitting(jax.random.key(0))[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssd", "lfssd"])
def test_a_class_of_the_digits_is_gone_with_200_retained_examples(name, digits):
    problem, variables = digits
    part = sample_retain(jax.random.key(1), problem, 200)

    def accuracy(variables, indices):
        predicted = predict_set(problem, variables, indices).argmax(-1)
        return np.mean(predicted == problem.labels[indices])

    assert accuracy(variables, problem.forget) > 0.99
    fn, _ = case(name, problem, alpha=2.0, dampening=1.0)
    for seen in (problem, part):
        after, _ = fn(jax.random.key(0), variables, seen)
        assert accuracy(after, problem.forget) == 0
        assert accuracy(after, problem.retain) > 0.95
    wrong = part.replace(retain=part.retain)  # the control: 200 are taken for all
    after, _ = fn(jax.random.key(0), variables, wrong)
    assert accuracy(after, problem.forget) > 0.1
