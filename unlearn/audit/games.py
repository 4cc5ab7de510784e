"""What an attacker is asked about a model of a study, and how well the best one does.

- *shadow* and *stress*: was this example forgotten, or never seen? U-LiRA, LiRA
  offline and RMIA, all on the same examples.
- *request* of whole classes, where nothing of the class is ever unseen by one model and
  seen by the next: was this model unlearned, or retrained? The likelihood ratio of
  Gaussians, and of kernel densities (RULI's efficacy game), each example on its own and
  fitted to other models.

What counts is the strongest attack, and the attack on a model's whole forgotten set.
The intervals of the attacks hold together (Bonferroni), so that of the largest value
reaches from the largest lower end to the largest upper end of all.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from unlearn.audit.shadow_models import Measured
from unlearn.audit.studies import Study
from unlearn.metrics import lira, roc
from unlearn.metrics.clustered import Estimate
from unlearn.metrics.lira import FORGET, OUT
from unlearn.metrics.set_level import set_level
from unlearn.metrics.strongest import (
    EFFICACY,
    MEMBERSHIP,
    attack_all,
    largest,
    strongest,
)
from unlearn.metrics.verdict import OUTSIDE, WITHIN

RATE = 0.01  # of false alarms
NOWHERE = Estimate(np.nan, np.nan, np.nan)


class Game(NamedTuple):
    """Margins of models for whom an example is forgotten, or was never trained on."""

    margins: np.ndarray  # float64[S, N]
    states: np.ndarray  # int[S, N]
    population: np.ndarray  # float64[S, Z]: of examples that no model has seen
    of_classes: bool = False  # OUT rows are then those of other, retrained models


class Leak(NamedTuple):
    """What attacks find, with 95 % intervals."""

    leak: Estimate  # AUC of the strongest attack
    attack: str  # its name
    found: Estimate  # the largest true positive rate at 1 % false alarms
    whole: Estimate  # AUC of the attack on a whole forgotten set
    audits: Mapping[str, roc.Audit]  # by the name of the attack


def membership(
    study: Study, measured: Measured, chosen: np.ndarray | None = None
) -> Game:
    """Returns the game of a study with states, on the `chosen` bool[T] of its targets.

    By default on those that some models forget.
    """
    states, _ = study.roles()
    if chosen is None:
        chosen = (states == FORGET).any(axis=0)
    margins = measured.margins.astype(np.float64)
    own = margins[:, study.sets["targets"]][:, chosen]
    states = states[: len(margins), chosen]
    return Game(own, states, margins[:, study.sets["test"]])


def efficacy(study: Study, measured: Measured, retrained: Measured) -> Game:
    """Returns the game of a class request: `measured` or `retrained` models."""
    both = [m.margins.astype(np.float64) for m in (measured, retrained)]
    margins = np.concatenate(both)
    targets = study.sets["targets"]
    rows = np.repeat([FORGET, OUT], [len(part) for part in both])
    states = np.tile(rows[:, None], (1, targets.stop - targets.start))
    test = margins[:, study.sets["test"]]
    return Game(margins[:, targets], states, test, of_classes=True)


def play(game: Game, *, whole: bool = True) -> Leak:
    """Attacks, and returns what the strongest attacks find."""
    attacks = EFFICACY if game.of_classes else MEMBERSHIP
    audits = attack_all(game.margins, game.states, game.population, attacks)
    every = audits.values()
    return Leak(
        largest(Estimate(one.auc, *one.auc_interval) for one in every),
        strongest(audits),
        largest(Estimate(one.tpr_at_1fpr, *one.tpr_at_1fpr_interval) for one in every),
        set_level(game.margins, game.states) if whole else NOWHERE,
        audits,
    )


# Doses


def most_memorised(game: Game, count: int) -> np.ndarray:
    """Returns the positions of the examples whose margin training raises most.

    In deviations of the models that never saw them; `game` is that of the originals.
    They are selected by the margins that the dose is then attacked with; where nothing
    leaks, that lifts the AUC of the dose by nothing that can be seen (.48 to .51).
    """
    seen, unseen = (
        np.ma.masked_array(game.margins, game.states != state)
        for state in (FORGET, OUT)
    )
    spread = np.maximum(unseen.std(axis=0), lira.MIN_SD)
    raised = (seen.mean(axis=0) - unseen.mean(axis=0)) / spread
    return np.argsort(-raised.filled(0.0), kind="stable")[:count]


def composite(retrained: Game, original: Game, left: np.ndarray) -> Game:
    """Returns the game of models that forgot all but the examples at positions `left`.

    These they answer as the original, all others as the retrained model does.
    """
    chosen = np.zeros(retrained.margins.shape, bool)
    chosen[:, left] = retrained.states[:, left] == FORGET
    margins = np.where(chosen, original.margins, retrained.margins)
    return retrained._replace(margins=margins)


MEMORISED = 12
DOSES = {"0 % left": 0.0, "10 % left": 0.1, "30 % left": 0.3, "100 % left": 1.0}
NOT_OUTSIDE = {"0 % left": WITHIN, "10 % left": None}


def expected(dose: str) -> str | None:
    """Returns the verdict that a dose must have; None if it may have any."""
    return NOT_OUTSIDE.get(dose, OUTSIDE)


def doses(retrained: Game, original: Game, seed: int = 0) -> dict[str, Leak]:
    """Attacks models in which a known part was left as it was: what the audit can see.

    Of a random 0, 10, 30 and 100 % of the examples, and of the 12 memorised most (of at
    most a third).
    """
    size = retrained.margins.shape[1]
    order = np.random.default_rng(seed).permutation(size)
    left = {name: order[: round(share * size)] for name, share in DOSES.items()}
    count = min(MEMORISED, size // 3)
    left[f"the {count} most memorised left"] = most_memorised(original, count)
    return {
        name: play(composite(retrained, original, chosen))
        for name, chosen in left.items()
    }
