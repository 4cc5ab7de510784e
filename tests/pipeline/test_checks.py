"""Bad input gets one line before anything is made."""

import pytest
from small_runs import run

from unlearn.errors import InputError
from unlearn.pipeline import default_config
from unlearn.pipeline.checks import check_constants, check_known


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"forget__fraction": 0.0}, "empty"),
        ({"forget__fraction": 1.0}, r"\(0, 1\)"),
        ({"forget__fraction": -0.5}, r"\(0, 1\)"),
        ({"forget__count": -3}, "negative"),
        ({"forget__seed": -1}, "forget.seed must not be negative"),
        ({"data__examples": -1}, "data.examples must be 0 or more"),
        ({"forget__count": 5000}, "it would have 5000"),
        ({"forget__kind": "some"}, "unknown forget.kind"),
        ({"forget__kind": "class"}, "needs classes"),
        ({"forget__kind": "class", "forget__classes": (3,)}, "no class 3"),
        ({"forget__kind": "indices"}, "needs ids"),
        ({"forget__kind": "indices", "forget__indices": (200,)}, "0..199"),
        (
            {"forget__kind": "indices", "forget__indices": tuple(range(200))},
            "nothing to retain",
        ),
        (
            {"forget__kind": "indices", "forget__indices": tuple(range(190))},
            "nothing to retain",
        ),
        ({"forget__kind": "indices", "forget__file": "/no/such"}, "cannot read"),
        (
            {
                "forget__kind": "ids",
                "forget__file": "/no/such",
                "data__name": "no_such_data",
            },
            "cannot read ids",
        ),
        ({"data__validation": 1.0}, "data.validation"),
        ({"data__name": "no_such_data"}, "no_such_data"),
        ({"model__name": "vgg"}, "vgg"),
        ({"run": ("finetun",)}, "unknown method"),
        ({"train__batch_size": 500}, "train.batch_size"),
        ({"train__epochs": 0}, "train.epochs"),
        ({"train__schedule": "linearly"}, "train.schedule"),
        (
            {"train__learning_rate": -0.001},
            "train.learning_rate must be finite and at least 0; it is -0.001",
        ),
        ({"train__learning_rate": float("nan")}, "train.learning_rate must be finite"),
        ({"train__learning_rate": float("inf")}, "train.learning_rate must be finite"),
        ({"train__momentum": 1.0}, "train.momentum must be at least 0 and below 1; it"),
        ({"train__momentum": -0.1}, "train.momentum must be at least 0"),
        ({"train__weight_decay": -1e-3}, "train.weight_decay must be finite and at"),
        (
            {"train__warmup_epochs": 50},
            "train.warmup_epochs is 50, more than train.epochs, .*: lower it, or train",
        ),
        (
            {"methods__finetune__learning_rate": -0.1},
            "methods.finetune.learning_rate must be finite and at least 0; it is -0.1",
        ),
        ({"methods__finetune__momentum": 1.5}, "methods.finetune.momentum must be"),
        ({"methods__finetune__weight_decay": -1.0}, "methods.finetune.weight_decay m"),
        (
            {
                "run": ("undo",),
                "methods__undo__learning_rate": float("nan"),
            },
            "methods.undo.learning_rate must be finite",
        ),
        (
            {"run": ("undo",), "methods__undo__share": 2.0},
            "methods.undo.share is a share, from 0 to 1; it is 2.0",
        ),
        (
            {"run": ("salun",), "methods__salun__fraction": float("nan")},
            "methods.salun.fraction is a share",
        ),
        (
            {"run": ("salun",), "methods__salun__fraction": None},
            "methods.salun.fraction is a share, from 0 to 1; it is None",
        ),
        (
            {
                "run": ("retrain_short",),
                "methods__retrain_short__epochs": 3,
                "methods__retrain_short__planned_epochs": 1,
            },
            "retrain_short.epochs is 3, more than the 1 that are planned",
        ),
        ({"train__parts": 0}, "train.parts must be at least 1"),
        ({"train__parts": 1000}, "train.parts is 1000, more than the examples of a"),
        ({"seeds": 0}, "seeds must be"),
        ({"forget__file": "ids.txt"}, "set forget.kind=ids"),
        ({"forget__classes": (1,)}, "set forget.kind=class"),
        (
            {"forget__kind": "class", "forget__classes": (1,), "forget__count": 5},
            "forget.count is of forget.kind=random, and it is 'class'",
        ),
        ({"forget__class_fraction": 0.5}, "class_fraction is of classes, and"),
        ({"run": ("influence+rewind",)}, "rewind starts from early weights, so what"),
        (
            {"run": ("ssd", "noisy_rewind"), "methods__noisy_rewind__epsilon": 2e4},
            "methods.noisy_rewind: noisy steps: epsilon must be from 0.01",
        ),
        (
            {"run": ("layer_noise",), "methods__layer_noise__tail_epochs": 40},
            "methods.layer_noise: layer_noise with 40 tail epochs",
        ),
        ({"forget__kind": "class", "forget__classes": ("a",)}, "no class 'a'"),
        ({"attack_examples": -1}, "attack_examples"),
        ({"methods__finetune__epochs": 0}, "methods.finetune.epochs"),
        ({"methods__finetune__decay": "linearly"}, "methods.finetune.decay"),
        ({"methods__finetune__batch_size": 0}, "methods.finetune.batch_size"),
        ({"methods__ssd__group": 0}, "methods.ssd.group"),
        ({"run": ("scrub",), "methods__scrub__optimizer": "lion"}, "scrub.optimizer"),
        ({"run": ("scrub",), "methods__scrub__max_epochs": -1}, "scrub.max_epochs"),
        (
            {"run": ("scrub",), "data__validation": 0.0, "train__batch_size": 16},
            "needs a validation set for rewind",
        ),
        ({"model__mlp__widths": (0,)}, "widths"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path / "x", **changes)
    assert "\n" not in str(caught.value)
    there = list(tmp_path.rglob("*.npz")) + list(tmp_path.rglob("checkpoints"))
    assert {path.name for path in there} <= {"split.npz"}  # nothing was trained


def test_tables_that_an_experiment_replaced(tmp_path):
    """The method exists, and its constants do not."""
    config = default_config()
    with config.unlocked():
        config.methods = {"finetune": {"epochs": 2}}
    for name in ("amnesiac_relabel", "sisa", "scrub__long"):
        with pytest.raises(InputError) as caught:
            check_known(config, name)
        assert str(caught.value) == (
            f"config.methods has no table for {name}: get_config replaced it; add to "
            "it with c.methods.NAME = {...}"
        )
    for name in ("finetun", "finetune__long"):
        with pytest.raises(InputError, match=f"method '{name}': did you mean finetune"):
            check_known(config, name)


def test_constants_at_their_limits_are_taken():
    for section, constants in {
        "train": dict(learning_rate=0.0, momentum=0.0, epochs=2, warmup_epochs=2),
        "methods.finetune": dict(learning_rate=0.0, momentum=0.99, weight_decay=0.0),
        "methods.lipschitz": dict(learning_rate=0.1, momentum=1.0),
        "methods.lipschitz__sum": dict(learning_rate=0.1, momentum=1.0),
    }.items():
        check_constants(section, constants)
    for section, constants in {
        "methods.x": dict(last_learning_rate=-1.0),
        "methods.finetune": dict(momentum=1.0),
        "methods.lipschitz": dict(learning_rate=-0.1, momentum=1.0),
    }.items():
        with pytest.raises(InputError, match=f"{section}.*must be"):
            check_constants(section, constants)


@pytest.mark.slow
def test_a_method_that_refused_its_constants_does_not_spoil_a_run(tmp_path):
    run(tmp_path / "x", seeds=1, run=("ssd",))
    both = dict(seeds=1, run=("ssd", "noisy_rewind"))
    with pytest.raises(InputError, match="methods.noisy_rewind: noisy steps"):
        run(tmp_path / "x", **both, methods__noisy_rewind__epsilon=2e4)
    found = run(tmp_path / "x", **both, methods__noisy_rewind__epsilon=20.0)
    assert [row["model"] for row in found.rows][-2:] == ["ssd", "noisy_rewind"]


@pytest.mark.slow
def test_another_config_in_the_same_folder_is_refused(finished):
    folder, _ = finished
    before = (folder / "results.csv").read_bytes()
    with pytest.raises(InputError, match="train.epochs: 2 there, 3 now"):
        run(folder, train__epochs=3)
    assert (folder / "results.csv").read_bytes() == before


@pytest.mark.slow
def test_another_forget_set_in_the_same_file_is_refused(tmp_path):
    """The config names a file; what it holds is in the manifest."""
    ids = tmp_path / "ids.txt"
    ids.write_text("1 2 3")
    changes = {"forget__kind": "indices", "forget__file": str(ids), "run": ()}
    run(tmp_path / "x", seeds=1, **changes)
    before = (tmp_path / "x" / "split.npz").read_bytes()
    ids.write_text("1 2 4")
    with pytest.raises(InputError, match="forget set is not the one"):
        run(tmp_path / "x", seeds=1, **changes)
    assert (tmp_path / "x" / "split.npz").read_bytes() == before


def test_a_method_for_classes_is_refused_in_random_forgetting(tmp_path):
    with pytest.raises(InputError, match="whole classes only"):
        run(tmp_path, run=("unsir",))
    assert "unsir" not in default_config().run


def test_a_class_is_not_put_in_its_own_place(tmp_path):
    changes = dict(run=("class_swap",), forget__kind="class", forget__classes=(1,))
    with pytest.raises(InputError, match="class_swap.target is 1, a class to be forg"):
        run(tmp_path / "run", methods__class_swap__target=1, **changes)
    assert not (tmp_path / "run" / "checkpoints").exists()
