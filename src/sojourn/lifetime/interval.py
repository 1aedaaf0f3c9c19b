"""How sure a prediction is, user by user: trees for a low and a high quantile, corrected until they hold."""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from pydantic import Field

from sojourn.core import BadInput, Estimator, need_columns
from sojourn.evaluate import Conformal, ConformalSpec
from sojourn.lifetime._ahead import parted_in_time
from sojourn.lifetime._boost import Ensemble, Floats, Rows, cross_fit
from sojourn.lifetime._design import KEYS, Design, Pace
from sojourn.lifetime._learning import Lesson, learn
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.spec import ValueSpec

TRUTH = "truth"
LOW, HIGH, AHEAD = "low", "high", "ahead"
# One date has few rows: groups are larger there, or chance would widen every one of them.
AHEAD_GROUPS = 5


class SpendIntervalSpec(ValueSpec):
    """A `ValueSpec` with `level`, the share of users whose spend shall lie inside their interval."""

    level: float = Field(default=0.8, gt=0, lt=1)


class SpendInterval(Estimator):
    """An interval around any model's prediction: quantile trees, then split-conformal correction.

    Reads what a value model reads, and the point prediction in the column `spec.name`: to `fit`, one that has not seen
    the user (`held_out_` of the model). Two sets of trees learn the quantiles `(1 - level) / 2` and `(1 + level) / 2`
    of spend over pace; `Conformal` then stretches or shrinks them on held-out rows, group by group of the prediction.
    Held-out users of dates that were learned from know those dates' season; so the same is done on the latest date with
    trees that know what was known then, where history allows, and each end is the wider one of both.
    Writes `user_id, as_of, <name>_low, <name>_high`, in units of the value, around the prediction.

    Learned: `design_`, `pace_`, `floor_`, `low_`, `high_` (trees), `conformal_`, `ahead_` (the same on the latest date,
    None without history). Raises what a value model does, and `BadInput` when there are too few users to correct with.
    """

    design_: Design
    pace_: Pace
    floor_: float
    low_: Ensemble
    high_: Ensemble
    conformal_: Conformal
    ahead_: Conformal | None

    def __init__(self, spec: SpendIntervalSpec | None = None) -> None:
        self.spec: SpendIntervalSpec = spec or SpendIntervalSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows `user_id, as_of`, features, label and held-out prediction; returns itself."""
        where = "lifetime.SpendInterval.fit"
        need_columns(table, [*KEYS, self.spec.name], where=where)
        lesson, rows = self._learn(table.drop(self.spec.name), where=where)
        held = lesson.keys.with_columns(
            pl.Series(TRUTH, lesson.truth),
            self._low_end(self.low_.held_out(rows) * lesson.base),
            pl.Series(HIGH, self.high_.held_out(rows) * lesson.base),
        ).join(table.select(*KEYS, self.spec.name), on=KEYS, how="left", maintain_order="left")
        if held[self.spec.name].null_count():
            raise BadInput(
                f"{where}: column {self.spec.name!r} has no prediction in {held[self.spec.name].null_count()} rows."
            )
        spec = self._conformal_spec(negative=bool((lesson.truth < 0).any()))
        self.conformal_ = Conformal(spec).fit(held)
        parts = parted_in_time(table, spec=self.spec, where=where)
        self.ahead_ = None if parts is None else self._ahead(*parts, spec=spec.with_changes(groups=AHEAD_GROUPS))
        return self

    def _ahead(self, early: pl.DataFrame, late: pl.DataFrame, *, spec: ConformalSpec) -> Conformal:
        """The correction on the latest date of trees that learned from what was known then."""
        then = SpendInterval(self.spec)
        then._learn(early.drop(self.spec.name), where="lifetime.SpendInterval.fit")
        truth = late.select(pl.col(self.spec.label).cast(pl.Float64).alias(TRUTH))
        return Conformal(spec).fit(then._ends(late).with_columns(truth[TRUTH]))

    def _learn(self, table: pl.DataFrame, *, where: str) -> tuple[Lesson, Rows]:
        """Learn all but the corrections."""
        lesson = learn(table, spec=self.spec, where=where)
        self.design_, self.pace_, self.floor_ = lesson.design, lesson.pace, lesson.floor
        rows = lesson.rows(lesson.truth / lesson.base, weight=lesson.base / lesson.base.mean())
        tail = (1 - self.spec.level) / 2
        self.low_, self.high_ = (
            cross_fit(rows, objective={"objective": "quantile", "alpha": alpha}, boost=self.spec.boost)
            for alpha in (tail, 1 - tail)
        )
        return lesson, rows

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and both ends, in the order of the table, which carries the prediction in `spec.name`."""
        self.check_fitted("conformal_")
        where = "lifetime.SpendInterval.predict"
        need_columns(table, [*KEYS, self.spec.name], where=where)
        ends = self._ends(table)
        found = self.conformal_.predict(ends)
        if self.ahead_ is None:
            return found
        low, high = self.conformal_.spec.bounds
        ahead = self.ahead_.predict(ends)
        return found.with_columns(
            pl.min_horizontal(found[low], ahead[low]).alias(low),
            pl.max_horizontal(found[high], ahead[high]).alias(high),
        )

    def _ends(self, table: pl.DataFrame) -> pl.DataFrame:
        """The keys, the prediction and both ends before any correction."""
        features = table.drop(self.spec.name)
        matrix = self.design_.matrix(features, where="lifetime.SpendInterval.predict")
        base = self.pace_.of(features) + self.floor_
        return table.select(*KEYS, self.spec.name).with_columns(
            self._low_end(self.low_.raw(matrix) * base), pl.Series(HIGH, self.high_.raw(matrix) * base)
        )

    def save(self, path: Path) -> None:
        """Write `model.json`, the trees of both ends, and the folders `conformal` and `ahead` into `path`."""
        self.check_fitted("conformal_")
        self.low_.save(path, name=LOW)
        self.high_.save(path, name=HIGH)
        self.conformal_.save(path / "conformal")
        if self.ahead_ is not None:
            self.ahead_.save(path / AHEAD)
        learned = {
            "design": self.design_.to_dict(),
            "pace": self.pace_.to_dict(),
            "floor": self.floor_,
            "rounds": {LOW: self.low_.rounds, HIGH: self.high_.rounds},
            AHEAD: self.ahead_ is not None,
        }
        save_model(path, model=self, learned=learned)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The intervals that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(SpendIntervalSpec(**whole["spec"])), whole["learned"]
        model.design_ = Design.from_dict(learned["design"])
        model.pace_ = Pace.from_dict(learned["pace"])
        model.floor_ = learned["floor"]
        groups = model.spec.boost.groups
        model.low_, model.high_ = (
            Ensemble.load(path, name=name, groups=groups, rounds=learned["rounds"][name]) for name in (LOW, HIGH)
        )
        model.conformal_ = Conformal.load(path / "conformal")
        model.ahead_ = Conformal.load(path / AHEAD) if learned.get(AHEAD) else None
        return model

    def _low_end(self, spend: Floats) -> pl.Series:
        """The low quantile, exactly 0 where it is next to nothing.

        Most users of most apps spend exactly 0, and trees never quite get there: a low end of a hundredth of a cent
        would exclude them.
        """
        return pl.Series(LOW, np.where(np.abs(spend) < self.floor_, 0.0, spend))

    def _conformal_spec(self, *, negative: bool) -> ConformalSpec:
        floor = None if negative else 0.0
        return ConformalSpec(pred=self.spec.name, truth=TRUTH, low=LOW, high=HIGH, level=self.spec.level, floor=floor)


def fit_interval(model: Estimator, *, table: pl.DataFrame, level: float) -> SpendInterval:
    """Intervals for a value model just fitted on `table`, around its held-out predictions."""
    spec = model.spec
    assert isinstance(spec, ValueSpec)
    held: pl.DataFrame = vars(model)["held_out_"]
    rows = table.join(held.select(*KEYS, spec.name), on=KEYS, how="inner", maintain_order="left")
    shared = {name: getattr(spec, name) for name in ValueSpec.model_fields}
    return SpendInterval(SpendIntervalSpec(**shared, level=level)).fit(rows)


def with_interval(interval: SpendInterval, *, features: pl.DataFrame, predicted: pl.DataFrame) -> pl.DataFrame:
    """A model's predictions with both ends beside them."""
    name = interval.spec.name
    ends = interval.predict(features.with_columns(predicted[name]))
    return predicted.with_columns(ends.drop(KEYS))
