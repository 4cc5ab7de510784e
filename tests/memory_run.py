"""A run with as many classes as examples; prints the peak of its memory in MiB.

python tests/memory_run.py FOLDER
"""

import sys
from pathlib import Path

from unlearn import pipeline


def main(folder):
    config = pipeline.default_config()
    config.data.name = "synthetic:8x8x1,classes=10000,train=12000,test=500"
    config.model.name = "mlp"
    config.model.mlp.widths = (32,)
    config.train.epochs, config.seeds, config.attack_examples = 1, 1, 100
    config.run = ("finetune",)
    config.methods.finetune.epochs = 1
    pipeline.run(config, folder)
    print(peak_mebibytes())


def peak_mebibytes():
    """Of this program alone: `getrusage` counts the process that started it as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 2**10


if __name__ == "__main__":
    main(sys.argv[1])
