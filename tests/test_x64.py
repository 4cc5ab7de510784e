"""With JAX_ENABLE_X64=1 every method traces, and those that are run give float32."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHILD = """
import functools, warnings
warnings.simplefilter("error", FutureWarning)
import jax, jax.numpy as jnp, numpy as np
from cases import case
from conftest import class_of_tiny_problem, traced_once
from training_time_cases import GONE, SETTINGS
from unlearn import training_time
from unlearn.methods import METHODS
from unlearn.models import create

assert jax.config.jax_enable_x64
RUN = "conv_transpose", "duck", "influence", "newton_head", "sfron", "gkt"
nets = create("cnn", 3, widths=(2,), dense=4), create("allcnn", 3, width=2)
nets = [traced_once(net) for net in nets]
for net in nets:
    problem = class_of_tiny_problem(net)
    init = jax.jit(lambda: net.init(jax.random.key(0), problem.inputs(problem.forget)))
    variables = init()
    types = jax.tree.map(lambda x: x.dtype, variables)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    for name in METHODS if net is nets[0] else RUN:
        fn, seen = case(name, problem)
        after, _ = jax.eval_shape(fn, jax.random.key(1), variables, seen)
        assert jax.tree.map(lambda x: x.dtype, after) == types, name
        if net is nets[0] and name in RUN:
            after, _ = fn(jax.random.key(1), variables, seen)
            assert all(np.isfinite(x).all() for x in jax.tree.leaves(after)), name
problem = class_of_tiny_problem(nets[0])
for name, method in training_time.METHODS.items():
    state = method.fit(jax.random.key(0), problem, **SETTINGS[name])
    state, _ = method.forget(jax.random.key(1), state, GONE)
    logits = method.predict(state, problem.examples)
    assert logits.dtype == jnp.float32 and np.isfinite(logits).all(), name
print("all", len(METHODS))
"""


@pytest.mark.slow
def test_every_method_traces_and_runs_with_64_bit_numbers_enabled():
    environment = os.environ | {
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("all"), done.stderr[-3000:]
