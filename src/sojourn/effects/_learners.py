"""Models of the effect, from the constant upwards, chosen by what they gain on users held out: the R-loss decides."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np

from sojourn.effects._covariates import Scales
from sojourn.effects._errors import clustered_error
from sojourn.effects._log import Floats, Ints
from sojourn.effects._trees import Binned, Rows, Trees
from sojourn.effects.spec import UpliftSpec

RIDGES = (30.0, 300.0, 3000.0)
ROUNDS_SHARES = (0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Lesson:
    """What the effect of one arm is learned from, for rows that got the arm or the control; one entry a row.

    `surprise` is the outcome less what was expected before the arm was known, `pull` the treatment (0 or 1) less its
    propensity between the two, so that `surprise` is about `pull` times the effect. `score` is the doubly robust
    reading of the effect and `weight` what it is worth, the product of the two propensities.
    """

    surprise: Floats
    pull: Floats
    score: Floats
    weight: Floats
    user: Ints

    @classmethod
    def of(cls, *, outcome: Floats, treated: Floats, share: Floats, expected: Floats, user: Ints) -> "Lesson":
        """From outcomes, treatment (0 or 1), the propensity between the two arms and expected outcomes (rows, 2)."""
        before = share * expected[:, 1] + (1 - share) * expected[:, 0]
        got = np.where(treated == 1, expected[:, 1], expected[:, 0])
        weight = share * (1 - share)
        score = expected[:, 1] - expected[:, 0] + (treated - share) / weight * (outcome - got)
        return cls(outcome - before, treated - share, score, weight, user)


@dataclass(frozen=True)
class Linear:
    """A ridge regression on standardised columns."""

    scales: Scales
    base: float
    slopes: Floats

    def __call__(self, codes: Floats) -> Floats:
        """The prediction of each row."""
        return np.asarray(self.base + self.scales.columns(codes) @ self.slopes)


Model = Linear | Trees


@dataclass(frozen=True)
class Chosen:
    """The learner that was taken, its strength (a ridge, or a number of trees), how it did on users held out.

    `gain` is how much less R-loss than the constant per row, `evidence` its slope over the standard error of that where
    there is nothing to find, `shrink` the part of its spread that is kept.
    """

    learner: str = "constant"
    strength: float = 0.0
    shrink: float = 0.0
    gain: float = 0.0
    evidence: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Effect:
    """The effect on each row: the average effect, and around it the model's spread, shrunk."""

    average: float
    middle: float = 0.0
    shrink: float = 0.0
    model: Model | None = None

    def __call__(self, codes: Floats) -> Floats:
        """The effect on each row."""
        if self.model is None:
            return np.full(len(codes), self.average)
        return np.asarray(self.average + self.shrink * (self.model(codes) - self.middle))


def learn_effect(lesson: Lesson, *, rows: Rows, group: Ints, binned: Binned, spec: UpliftSpec) -> tuple[Effect, Chosen]:
    """The effect learned from these rows, after choosing the learner among their own groups."""
    average = constant_effect(lesson, rows)
    chosen = _choose(lesson, rows=rows, group=group, binned=binned, spec=spec)
    if chosen.learner == "constant":
        return Effect(average), chosen
    model = _fit(lesson, rows, binned, spec, learner=chosen.learner)(chosen.strength)
    said = model(binned.codes[rows])
    middle = float(np.average(said, weights=lesson.weight[rows]))
    return Effect(average, middle, chosen.shrink, model), chosen


def constant_effect(lesson: Lesson, rows: Rows) -> float:
    """The one effect that explains these rows best: least squares of surprise on pull."""
    pull = lesson.pull[rows]
    return float((pull * lesson.surprise[rows]).sum() / (pull**2).sum())


def _choose(lesson: Lesson, *, rows: Rows, group: Ints, binned: Binned, spec: UpliftSpec) -> Chosen:
    """The learner whose spread, shrunk by its slope, gains most R-loss on held-out groups; else the constant."""
    spreads = _held_out_spreads(lesson, rows=rows, group=group, binned=binned, spec=spec)
    tried = [_tried(lesson, rows, spread, Chosen(name, strength)) for (name, strength), spread in spreads.items()]
    best = max(tried, key=lambda each: each.gain, default=Chosen())
    return best if best.gain > 0 and best.evidence >= spec.evidence else Chosen(evidence=best.evidence)


def _held_out_spreads(
    lesson: Lesson, *, rows: Rows, group: Ints, binned: Binned, spec: UpliftSpec
) -> dict[tuple[str, float], Floats]:
    """What each learner and strength says of each of these rows, learned without its group, about that group's mean."""
    spreads: dict[tuple[str, float], Floats] = {
        (name, strength): np.zeros(len(rows)) for name in spec.learners for strength in strengths(name, spec)
    }
    for held in np.unique(group[rows]):
        mine = group[rows] == held
        for name in spec.learners:
            fitted = _fit(lesson, rows[~mine], binned, spec, learner=name)
            for strength in strengths(name, spec):
                said = fitted(strength)(binned.codes[rows[mine]])
                spreads[name, strength][mine] = said - np.average(said, weights=lesson.weight[rows[mine]])
    return spreads


def strengths(learner: str, spec: UpliftSpec) -> tuple[float, ...]:
    """The strengths that are tried: ridges, or numbers of trees."""
    if learner == "linear":
        return RIDGES
    return tuple(sorted({float(max(1, round(share * spec.trees.rounds))) for share in ROUNDS_SHARES}))


def _tried(lesson: Lesson, rows: Rows, spread: Floats, chosen: Chosen) -> Chosen:
    pull, user = lesson.pull[rows], lesson.user[rows]
    rest = lesson.surprise[rows] - constant_effect(lesson, rows) * pull
    lever = pull * spread
    square = float((lever**2).sum())
    if square <= 1e-12:
        return chosen
    slope = float((lever * rest).sum()) / square
    influence = lever * (rest - slope * lever) * (len(rows) / square)
    error = clustered_error(influence, user=np.unique(user, return_inverse=True)[1])
    # Every pair of groups speaks twice, each learned from once and judged once, so where there is nothing to find the
    # slope varies with twice the variance that independent rows would give it (measured: 1.8 to 1.9).
    error *= sqrt(2)
    shrink = float(np.clip(slope, 0.0, 1.0))
    gain = float((rest**2 - (rest - shrink * lever) ** 2).mean())
    return replace(chosen, shrink=shrink, gain=gain, evidence=slope / error if error > 0 else 0.0)


def _fit(lesson: Lesson, rows: Rows, binned: Binned, spec: UpliftSpec, *, learner: str) -> Callable[[float], Model]:
    """From a strength to the fitted model; what all strengths share is computed once."""
    if learner == "linear":
        return _linear(lesson, rows, binned)
    most = binned.grown(
        rows, target=lesson.score, weight=lesson.weight, spec=spec.trees, rounds=int(max(strengths(learner, spec)))
    )
    return lambda strength: replace(most, rounds=int(strength))


def _linear(lesson: Lesson, rows: Rows, binned: Binned) -> Callable[[float], Model]:
    codes, weight = binned.codes[rows], lesson.weight[rows]
    scales = Scales.learn(codes, categorical=binned.categorical)
    columns = scales.columns(codes)
    middle = np.average(columns, axis=0, weights=weight)
    base = float(np.average(lesson.score[rows], weights=weight))
    root = np.sqrt(weight / weight.mean())[:, None]
    columns = (columns - middle) * root
    # The eigenbasis serves every ridge: (X'X + r)^-1 X'y.
    values, basis = np.linalg.eigh(columns.T @ columns)
    along = basis.T @ (columns.T @ (root[:, 0] * (lesson.score[rows] - base)))

    def at(ridge: float) -> Model:
        slopes = basis @ (along / (np.maximum(values, 0) + ridge))
        return Linear(scales, base - float(middle @ slopes), slopes)

    return at
