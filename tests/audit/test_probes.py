"""Looks below the outputs: layers, probes, distances of outputs."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import plain_model, tiny_data
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from unlearn import make_problem
from unlearn.audit import controls, probes
from unlearn.metrics import divergence, idi
from unlearn.training import Recipe, train


@pytest.mark.slow
def test_a_new_head_on_the_original_body_is_seen():
    """It answers as a retrained model does, and its layers know what they knew."""
    images, labels = tiny_data(150, balanced=True)
    problem = make_problem(
        images,
        labels,
        np.flatnonzero(labels == 1),
        plain_model(hidden=4),
        num_classes=3,
        forget_classes=[1],
        validation=tiny_data(15, seed=1),
    )
    recipe = Recipe(epochs=8, batch_size=16, learning_rate=0.1)
    fit = jax.jit(lambda key, indices: train(key, problem, indices, recipe)[0])
    original = fit(jax.random.key(0), np.arange(150))
    retrained, other = (fit(jax.random.key(s), problem.retain) for s in (1, 2))
    distilled = controls.head_distill(original, problem, retrained)
    models = distilled, original, retrained, other
    layers = probes.Layers(SimpleNamespace(problem=problem), 500)
    logits = [
        np.asarray(problem.model.apply(v, problem.inputs(layers.indices))[0])
        for v in models
    ]
    forgotten = [values[layers.forgotten] for values in logits]
    distance = [divergence.activation_distance(f, forgotten[2]) for f in forgotten]
    assert np.mean(forgotten[1].argmax(axis=1) == 1) > 0.9
    assert np.mean(forgotten[0].argmax(axis=1) == 1) < 0.1
    assert distance[0] < distance[1] / 3

    known = [layers.of(variables) for variables in models]
    assert [x.shape for x in known[0]] == [(100, 4)]  # neither image nor logits
    told = [layers.information(values) for values in known]
    assert idi.difference_of(*told[:3]).index == pytest.approx(1, abs=1e-3)
    assert abs(idi.difference_of(told[3], *told[1:3]).index) < 0.3
    whole = idi.information_difference(*known[:3], layers.forgotten)
    assert whole.index == idi.difference_of(*told[:3]).index
    outputs = [[values] for values in logits[:3]]
    index = idi.information_difference(*outputs, layers.forgotten).index
    assert index < 0.95  # what comes out alone tells less
    assert layers.probe(known[0]) == layers.probe(known[1]) > 0.9


def test_output_distances_are_each_of_the_right_pair():
    rng = np.random.default_rng(0)
    ours, retrained, untrained = 2 * rng.normal(size=(3, 40, 3))
    p, q, r = (softmax(x, axis=1) for x in (ours, retrained, untrained))
    same = np.mean(ours.argmax(axis=1) == retrained.argmax(axis=1))
    assert probes.output_distances(ours, retrained, untrained) == pytest.approx(
        {
            "js": np.mean(jensenshannon(p, q, axis=1) ** 2),
            "activation": np.mean(np.sqrt(np.sum((p - q) ** 2, axis=1))),
            "agreement": same,
            "completeness": 40 * same / (80 - 40 * same),
            "zrf": 1 - np.mean(jensenshannon(p, r, axis=1) ** 2),
        }
    )
