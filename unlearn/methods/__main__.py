"""Prints `README.md` of this folder: python -m unlearn.methods > README.md."""

import re

from unlearn import training_time
from unlearn.methods import METHODS

EXAMPLE = '''
"""Small steps on the retain set: minimises E_r[CE(f(x), y)] from the original."""

import jax

from unlearn.methods import method
from unlearn.problem import Problem, Variables
from unlearn.optimizers import sgd
from unlearn.training import classification, fit


@method(
    needs=("retain",),
    paper="arXiv:2304.04934",
    differs="a constant learning rate",
    search={"learning_rate": (1e-3, 0.3)},
)
def small_steps(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 10,
    batch_size: int = 256,
) -> tuple[Variables, dict]:
    """Trains on the retain set; `info["loss"]` is float32[epochs, steps]."""
    variables, losses = fit(
        key,
        variables,
        problem,
        problem.retain,
        classification(problem.model),
        sgd(learning_rate),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
'''

PAGE = """\
# Methods

Made by `python -m unlearn.methods` from what each method declares; do not edit.

A method is a function `(key, variables, problem, *, ...) -> (variables, info)`. It gets
the original model's variables and returns new ones; `info` is a dict of small arrays.
It is pure: it never changes what it is given, the same arguments give the same result,
and it can be jitted and mapped (`jax.vmap`) over keys, variables, forget and retain
sets of one size and every float.

```python
import jax

from unlearn import methods

new_variables, info = methods.finetune(
    jax.random.key(0), variables, problem, learning_rate=0.02
)
```

`methods.METHODS["finetune"]` holds what it declares:

- `needs`: what it may see, of `forget`, `retain`, `forget_classes` (*classes* below:
  the classes that go as a whole), `validation`, `early` (the original after some
  epochs of its training) and `start` (before them). An experiment withholds all else:
  what is not named is `None` in the problem, and with one of the two sets named,
  examples and labels are cut down to that set (`unlearn.problem.withhold`).
- `certifies`: whether it proves an (epsilon, delta) of its constants, whoever sees the
  result alone.
- `ascends`: whether it climbs something of the forget set that has no upper end, such
  as its loss. It aims at no model, so it may pass the one that never saw the set and
  end farther from that than the original is, more so the more alike forgotten and
  retained examples are ([arXiv:2509.26427](https://arxiv.org/abs/2509.26427)).
- `inputs`: what the model must be applied to. *any*: images, floats, token ids, a dict
  of arrays. *continuous*: one array of floats, since the method changes or makes
  inputs; *images*: floats [H, W, C]. Others are refused in a line.
- `scope`: `class` if it only forgets whole classes, `both` if it forgets any set.
- `kind`: *zero-shot* if it needs neither forget nor retain set, so that it sees no data
  at all; *exact* for retraining; else *approximate*.
- `paper`, and `differs`: in what it is not as in the paper.
- `search`: the floats that `unlearn.pipeline.tune` tunes, each with its lowest and
  highest value.

{table}

Of all rows: weight decay is PyTorch's, L2 on all parameters, in SGD before momentum and
in Adam before its scaling. A ragged last batch counts by its examples; released code
gives it the say of a full one. *theirs* is the option that gives the released variant.
For eight methods (`random_labels`, `salun`, `scrub`, `neggrad_plus`, `boundary_shrink`,
`delete`, `bad_teacher`, `ssd`) tests hold the weights after some steps against the
released loop, re-expressed in NumPy: what their rows do not name agrees.

## Training-time methods

The methods of `unlearn.training_time` also change how the model is trained: `fit(key,
problem) -> state`, `forget(key, state, indices) -> (state, info)`, `predict(state,
examples) -> logits`, on any inputs; `for_serving(state)` predicts only.
`unlearn.requests.states` saves and loads states.

{training_table}

*exact*: the state is, bit for bit, that of `fit` without the examples. *certified*: it
keeps an (epsilon, delta) account and answers a removal past it by a new fit; whoever
saw the version before is not covered. *none*: what later updates learnt from the
examples stays.

## Add a method

One file is all, anywhere that gets imported:

```python
{example}
```

In this folder, add its import line to `__init__.py`; elsewhere, import the file before
the experiment runs. Then it is in `METHODS`, in this table (`python -m unlearn.methods
> unlearn/methods/README.md`), and the tests of `tests/methods/test_protocol.py` run it:
purity, determinism, one compilation, vmap over keys, forget sets and a float (against a
loop where it has control flow or solvers), forget sets smaller than a batch, models
with and without batch statistics. The tests choose small constants by the arguments'
names; `tests/cases.py` overrides them where that is not enough. Test what is particular
to the method against something that is not itself: a closed form, a dense computation,
a property.

`unlearn/training.py` is the training loop (`shuffle`, `epoch`, `fit`); an objective is
`(variables, batch, key) -> (loss, variables)`.
"""


def page() -> str:
    """Returns the text of `README.md`."""
    rows = [
        (
            f"`{m.name}`",
            _needs(m.needs),
            _scope(m.scope),
            m.inputs,
            "yes" if m.ascends else "",
            m.paper,
            m.differs,
        )
        for m in sorted(METHODS.values())
    ]
    head = ("Method", "Needs", "For", "Inputs", "Ascends", "Paper")
    head += ("Differs from the paper",)
    of_training = [
        (f"`{m.name}`", m.guarantee, m.paper, m.differs)
        for m in training_time.METHODS.values()
    ]
    training_head = ("Method", "Guarantee", "Paper", "Differs from the paper")
    return PAGE.format(
        table=_table(head, rows),
        training_table=_table(training_head, of_training),
        example=EXAMPLE.strip(),
    )


def _table(head, rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_linked, line))} |" for line in lines)


def _linked(cell: str) -> str:
    cell = cell.replace("|", r"\|")
    return re.sub(r"arXiv:([\d.]+\d)", r"[\g<0>](https://arxiv.org/abs/\1)", cell)


def _needs(needs) -> str:
    return ", ".join(need.replace("forget_classes", "classes") for need in needs)


def _scope(scope: str) -> str:
    return "any" if scope == "both" else scope


if __name__ == "__main__":
    print(page(), end="")
