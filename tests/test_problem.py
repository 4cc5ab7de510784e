"""The sets of a problem and the checks on a problem's arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data, tiny_problem

from unlearn import Model, make_problem
from unlearn.errors import InputError
from unlearn.inputs import Standardize, as_they_are, in_words
from unlearn.methods import METHODS
from unlearn.problem import sample_retain, withhold


def test_forget_and_retain_partition_the_training_set():
    p = tiny_problem()
    union = np.concatenate([p.forget, p.retain])
    assert sorted(union) == list(range(len(p.labels)))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: (x[..., 0], y), "uint8"),
        (lambda x, y: (np.zeros((len(x), 3, 8, 8), np.uint8), y), "channels-first"),
        (lambda x, y: (x / np.where(x > 0, x, 0.0), y), "not finite"),
        (lambda x, y: (np.full(x.shape, "a"), y), "arrays of numbers"),
        (lambda x, y: (np.float32(3), y), "axis of examples"),
        (lambda x, y: ({"a": x, "b": x[1:]}, y), "differ in their number"),
        (lambda x, y: (x, y[:-1]), "one an example"),
        (lambda x, y: (x, y.astype(float)), "one an example"),
        (lambda x, y: (x, np.eye(3)[y]), "one an example"),
        (lambda x, y: (x, y + 1), "0..2"),
        (lambda x, y: (x[:0], y[:0]), "empty"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_arrays_get_one_line(change, message):
    with pytest.raises(InputError, match=message) as error:
        make_problem(*change(*tiny_data()), [1], plain_model(), num_classes=3)
    assert "\n" not in str(error.value)


def test_inputs_are_standardised():
    images = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1)
    p = make_problem(images, [0, 1, 1], [0], plain_model(), mean=0.2, std=0.1)
    got = np.ravel(p.inputs(jnp.arange(3)))
    np.testing.assert_allclose(got, [-2, 0, 8], atol=1e-6)
    assert p.preprocess == Standardize((np.float32(0.2),), (np.float32(0.1),))


def linear(outputs):
    def init(key, inputs):
        width = sum(x[0].size for x in jax.tree.leaves(inputs))
        return {"params": {"kernel": 0.1 * jax.random.normal(key, (width, outputs))}}

    def apply(variables, inputs, *, train=False, key=None):
        flat = [x.reshape(len(x), -1) for x in jax.tree.leaves(inputs)]
        return jnp.concatenate(flat, -1) @ variables["params"]["kernel"], variables

    return Model(init, apply)


@pytest.mark.parametrize(
    "inputs, words",
    [
        (np.ones((6, 4), np.float32), "float32[4]"),
        pytest.param(
            np.ones((6, 4, 4, 1), np.float32),
            "float32[4, 4, 1]",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            np.arange(30).reshape(6, 5).astype(np.int32),
            "int32[5]",
            marks=pytest.mark.slow,
        ),
        pytest.param(np.eye(6, dtype=np.uint8), "uint8[6]", marks=pytest.mark.slow),
        pytest.param(np.eye(6) > 0, "bool[6]", marks=pytest.mark.slow),
        ({"a": np.ones((6, 2), np.float32), "b": np.ones((6, 3), np.int8)}, None),
        pytest.param([[1.0, 2.0]] * 6, "float32[2]", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_anything_but_images_is_taken_as_it_is(inputs, words):
    p = make_problem(inputs, [0, 1, 2] * 2, [4], linear(3), augment=None)
    assert p.preprocess is as_they_are
    if words:
        chosen = np.asarray(inputs)[[1, 3]]
        np.testing.assert_array_equal(p.inputs(jnp.array([1, 3])), chosen)
        assert in_words(p.input_spec) == words
    else:
        assert p.inputs(jnp.array([1])).keys() == {"a", "b"}
    v = p.model.init(jax.random.key(0), p.input_spec.zeros())
    after, _ = METHODS["finetune"].fn(jax.random.key(1), v, p, epochs=1)
    assert np.isfinite(after["params"]["kernel"]).all()
    assert np.any(after["params"]["kernel"] != v["params"]["kernel"])


@pytest.mark.parametrize("outputs", [2, 3, 4])
def test_the_outputs_are_as_many_as_the_classes(outputs):
    images, labels = tiny_data()
    if outputs < 3:
        with pytest.raises(InputError, match="2 outputs for 3 classes"):
            make_problem(images, labels, [1], linear(outputs))
    else:
        assert make_problem(images, labels, [1], linear(outputs)).num_classes == outputs
    if outputs != 3:
        with pytest.raises(InputError, match=f"{outputs} outputs for 3 classes"):
            make_problem(images, labels, [1], linear(outputs), num_classes=3)


@pytest.mark.parametrize(
    "forget, classes, message",
    [
        ([1], (9,), "names class 9"),
        ([1], (-1,), "names class -1"),
        ([0, 3], (1,), "6 examples of them are not"),
        ([0, 3, 6, 9, 12, 15], (0,), None),
        ([0, 3, 6, 9, 12], (0,), "1 examples of them are not"),
        ([0, 1, 3, 6, 9, 12, 15], (0,), "1 examples of other classes"),
        ([], (0,), "6 examples of them are not"),
    ],
)
def test_the_classes_are_what_is_forgotten(forget, classes, message):
    images, labels = tiny_data(18)[0], np.arange(18) % 3
    arguments = images, labels, forget, linear(3)
    if message is None:
        made = make_problem(*arguments, forget_classes=classes)
        np.testing.assert_array_equal(made.forget_classes, classes)
    else:
        with pytest.raises(InputError, match=message):
            make_problem(*arguments, forget_classes=classes)


@pytest.mark.parametrize(
    "forget",
    [[1, 4], (4, 1), {1, 4}, jnp.array([1, 4]), np.isin(np.arange(40), [1, 4])],
)
def test_forget_sets_are_indices_or_a_mask(forget):
    images, labels = tiny_data()
    p = make_problem(images, labels, forget, linear(3))
    np.testing.assert_array_equal(p.forget, [1, 4])


@pytest.mark.parametrize(
    "forget", [[1.0], [-1], [40], [1, 1], 5, [[1], [2]], range(40), [True, False]]
)
def test_other_forget_sets_are_refused(forget):
    images, labels = tiny_data()
    with pytest.raises(InputError):
        make_problem(images, labels, forget, linear(3))


def test_an_empty_forget_set_trains_but_is_not_forgotten():
    images, labels = tiny_data()
    p = make_problem(images, labels, [], linear(3))
    assert len(p.forget) == 0 and len(p.retain) == 40
    v = p.model.init(jax.random.key(0), p.inputs(p.retain[:1]))
    METHODS["finetune"].fn(jax.random.key(0), v, p)
    for name in METHODS:
        if "forget" in METHODS[name].needs:
            with pytest.raises(InputError, match="nothing to forget|whole classes"):
                METHODS[name].fn(jax.random.key(0), v, p)


def test_methods_for_classes_ask_for_them():
    images, labels = tiny_data()
    p = make_problem(images, labels, np.flatnonzero(labels == 1), linear(3))
    v = p.model.init(jax.random.key(0), p.inputs(p.retain[:1]))
    for info in METHODS.values():
        if info.scope == "class":
            with pytest.raises(InputError, match="name them in forget_classes"):
                jax.eval_shape(info.fn, jax.random.key(0), v, p)


def test_methods_in_input_space_refuse_tokens():
    tokens = np.arange(80).reshape(20, 4) % 7
    labels = np.arange(20) % 4
    p = make_problem(tokens, labels, np.flatnonzero(labels == 1), linear(4))
    p = p.replace(forget_classes=jnp.array([1]))
    v = p.model.init(jax.random.key(0), p.inputs(p.retain[:1]))
    found = [info for info in METHODS.values() if info.inputs != "any"]
    assert len(found) >= 7
    for info in found:
        with pytest.raises(InputError, match=f"^{info.name} needs inputs that are one"):
            info.fn(jax.random.key(0), v, p)


def test_a_std_of_zero_and_the_wrong_number_of_channels_are_refused():
    images, labels = tiny_data()
    for options in ({"std": 0.0}, {"mean": (0.1, 0.2, 0.3)}):
        with pytest.raises(InputError, match="mean|std"):
            make_problem(images, labels, [1], linear(3), **options)


@pytest.mark.parametrize(
    "augment, message",
    [
        (lambda key, x: x[:, :, ::-1], None),
        (
            lambda key, x: x.mean(-1),
            r"makes float32\[4, 4\] of inputs float32\[4, 4, 1",
        ),
        (lambda key, x: x["a"], r"augment fails \(\w+Error: .*\) of inputs float32"),
    ],
)
def test_an_augmentation_is_tried_before_anything_is_trained(augment, message):
    images, labels = tiny_data()
    if message is None:
        assert make_problem(images, labels, [1], linear(3), augment=augment).augment
    else:
        with pytest.raises(InputError, match=message):
            make_problem(images, labels, [1], linear(3), augment=augment)


def test_validation_in_64_bits_fits_training_in_32():
    x, labels = np.ones((6, 4)), np.arange(6) % 3
    held_out = x.astype(np.float32), labels
    p = make_problem(x, labels, [1], linear(3), validation=held_out)
    assert p.validation.examples.dtype == p.examples.dtype == np.float32


def test_problems_of_equal_constants_share_what_is_compiled():
    images, labels = tiny_data()
    model = plain_model()
    traced = []

    @jax.jit
    def inputs(problem):
        traced.append(problem.preprocess)
        return problem.inputs(problem.forget)

    for forget, std in (([1], 0.5), ([2], 0.5), ([2], np.float32(0.5)), ([2], 0.25)):
        inputs(make_problem(images, labels, forget, model, std=std))
    assert len(traced) == 2


def test_the_real_sizes_travel_with_a_sample_of_the_retain_set(problem):
    share = len(problem.forget) / (len(problem.forget) + len(problem.retain))
    sample = sample_retain(jax.random.key(0), problem, 5)
    again = sample_retain(jax.random.key(1), sample, 3)
    for part, size in ((problem, len(problem.retain)), (sample, 5), (again, 3)):
        assert len(part.retain) == size
        assert part.forget_share == pytest.approx(share)
    both = withhold(again, ("forget", "retain"))
    assert both.forget_share == pytest.approx(share)


def test_a_method_without_a_set_is_not_told_its_size(problem):
    for needs in ((), ("forget",), ("retain",)):
        seen = withhold(sample_retain(jax.random.key(0), problem, 5), needs)
        assert seen.total_forget is None and seen.total_retain is None


def test_classes_of_other_sizes_are_one_program_to_a_method_without_data():
    images, labels = tiny_data(balanced=False)
    seen, sizes, model = [], set(), linear(3)
    for forgotten in (0, 1):
        forget = np.flatnonzero(labels == forgotten)
        sizes.add(len(forget))
        p = make_problem(images, labels, forget, model, forget_classes=(forgotten,))
        seen.append(jax.tree.structure(withhold(p, METHODS["emmn"].needs)))
    assert len(sizes) == 2 and seen[0] == seen[1]


def test_a_new_retain_set_is_a_whole_one(problem):
    sample = sample_retain(jax.random.key(0), problem, 5)
    other = sample.replace(retain=problem.retain[:7])
    size = len(problem.forget)
    assert other.forget_share == pytest.approx(size / (size + 7))
