"""What is particular to the seven winners of the NeurIPS 2023 challenge."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import class_of_tiny_problem, tiny_problem
from trees import assert_close, assert_equal, flat

from unlearn import make_problem
from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.methods.noise_reset import class_weights
from unlearn.models import create, from_linen
from unlearn.problem import withhold

FULL = dict(batch_size=42, weight_decay=0.0)  # a pass is one full batch


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.relu(nn.Conv(8, (1, 1))(x))
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        return nn.Dense(3)(x.reshape(len(x), -1))


@pytest.fixture(scope="module")
def conv():
    """(problem, variables): as many forgotten as retained; nothing is exactly zero."""
    problem = tiny_problem(from_linen(ConvNet()), forget=20)
    variables = problem.model.init(jax.random.key(8), problem.inputs(problem.forget))
    return problem, jax.tree.map(lambda x: x + 0.01, variables)


@pytest.fixture(scope="module")
def wide():
    """A net of four dense layers and its variables."""
    problem = tiny_problem(create("mlp", 3, widths=(128, 64, 32)))
    return problem, problem.model.init(jax.random.key(8), problem.inputs(jnp.arange(1)))


def prepare(name, problem, variables, **constants):
    """`(**floats) -> variables`; the method sees what it needs, no more."""
    info = METHODS[name]
    fn = jax.jit(functools.partial(info.fn, **constants))
    seen = withhold(problem, info.needs)
    return lambda **floats: fn(jax.random.key(3), variables, seen, **floats)[0]


def changed(before, after):
    """`{path: array of booleans}` of the parameters that differ at all."""
    old = jax.tree_util.tree_leaves_with_path(before["params"])
    new = jax.tree.leaves(after["params"])
    differ = {
        "/".join(k.key for k in path): np.asarray(a) != np.asarray(b)
        for (path, a), b in zip(old, new, strict=True)
    }
    return {path: d for path, d in differ.items() if d.any()}


def outputs(problem, variables, indices, train=True):
    """(logits, variables) from first principles."""
    inputs = (problem.images[indices] / 255.0 - problem.mean) / problem.std
    return problem.model.apply(variables, inputs, train=train)


def ce(logits, labels):
    return -jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]


def kl(p, q):
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)), -1)


def gradient_of(loss, variables):
    """Gradient of `loss(variables) -> (loss, variables)`, and the variables after."""

    def of_params(params):
        return loss({**variables, "params": params})

    return jax.jit(jax.grad(of_params, has_aux=True))(variables["params"])


def step(loss, variables, rate, pace=None):
    """One plain gradient step; `pace` multiplies the gradient."""
    gradient, after = gradient_of(loss, variables)
    if pace is not None:
        gradient = jax.tree.map(jnp.multiply, gradient, pace)
    params = jax.tree.map(lambda p, g: p - rate * g, variables["params"], gradient)
    return {**after, "params": params}


def retain_loss(problem):
    def loss(variables):
        logits, variables = outputs(problem, variables, problem.retain)
        return ce(logits, problem.labels[problem.retain]).mean(), variables

    return loss


# 1st


def test_kl_contrastive_step_by_step(problem, variables):
    """Uniform once, then contrast and repair twice, each with its own momentum."""
    uniform, contrast_rate, repair_rate, temperature = 0.05, 0.02, 0.03, 1.3
    forget, retain = problem.forget, problem.retain

    def flatten(variables):
        logits, variables = outputs(problem, variables, forget)
        return kl(jnp.full(3, 1 / 3), jax.nn.softmax(logits)).mean(), variables

    def contrast(variables):
        of_retain, _ = outputs(problem, jax.lax.stop_gradient(variables), retain)
        of_forget, variables = outputs(problem, variables, forget)
        share = jax.nn.softmax(of_forget @ of_retain.T / temperature)
        return -jnp.log(share).mean(), variables

    expected = step(flatten, variables, uniform)
    velocities = [jax.tree.map(jnp.zeros_like, variables["params"])] * 2
    for cosine in (1.0, 0.5):
        losses = (contrast, contrast_rate * cosine), (retain_loss(problem), repair_rate)
        for i, (loss, rate) in enumerate(losses):
            gradient, _ = gradient_of(loss, expected)
            velocities[i] = jax.tree.map(
                lambda v, g: 0.9 * v + g, velocities[i], gradient
            )
            decay = 0.1 if i else 0.0
            params = jax.tree.map(
                lambda p, v, rate=rate, decay=decay: (
                    p - rate * (v + decay * p * (p.ndim > 1))
                ),
                expected["params"],
                velocities[i],
            )
            expected = {"params": params}
    fn = prepare(
        "kl_contrastive", problem, variables, epochs=2, batch_size=40, weight_decay=0.1
    )
    after = fn(
        learning_rate=repair_rate,
        uniform_learning_rate=uniform,
        forget_learning_rate=contrast_rate,
        temperature=temperature,
    )
    assert_close(after, expected, 1e-4, 1e-5)


# 2nd


def test_masked_small_gradients_renews_the_smallest_of_each_filter(conv):
    """r' is all of r here, so the scores have no randomness."""
    problem, variables = conv
    after = prepare("masked_small_gradients", problem, variables, epochs=1, **FULL)(
        learning_rate=0.0, fraction=0.25
    )

    def mean_loss(indices):
        def loss(variables):
            logits, _ = outputs(problem, variables, indices, train=False)
            return ce(logits, problem.labels[indices]).mean(), variables

        return loss

    of_retain, of_forget = (
        gradient_of(mean_loss(i), variables)[0]
        for i in (problem.retain, problem.forget)
    )
    differ = changed(variables, after)
    assert differ.keys() == {f"Conv_{i}/kernel" for i in range(3)}
    for path, renewed in differ.items():
        layer, _ = path.split("/")
        pair = of_retain[layer]["kernel"], of_forget[layer]["kernel"]
        score = np.abs(np.subtract(*pair))
        assert renewed.sum() == round(0.25 * score.size)
        assert score[renewed].max() <= score[~renewed].min()


def test_masked_small_gradients_slows_the_kept_filters(conv):
    """Three full-batch steps at rates 1/2, 1, 1/2 from the renewed weights."""
    problem, variables = conv
    rate, slow = 0.2, 0.3
    fn = prepare(
        "masked_small_gradients", problem, variables, epochs=3, momentum=0.0, **FULL
    )
    renewed = fn(learning_rate=0.0, slow=slow)
    expected = {**variables, "params": renewed["params"]}
    differ = changed(variables, renewed)

    def pace(path, w):
        name = "/".join(k.key for k in path)
        return np.where(differ[name], 1.0, slow) if name in differ else 1.0

    pace = jax.tree_util.tree_map_with_path(pace, variables["params"])
    for part in (0.5, 1.0, 0.5):
        expected = step(retain_loss(problem), expected, part * rate, pace)
    after = fn(learning_rate=rate, slow=slow)
    assert_close(after, expected, 1e-4, 1e-5)
    unscaled = fn(learning_rate=rate, slow=1.0)
    assert np.abs(flat(unscaled) - flat(expected)).max() > 1e-3


def test_masked_small_gradients_without_convolutions(wide):
    after = prepare("masked_small_gradients", *wide, epochs=1, **FULL)(
        learning_rate=0.0, fraction=0.5
    )
    differ = changed(wide[1], after)
    assert differ.keys() == {f"Dense_{i}/kernel" for i in range(4)}
    for renewed in differ.values():
        assert renewed.mean() == 0.5


# 3rd


def test_noise_reset_noises_the_first_kernel_by_sigma(wide):
    """Both doses, alone and together; nothing else moves."""
    fn = prepare("noise_reset", *wide, epochs=2, **FULL)
    for sigma, last_sigma, std in ((0.6, 0.0, 0.6), (0.0, 0.2, 0.2), (0.3, 0.4, 0.5)):
        after = fn(learning_rate=0.0, sigma=sigma, last_sigma=last_sigma)
        assert changed(wide[1], after).keys() == {"Dense_0/kernel"}
        noise = flat(after) - flat(wide[1])
        noise = noise[noise != 0]
        assert noise.size == 16 * 128
        np.testing.assert_allclose(noise.std(), std, rtol=0.08)
        assert abs(noise.mean()) < 0.1 * std


def test_noise_reset_of_every_convolution(conv):
    after = prepare("noise_reset", *conv, epochs=1, every=True, **FULL)(
        learning_rate=0.0
    )
    kernels = {f"Conv_{i}/kernel" for i in range(3)}
    assert changed(conv[1], after).keys() == kernels


def counts(problem):
    """Retained examples by class; class 1 is forgotten, so it has none."""
    return [np.sum(np.asarray(problem.labels)[problem.retain] == c) for c in range(3)]


def uneven_class_problem():
    """Class 1 forgotten; 14 examples of class 0 retained and 5 of class 2."""
    problem = class_of_tiny_problem()
    kept = np.asarray(problem.retain)
    of_two = kept[np.asarray(problem.labels)[kept] == 2]
    return problem.replace(retain=jnp.asarray(np.setdiff1d(kept, of_two[:9])))


def test_class_weights_of_a_forgotten_class():
    """The last class keeps its own weight although one before it is gone."""
    problem = uneven_class_problem()
    assert counts(problem) == [14, 0, 5]
    balanced = class_weights(problem)
    np.testing.assert_allclose(balanced, [19 / (2 * 14), 0, 19 / (2 * 5)], rtol=1e-6)
    mild = np.asarray(class_weights(problem, 0.1))
    np.testing.assert_allclose(mild[0] / mild[2], (14 / 5) ** -0.1, rtol=1e-6)
    np.testing.assert_allclose(14 * mild[0] + 5 * mild[2], 19, rtol=1e-6)


def test_noise_reset_weighs_each_example_by_its_class(variables):
    problem, rate = uneven_class_problem(), 0.3
    labels = np.asarray(problem.labels[problem.retain])

    def weighted(variables):
        logits, variables = outputs(problem, variables, problem.retain)
        by_class = [ce(logits, labels)[labels == c].mean() for c in (0, 2)]
        return sum(by_class) / 2, variables

    after = prepare("noise_reset", problem, variables, epochs=1, **FULL)(
        learning_rate=rate, sigma=0.0
    )
    assert_close(after, step(weighted, variables, rate), 1e-4, 1e-6)
    unweighted = step(retain_loss(problem), variables, rate)
    assert np.abs(flat(after) - flat(unweighted)).max() > 1e-3


# 4th


def test_prune_reinit_entropy_renews_the_globally_smallest(conv):
    problem, variables = conv
    constants = dict(FULL, epochs=1, quantise=False)
    after = prepare("prune_reinit_entropy", problem, variables, **constants)(
        learning_rate=0.0, fraction=0.6
    )
    layers = {k: v for k, v in variables["params"].items() if "Norm" not in k}
    magnitudes = np.abs(flat(layers))
    renewed = flat(layers) != flat({k: after["params"][k] for k in layers})
    assert renewed.sum() == round(0.6 * magnitudes.size)
    assert magnitudes[renewed].max() <= magnitudes[~renewed].min()
    assert all("Norm" not in path for path in changed(variables, after))


def test_prune_reinit_entropy_matches_entropies(variables):
    """A full-batch step on a class-forgetting problem, from the renewed weights."""
    problem, rate = uneven_class_problem(), 0.2
    labels = problem.labels[problem.retain]
    weights = jnp.where(labels == 0, 14**-0.1, 5**-0.1)

    def entropies(variables):
        p = jax.nn.softmax(outputs(problem, variables, problem.retain)[0])
        return -jnp.sum(p * jnp.log(p), -1)

    def loss(variables_):
        logits, variables_ = outputs(problem, variables_, problem.retain)
        weighted = jnp.sum(weights * ce(logits, labels)) / weights.sum()
        gaps = entropies(variables_) - entropies(variables)
        return weighted + jnp.mean(gaps**2), variables_

    constants = dict(FULL, epochs=1, quantise=False)
    fn = prepare("prune_reinit_entropy", problem, variables, **constants)
    start = fn(learning_rate=0.0, fraction=0.5)
    after = fn(learning_rate=rate, fraction=0.5)
    assert_close(after, step(loss, start, rate), 1e-4, 1e-6)
    rounded = prepare(
        "prune_reinit_entropy", problem, variables, **constants | {"quantise": True}
    )(learning_rate=rate, fraction=0.5)
    half = flat(after).astype(np.float16).astype(np.float32)
    assert np.any(half != flat(after))
    np.testing.assert_allclose(flat(rounded), half, rtol=0, atol=6.2e-5)
    normal = np.abs(half) > 6.2e-5
    np.testing.assert_array_equal(flat(rounded)[normal], half[normal])


# 5th


def test_conv_transpose_transposes_square_filters_only(conv):
    problem, variables = conv
    after = prepare("conv_transpose", problem, variables, epochs=1, **FULL)(
        learning_rate=0.0
    )
    expected = {k: dict(v) for k, v in variables["params"].items()}
    for layer in ("Conv_0", "Conv_2"):
        kernel = np.array(expected[layer]["kernel"])
        for i, j in np.ndindex(3, 3):
            expected[layer]["kernel"] = (
                expected[layer]["kernel"].at[i, j].set(kernel[j, i])
            )
    assert_equal(after["params"], expected)
    assert changed(variables, after).keys() == {"Conv_0/kernel", "Conv_2/kernel"}


def test_conv_transpose_of_a_dense_net_sees_transposed_images(wide):
    problem, variables = wide
    turned = problem.replace(images=jnp.swapaxes(problem.images, 1, 2))
    fn = prepare("conv_transpose", problem, variables, epochs=1, **FULL)
    after = fn(learning_rate=0.0)
    assert changed(variables, after).keys() == {"Dense_0/kernel"}
    before, _ = outputs(problem, variables, problem.retain)
    assert_close(outputs(turned, after, problem.retain)[0], before, 1e-4, 1e-5)
    start, loss = after, retain_loss(problem)
    assert_close(fn(learning_rate=0.1), step(loss, start, 0.1), 1e-4, 1e-5)


def test_conv_transpose_says_when_there_is_nothing_to_transpose():
    images = np.zeros((6, 4, 2, 1), np.uint8)
    problem = make_problem(images, np.arange(6) % 3, [0], create("mlp", 3, widths=(4,)))
    variables = problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(1)))
    with pytest.raises(InputError, match="another method"):
        prepare("conv_transpose", problem, variables)()


# 6th


def test_reset_head_distill_step_by_step(conv):
    """First layer and head are new; then a warm-up step and a repair step."""
    problem, variables = conv
    warmup_rate, rate, temperature = 0.5, 0.1, 3.0
    fn = prepare(
        "reset_head_distill", problem, variables, epochs=1, warmup_epochs=1, **FULL
    )
    reset = fn(learning_rate=0.0, warmup_learning_rate=0.0)
    layers = {"Conv_0/kernel", "Conv_0/bias", "Dense_0/kernel", "Dense_0/bias"}
    assert changed(variables, reset).keys() == layers
    for layer in ("Conv_0", "Dense_0"):
        pair = variables["params"][layer]["kernel"], reset["params"][layer]["kernel"]
        assert abs(np.corrcoef(*map(np.ravel, pair))[0, 1]) < 0.4

    def distil(variables_):
        wanted, _ = outputs(problem, variables, problem.retain, train=False)
        logits, variables_ = outputs(problem, variables_, problem.retain)
        p, q = (
            jax.nn.softmax(wanted / temperature),
            jax.nn.softmax(logits / temperature),
        )
        return kl(p, q).mean(), variables_

    def repair(variables_):
        # The soft cross-entropy is the KL but for a constant.
        entropy, (loss, after) = distil(variables_)[0], retain_loss(problem)(variables_)
        return loss + 2 * entropy, after

    expected = step(distil, {**variables, "params": reset["params"]}, warmup_rate)
    expected = step(repair, expected, rate)
    after = fn(
        learning_rate=rate, warmup_learning_rate=warmup_rate, temperature=temperature
    )
    assert_close(after, expected, 1e-4, 1e-5)


# 7th


def test_layer_noise_noises_a_share_of_the_drawn_layers(wide):
    """One noisy epoch: half of two layers, so one; the head is new besides."""
    problem, variables = wide
    fn = prepare(
        "layer_noise", problem, variables, epochs=3, tail_epochs=1, count=2, **FULL
    )
    calm, noisy = (
        fn(learning_rate=0.0, share=0.5, sigma=sigma) for sigma in (0.0, 0.4)
    )
    assert changed(variables, calm).keys() == {"Dense_3/kernel"}
    (layer,) = {path.split("/")[0] for path in changed(calm, noisy)}
    noise = flat(noisy["params"][layer]) - flat(calm["params"][layer])
    assert np.all(noise != 0)
    np.testing.assert_allclose(noise.std(), 0.4, rtol=0.2)


def test_layer_noise_trains_the_drawn_layers_then_all_at_a_lower_rate(wide):
    """Two epochs with one layer each leave others bit-identical; the tail is a step."""
    problem, variables = wide
    constants = dict(FULL, count=1)
    fn = prepare(
        "layer_noise", problem, variables, epochs=2, tail_epochs=0, **constants
    )
    reset, drawn = (fn(learning_rate=rate, sigma=0.0) for rate in (0.0, 0.1))
    assert 1 <= len({path.split("/")[0] for path in changed(reset, drawn)}) <= 2
    fn = prepare(
        "layer_noise", problem, variables, epochs=3, tail_epochs=1, **constants
    )
    after = fn(learning_rate=0.1, sigma=0.0, tail=0.25)
    assert_close(after, step(retain_loss(problem), drawn, 0.025), 1e-4, 1e-6)
    assert len(changed(drawn, after)) == 8


def test_layer_noise_says_when_no_epoch_is_left_for_noise(wide):
    with pytest.raises(InputError, match="lower tail_epochs"):
        prepare("layer_noise", *wide, epochs=5)()
