"""HAM10000 without vascular lesions: zero-shot unlearning, fine-tuning, SISA.

    python launch.py --experiment=ham10000_zero_shot

`--preset=cpu`: 64x64, one seed, a small residual net of 40 epochs, 22.5 s each on one
core. On test data of the six classes that stay (always "nevus": 66.9 % and 16.7 %):

                accuracy   balanced   loss
    original        72.3       57.1   0.75
    retrain         73.0       59.8   0.73

The zero-shot methods collapse with their default constants, and only the balanced
accuracy shows it. The whole table, losses, published values and what a request costs
SISA are in `README.md` beside this file.

The data is downloaded by hand: `unlearn/data/ham10000.py` says what and where to. The
zero-shot methods see no data and forget whole classes only, hence a class: `vasc`, 142
images that look like no other. There are 58 nevi to a dermatofibroma: in training an
example weighs the size of its class to the power of -0.7, between each example (0) and
each class (1) counting the same (0.5, 0.7 and 0.75 were tried). No lesion is on two
sides of the test or validation split. The table is `ham.md`; that of the pipeline is
`summary.md`.
"""

import numpy as np

from unlearn import pipeline, store, training_time
from unlearn.audit import probes
from unlearn.report import csv_files
from unlearn.report.plotting import MODELS

from . import _ham_report as ham

VASC = 6
BALANCE = 0.7  # rare classes count for more than their examples, less than a common one
RELEARN = dict(steps=100, batch_size=32, learning_rate=1e-2)


def get_config(preset: str):
    config = pipeline.default_config()
    config.run = ("finetune", "emmn", "gkt", "sisa")
    config.data.update(name="ham10000", flip=True, rotate=30.0, jitter=0.1)
    config.data.image_size = 224
    config.forget.kind = "class"
    config.forget.classes = (VASC,)
    config.train.balance = BALANCE
    config.methods.finetune.update(balance=BALANCE, early_stopping=True)
    config.methods.sisa.update(vote="probability", balance=BALANCE)
    if preset == "full":
        config.model.name = "resnet18"
        config.model.dtype = "bfloat16"
        config.train.update(epochs=60, batch_size=64, learning_rate=0.05)
        config.methods.finetune.update(epochs=15, batch_size=64)
        config.methods.sisa.update(epochs=60, batch_size=64, learning_rate=0.02)
        return config
    config.seeds = 1
    config.data.image_size = 64
    config.model.name = "poolnet"
    config.model.poolnet.widths = (16, 32, 64, 128)
    config.train.update(epochs=40, batch_size=64, learning_rate=0.05, warmup_epochs=2)
    config.methods.finetune.update(epochs=5, batch_size=64)
    config.methods.sisa.update(shards=3, slices=3, epochs=12, batch_size=64)
    if preset == "smoke":
        config.data.name = "synthetic:32x32x3,classes=7,train=350,test=105"
        config.data.image_size = 0
        config.model.poolnet.widths = (4, 8)
        config.train.update(epochs=2, warmup_epochs=0)
        config.methods.finetune.epochs = 2
        config.methods.sisa.update(shards=2, slices=2, epochs=2, batch_size=32)
        config.methods.emmn.update(images=8, epochs=1, repair_epochs=2)
        config.methods.gkt.update(rounds=3, batch_size=16, width=16)
    return config


def run(config, folder, *, data_dir=None):
    """Runs the pipeline; writes `ham.csv`, `sisa.csv` and `ham.md`."""
    pipeline.require_reference(config, "this experiment's report")
    result = pipeline.run(config, folder, data_dir=data_dir)
    if result.diverged:
        return result
    rows = table_rows(result, config)
    folder, sets = result.run.folder, result.run.sets
    columns = ("model", "seed", *ham.COLUMNS)
    csv_files.write_csv(
        folder / "ham.csv", [{key: row.get(key) for key in columns} for row in rows]
    )
    requests = 1, 10, len(sets.forget)
    costs = ham.sisa_costs(len(sets.train_labels), requests, config.methods.sisa)
    csv_files.write_csv(folder / "sisa.csv", costs)
    text = ham.markdown(rows) + "\n" + ham.sisa_markdown(costs)
    store.write_text(folder / "ham.md", text)
    print(text)
    return result


def table_rows(result, config) -> list[dict]:
    """Returns a row a (model, seed), model by model, with a model from scratch last."""
    run, results = result.run, {(r["model"], r["seed"]): r for r in result.rows}
    made = tuple(dict.fromkeys((*MODELS, *config.run)))
    rows = {name: [] for name in (*made, probes.UNTRAINED)}
    for seed in range(config.seeds):
        curves = {
            name: np.asarray(probes.relearn(run, name, seed, **RELEARN).accuracy)
            for name in rows
            if name not in training_time.METHODS
        }
        for name in rows:
            row = {"model": name, "seed": seed}
            if name in made:
                losses = ham.losses_row(run.evaluation(name, seed), run.sets)
                row = results[name, seed] | losses
            if name in made and name in curves:
                _, info = pipeline.make_model(run, name, seed)
                best = info.get("best_epoch")
                row |= ham.trained_losses(run.log.lines, name, seed, best)
            if name in curves:
                row |= ham.relearn_row(
                    curves[name], curves["retrain"], curves["original"][0]
                )
            rows[name].append(row)
    return sum(rows.values(), [])
