"""Experiments, one file each: `python launch.py --experiment=NAME`.

A file here, or any file of yours (`--experiment=PATH.py`), is an experiment if it has

    def get_config(preset):
        # Returns the settings, an ml_collections.ConfigDict.

    def run(config, folder, *, data_dir=None):
        # Optional. Does the work and writes all it finds into `folder`.
        # `data_dir` is where prepared data sets lie, None for the default place.

    def tune(config, folder, *, data_dir=None):
        # Optional. What `--tune` does in the place of `unlearn.pipeline.tune.run`, if
        # the config has a section `tune`.

Without `run`, `unlearn.pipeline.run` does the work, and `get_config` changes what it
wants to in `unlearn.pipeline.default_config()`. A `run` of its own returns the
pipeline's `Result`, or whatever has a `diverged` like it: if methods are named there,
the command ends with an error after everything else is written. Every field of the
config can be set on the command line: `--config.train.epochs=3`. A method that the file
defines with `@method` runs like those of the package.

Three presets, chosen by `--preset`:

- `smoke`: seconds on a CPU, made-up data of the same shape, nothing to download. It
  shows that all parts work together; its numbers mean nothing.
- `cpu`: a small net and as few seeds as the question allows; minutes on two cores.
- `full`: the protocol of the literature, for a GPU or a TPU.

The first line of the docstring is the experiment's line in `--list_experiments`. The
rest says what the experiment shows, how long it takes and what came out;
the whole tables are in `README.md` beside this file.

A file whose name starts with an underscore is a helper of experiments. It is imported
relatively (`from . import _audit`), since this folder is the package `experiments` in a
checkout and `unlearn.experiments` where the package is installed.
"""
