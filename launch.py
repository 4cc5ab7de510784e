"""Runs an experiment: `python launch.py --experiment=cifar_forget`."""

from unlearn import launcher

if __name__ == "__main__":
    launcher.main()
