"""What each arm's outcome would be, from covariates, said of users by models that have not seen them."""

from itertools import combinations

import numpy as np

from sojourn.effects._log import Decisions, Floats, Ints
from sojourn.effects._trees import Binned, Rows, rows_of
from sojourn.effects.spec import EffectSpec


def held_out_outcomes(log: Decisions, *, binned: Binned, group: Ints, spec: EffectSpec) -> Floats:
    """The expected outcome of each row under each arm (rows, arms), by a model of the other groups' users."""
    expected = np.zeros((len(log.outcome), len(log.arms)))
    for left_out in range(spec.groups):
        mine = np.flatnonzero(group == left_out)
        expected[mine] = _of(log, binned, rows_of(group, without=[left_out]), mine, spec)
    return expected


def paired_outcomes(log: Decisions, *, binned: Binned, group: Ints, spec: EffectSpec) -> Floats:
    """The same for each row and each *other* group left out as well: (rows, groups, arms).

    `[i, g]` comes from a model that has seen neither the group of row i nor group g. So whatever is learned from
    the rows outside g with the help of `[:, g]` knows nothing of the outcomes in g. `[i, own group]` is the mean over
    the others: all leave its own group out.
    """
    expected = np.zeros((len(log.outcome), spec.groups, len(log.arms)))
    for one, two in combinations(range(spec.groups), 2):
        first, second = np.flatnonzero(group == one), np.flatnonzero(group == two)
        both = np.concatenate([first, second])
        said = _of(log, binned, rows_of(group, without=[one, two]), both, spec)
        expected[first, two], expected[second, one] = said[: len(first)], said[len(first) :]
    own = expected.sum(axis=1) / (spec.groups - 1)
    expected[np.arange(len(group)), group] = own
    return expected


def _of(log: Decisions, binned: Binned, train: Rows, asked: Rows, spec: EffectSpec) -> Floats:
    """Learn from the rows `train`, say it of the rows `asked`: (asked, arms).

    First one model for all arms; then, for each arm, what its own rows differ by: a constant, and trees only where they
    help. So weak effects don't cost half of the data for each arm, and strong ones are still learned.
    """
    common = binned.stopped(train, target=log.outcome, user=log.user, spec=spec.outcome_trees)
    rest = log.outcome - common(binned.codes)
    said = common(binned.codes[asked])
    parts = []
    for arm in range(len(log.arms)):
        mine = train[log.arm[train] == arm]
        if not len(mine):
            parts.append(said)
            continue
        parts.append(
            said + binned.stopped(mine, target=rest, user=log.user, spec=spec.outcome_trees)(binned.codes[asked])
        )
    return np.column_stack(parts)


def arm_scores(log: Decisions, expected: Floats) -> Floats:
    """The doubly robust score of each arm (rows, arms): its mean estimates the mean outcome had all got the arm.

    What the model expects, corrected by what it missed where the arm was given, over the chance that it was: Robins,
    Rotnitzky and Zhao (1994).
    """
    rows = np.arange(len(log.arm))
    scores = expected.copy()
    scores[rows, log.arm] += (log.outcome - expected[rows, log.arm]) / log.chance
    return scores
