"""Spend as a distribution for each user: a chance of nothing, and a tail as long as those of users alike."""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from pydantic import Field

from sojourn.core import Estimator
from sojourn.evaluate.distributions import level_grid, randomised_pit
from sojourn.lifetime._ahead import parted_in_time
from sojourn.lifetime._boost import Ensemble, Floats, cross_fit
from sojourn.lifetime._design import KEYS, Design, Pace
from sojourn.lifetime._learning import Lesson, learn
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.spec import ValueSpec

SHOWN = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
GATE = {"objective": "binary", "lambda_l2": 1.0}
SHAPE = {"objective": "regression", "lambda_l2": 1.0}
SHAPES = 201
SMALLEST = 0.05


class SpendDistributionSpec(ValueSpec):
    """A `ValueSpec` with `bins`: into how many groups, by expected spend, users are parted for the last correction."""

    bins: int = Field(default=5, ge=1, le=100)


class SpendDistribution(Estimator):
    """The distribution of each user's spend in the next `horizon_days`.

    With a chance of its own a user spends nothing; else spend is pace x e^(m + s Z), where the location m and the
    spread s are learned by trees, and Z is distributed as what is left over held-out users: whatever its tails are.
    What is still uneven is corrected in `bins` groups of expected spend, by the places where held-out users came to lie
    in their own distributions (randomised PIT): what conformal prediction does for one interval, for all at once.

    Reads the feature columns and the label. `predict` writes `user_id, as_of` and `<name>_q05`, `_q10`, `_q25`, `_q50`,
    `_q75`, `_q90`, `_q95`, in units of the value; `quantiles` gives any others, `draw` futures, `interval` two ends
    that hold the truth as often as asked. Spend below nothing (more returned than bought) counts as nothing here.

    Learned: `design_`, `pace_`, `floor_`, `gate_`, `middle_`, `spread_` (trees), `shape_` (quantiles of Z), `edges_`
    and `places_` (the correction), `ahead_` (the same places on a date that was not learned from), `held_out_` (after
    `fit` only, not saved): `user_id, as_of, truth`, and the quantiles that `predict` writes, from trees that never saw
    the user. Raises what a value model does.
    """

    design_: Design
    pace_: Pace
    floor_: float
    gate_: Ensemble
    middle_: Ensemble
    spread_: Ensemble
    shape_: Floats
    edges_: Floats
    places_: list[Floats]
    ahead_: list[Floats]
    held_out_: pl.DataFrame

    def __init__(self, spec: SpendDistributionSpec | None = None) -> None:
        self.spec: SpendDistributionSpec = spec or SpendDistributionSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows `user_id, as_of`, features and label; rows without a label are left out."""
        where = "lifetime.SpendDistribution.fit"
        law, truth, lesson = self._learn(table, where=where)
        self.places_ = self._correct(law, truth)
        held = self._placed(law, np.array(SHOWN))
        self.held_out_ = lesson.keys.with_columns(pl.Series("truth", truth), *self._columns(held))
        parts = parted_in_time(table, spec=self.spec, where=where)
        self.ahead_ = self.places_ if parts is None else self._places_ahead(*parts, where=where)
        return self

    def _learn(self, table: pl.DataFrame, *, where: str) -> "tuple[_Law, Floats, Lesson]":
        """Learn all but the places; returns the held-out distributions, and the truth."""
        lesson = learn(table, spec=self.spec, where=where)
        self.design_, self.pace_, self.floor_ = lesson.design, lesson.pace, lesson.floor
        boost, truth = self.spec.boost, np.maximum(lesson.truth, 0.0)
        some = truth > 0
        gate = lesson.rows(some.astype(np.float64))
        self.gate_ = cross_fit(gate, objective=GATE, boost=boost)
        logs = np.log(np.where(some, truth, 1.0) / lesson.base)
        rows = lesson.rows(logs)
        self.middle_ = cross_fit(rows.only(some), objective=SHAPE, boost=boost)
        left = logs - self.middle_.held_out(rows)
        sizes = lesson.rows(np.log(np.maximum(np.abs(left), 1e-3)))
        self.spread_ = cross_fit(sizes.only(some), objective=SHAPE, boost=boost)
        spread = _spread(self.spread_.held_out(sizes))
        self.shape_ = np.quantile((left / spread)[some], level_grid(SHAPES))
        law = _Law(_chance(self.gate_.held_out(gate)), self.middle_.held_out(rows), spread, lesson.base, self.shape_)
        size = law.size()
        self.edges_ = np.unique(np.quantile(size, np.arange(1, self.spec.bins) / self.spec.bins))
        return law, truth, lesson

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and seven quantiles of spend, in the order of the table."""
        return table.select([key for key in KEYS if key in table.columns]).with_columns(
            self._columns(self.quantiles(table, levels=np.array(SHOWN)))
        )

    def quantiles(self, table: pl.DataFrame, *, levels: Floats) -> Floats:
        """The quantiles of each row's spend at these levels, between 0 and 1 (rows, levels)."""
        return self._placed(self._law(table), np.asarray(levels))

    def interval(self, table: pl.DataFrame, *, level: float = 0.8) -> tuple[Floats, Floats]:
        """Both ends of an interval per row that holds a share `level` of truths.

        Where 0 is too likely to be cut off below, all that is cut off lies above: from 0 to the quantile at `level`. A
        user who spends nothing with a greater chance than `level` is held more often than that: no interval can do
        less. Each end is the wider one of two: corrected on held-out users, and on a date that was not learned from.
        """
        self.check_fitted("places_")
        law, tail = self._law(table), (1 - level) / 2
        low = np.minimum(*(self._end(law, tail, places) for places in (self.places_, self.ahead_)))
        high, all_above = (
            np.maximum(*(self._end(law, share, places) for places in (self.places_, self.ahead_)))
            for share in (1 - tail, level)
        )
        return low, np.where(low > 0, high, all_above)

    def draw(self, table: pl.DataFrame, *, draws: int, rng: np.random.Generator) -> Floats:
        """Spend in so many futures (rows, draws); users are drawn by themselves."""
        law = self._law(table)
        return self._placed_each(law, rng.random((len(law.base), draws)))

    def save(self, path: Path) -> None:
        """Write `model.json` and the trees into the folder `path`."""
        self.check_fitted("places_")
        trees = {"gate": self.gate_, "middle": self.middle_, "spread": self.spread_}
        for name, ensemble in trees.items():
            ensemble.save(path, name=name)
        learned = {
            "design": self.design_.to_dict(),
            "pace": self.pace_.to_dict(),
            "floor": self.floor_,
            "rounds": {name: ensemble.rounds for name, ensemble in trees.items()},
            "shape": self.shape_.tolist(),
            "edges": self.edges_.tolist(),
            "places": [places.tolist() for places in self.places_],
            "ahead": [places.tolist() for places in self.ahead_],
        }
        save_model(path, model=self, learned=learned)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(SpendDistributionSpec(**whole["spec"])), whole["learned"]
        model.design_ = Design.from_dict(learned["design"])
        model.pace_ = Pace.from_dict(learned["pace"])
        model.floor_ = learned["floor"]
        groups = model.spec.boost.groups
        model.gate_, model.middle_, model.spread_ = (
            Ensemble.load(path, name=name, groups=groups, rounds=learned["rounds"][name])
            for name in ("gate", "middle", "spread")
        )
        model.shape_, model.edges_ = np.array(learned["shape"]), np.array(learned["edges"])
        model.places_ = [np.array(places) for places in learned["places"]]
        model.ahead_ = [np.array(places) for places in learned.get("ahead", learned["places"])]
        return model

    def _law(self, table: pl.DataFrame) -> "_Law":
        self.check_fitted("places_")
        return self._uncorrected(table)

    def _uncorrected(self, table: pl.DataFrame) -> "_Law":
        matrix = self.design_.matrix(table, where="lifetime.SpendDistribution.predict")
        base = self.pace_.of(table) + self.floor_
        chance, spread = _chance(self.gate_.raw(matrix)), _spread(self.spread_.raw(matrix))
        return _Law(chance, self.middle_.raw(matrix), spread, base, self.shape_)

    def _correct(self, law: "_Law", truth: Floats) -> list[Floats]:
        """Group by group, at which place of their distributions a given share of held-out users lie."""
        group = np.searchsorted(self.edges_, law.size())
        pit = randomised_pit(truth, law.quantiles(level_grid(SHAPES)))
        grid = level_grid(SHAPES)
        return [
            np.quantile(pit[group == each], grid) if (group == each).any() else grid
            for each in range(len(self.edges_) + 1)
        ]

    def _places_ahead(self, early: pl.DataFrame, late: pl.DataFrame, *, where: str) -> list[Floats]:
        """The places on the latest date, of distributions learned from what was known then."""
        then = SpendDistribution(self.spec)
        then._learn(early, where=where)
        then.edges_ = self.edges_
        return then._correct(
            then._uncorrected(late), np.maximum(late[self.spec.label].cast(pl.Float64).to_numpy(), 0.0)
        )

    def _end(self, law: "_Law", share: float, places: list[Floats]) -> Floats:
        """The quantile at this share, corrected by these places."""
        group, grid = np.searchsorted(self.edges_, law.size()), level_grid(SHAPES)
        level = np.array([np.interp(share, grid, each) for each in places])[group]
        return law.at(level[:, None])[:, 0]

    def _placed(self, law: "_Law", levels: Floats) -> Floats:
        return self._placed_each(law, np.broadcast_to(levels, (len(law.base), len(levels))))

    def _placed_each(self, law: "_Law", levels: Floats) -> Floats:
        """Quantiles at levels (rows, any number), each level moved to the place that holds that share."""
        group, grid = np.searchsorted(self.edges_, law.size()), level_grid(SHAPES)
        moved = np.empty(levels.shape)
        for each, places in enumerate(self.places_):
            mine = group == each
            moved[mine] = np.interp(levels[mine], grid, places)
        return law.at(moved)

    def _columns(self, quantiles: Floats) -> list[pl.Series]:
        names = (f"{self.spec.name}_q{round(100 * level):02d}" for level in SHOWN)
        return [pl.Series(name, quantiles[:, at]) for at, name in enumerate(names)]


class _Law:
    """The uncorrected distributions of some rows."""

    def __init__(self, chance: Floats, middle: Floats, spread: Floats, base: Floats, shape: Floats) -> None:
        self.chance, self.middle, self.spread, self.base, self._shape = chance, middle, spread, base, shape

    def size(self) -> Floats:
        """How large the spend of each row is expected to be, for sorting rows into groups."""
        return np.asarray(self.chance * self.base * np.exp(np.clip(self.middle, -20, 20)))

    def quantiles(self, levels: Floats) -> Floats:
        """Spend at these levels (rows, levels)."""
        return self.at(np.broadcast_to(levels, (len(self.base), len(levels))))

    def at(self, levels: Floats) -> Floats:
        """Spend at levels of each row's own (rows, any number)."""
        nothing = 1 - self.chance[:, None]
        inside = np.clip((levels - nothing) / np.maximum(self.chance[:, None], 1e-12), 0, 1)
        z = np.interp(inside, level_grid(len(self._shape)), self._shape)
        logs = np.clip(self.middle[:, None] + self.spread[:, None] * z, -20, 20)
        return np.where(levels <= nothing, 0.0, self.base[:, None] * np.exp(logs))


def _chance(score: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -500, 500))))


def _spread(score: Floats) -> Floats:
    return np.asarray(np.maximum(np.exp(np.clip(score, -5, 5)), SMALLEST))
