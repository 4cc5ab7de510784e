"""Run by `launcher/test_hosts.py` in two processes of two devices each."""

import sys

import jax
import numpy as np

from unlearn import hosts


def main(coordinator: str, process: int) -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)
    hosts.start(coordinator, 2, process)
    from conftest import tiny_problem
    from test_parallel import logits_of, many

    from unlearn import parallel

    assert jax.device_count() == 4 and hosts.from_first(b"%d" % process) == b"0"
    problem, models = tiny_problem(), many(5)
    for mode in parallel.MODES:
        (logits, _), how = parallel.map_models(logits_of, models, problem, mode=mode)
        assert how.devices == 4
        for number, found in enumerate(logits):
            own = jax.tree.map(lambda leaf, n=number: leaf[n], models)
            alone, _ = jax.jit(logits_of)(own, problem)
            np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)
    hosts.end()
    print("the same")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
