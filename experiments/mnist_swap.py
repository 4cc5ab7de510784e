"""MNIST's 6 is forgotten and 3 learnt in its place; which weights that takes.

    python launch.py --experiment=mnist_swap

Three seeds of `--preset=cpu`, eight minutes on one core: no test 6 is still called 6
and 98.3 % are called 3; 3 keeps 99.2 % (99.5 before); the other eight digits lose 0.11
points together, one of them up to 0.50, where retraining without the 6 already costs
one of them up to 0.35. The whole table is in `README.md` beside this file.

Which weights were touched, a tenth of all, is in `figures/touched.png`; what is taken
for what before and after in `figures/confusion.png` and `figures/per_class.png`.
"""

from unlearn import pipeline, store, surgery
from unlearn.data.lookup import class_numbers
from unlearn.errors import InputError
from unlearn.pipeline import default_config
from unlearn.report import csv_files, plotting
from unlearn.report.plotting import MODELS

from . import _swap_report as swap


def get_config(preset: str):
    config = default_config()
    config.run = ("class_swap",)
    config.data.name = "mnist"
    config.data.validation = 0.05
    config.forget.kind = "class"
    config.forget.classes = (6,)
    config.model.name = "cnn"
    config.train.learning_rate = 0.1
    config.methods.class_swap.update(SWAP)
    if preset == "full":
        config.train.epochs = 20
        config.train.batch_size = 256
        return config
    config.attack_examples = 2000
    config.seeds = 3
    config.train.epochs = 5
    config.train.batch_size = 128
    if preset == "smoke":
        config.data.name = "synthetic:28x28x1,classes=10,train=600,test=200"
        config.data.validation = 0.1
        config.seeds = 1
        config.train.epochs = 2
        config.train.batch_size = 64
    return config


# By hand, learning rates 0.02 to 0.1, fractions 0.02 to 0.3, penalties 1e-4 to 1e-2;
# `--tune --config.tune.trials=9 --config.tune.classes=2,5` found none that are better.
SWAP = dict(target=3, learning_rate=0.05, epochs=2, fraction=0.1, penalty=1e-3)


def run(config, folder, *, data_dir=None):
    """Runs the pipeline; writes `swap.csv`, `swap.md` and `figures/touched.png`."""
    target = config.methods.class_swap.target
    given = [str(one) for one in config.forget.classes]
    if len(given) != 1 or str(target) in ("-1", *given):
        raise InputError(
            "mnist_swap puts one class in the place of another: give one of them as "
            "forget.classes, the other as methods.class_swap.target"
        )
    pipeline.require_reference(config, "this experiment's report")
    result = pipeline.run(config, folder, data_dir=data_dir)
    if result.diverged:
        return result
    run, sets = result.run, result.run.sets
    (forget,) = class_numbers(config.forget.classes, sets.class_names)
    rows = []
    for name in dict.fromkeys((*MODELS, *config.run)):
        for seed in range(config.seeds):
            before, after = (
                run.evaluation(model, seed)["test_logits"]
                for model in ("original", name)
            )
            row = swap.swap_row(after, before, sets.test_labels, forget, target)
            rows.append({"model": name, "seed": seed} | row)
    csv_files.write_csv(run.folder / "swap.csv", rows)
    text = swap.markdown(rows, sets.class_names[forget], sets.class_names[target])
    store.write_text(run.folder / "swap.md", text)
    print(text)
    if "class_swap" in config.run:
        draw_touched(run)
    return result


def draw_touched(run) -> None:
    """Writes `figures/touched.png`: the weights that the swap of seed 0 changed."""
    before, after = (
        pipeline.make_model(run, name, 0)[0] for name in ("original", "class_swap")
    )
    layers = swap.touched(
        before["params"],
        after["params"],
        surgery.weighted_layers(run.problem, before),
    )
    figure = swap.figure(layers, f"{run.sets.title}, seed 0")
    plotting.save(figure, run.folder / "figures" / "touched.png")
