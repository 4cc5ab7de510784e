"""Run by `test_spread.py` in a process of its own, which has eight devices.

Prints as JSON what came out of each net on one device and on eight.
"""

import json
import re

import jax
import numpy as np

from unlearn import devices, make_problem, models, spread, training
from unlearn.problem import on_devices

# Options, batch and rate. Where batches have statistics, rounding grows in training.
NETS = {
    "cnn": (dict(widths=(4, 8), dense=8), 37, 0.02),
    "poolnet": (dict(widths=(4,)), 40, 1e-3),
}


def main(net: str) -> dict:
    options, batch, rate = NETS[net]
    draw = np.random.default_rng(0)
    labels = np.arange(batch * 10) % 3
    images = draw.integers(0, 100, (len(labels), 8, 8, 1))
    images[np.arange(len(labels)), labels] += 100
    model = models.create(net, 3, **options)
    alone = make_problem(images.astype(np.uint8), labels, [], model, num_classes=3)
    recipe = training.Recipe(epochs=5, batch_size=batch, learning_rate=rate)

    def train(key, problem):
        return training.train(key, problem, problem.retain, recipe)

    found, key = {}, jax.random.key(0)
    for count in (1, 8):
        mesh = spread.make_mesh(count) if count > 1 else None
        problem = on_devices(alone, mesh)
        execute, _ = devices.compiled(train, key, problem)
        variables, losses = execute(key, problem)
        again = execute(key, problem)[0] if count > 1 else variables
        same = jax.tree.map(np.array_equal, *map(jax.device_get, (variables, again)))
        shapes = re.findall(
            r"= f32\[(\d+),[\d,]*\]\S* convolution\(", execute.as_text()
        )
        found[count] = {
            "losses": np.ravel(losses).tolist(),
            "same": all(jax.tree.leaves(same)),
            "batches": sorted(set(map(int, shapes))),
            "kinds": sorted(
                {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(variables)}
            ),
        }
    return found


if __name__ == "__main__":
    print(json.dumps({net: main(net) for net in NETS}))
