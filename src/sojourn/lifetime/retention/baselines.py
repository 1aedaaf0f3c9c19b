"""The dumb forecasts of daily activity that every model stands beside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl

from sojourn.core import Estimator, need_columns
from sojourn.evaluate import Recalibration, RecalibrationSpec
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.retention._days import Floats, matrix_of
from sojourn.lifetime.retention._rows import Ints, in_order, same_weekdays
from sojourn.lifetime.retention._said import need_both, said
from sojourn.lifetime.retention.activity import AHEAD, BEFORE
from sojourn.lifetime.retention.spec import ActivitySpec

RECENT_DAYS, WEEK = 14, 7
LEAST_IN_CELL = 50
# Ages at which the cohort curve may take a new value: day by day at first, ever more slowly later.
AGE_EDGES = np.unique(np.round(np.geomspace(1, 3650, 60))).astype(np.int64)


class ActivityBaselineSpec(ActivitySpec):
    """An `ActivitySpec` with the rule.

    - `cohort`: the share of users of that age who were active: a retention curve, the same for all of a cohort
    - `same_weekday`: the share of the last weeks in which the user was active on the day's weekday, made a probability
    - `recent`: the share of the last 14 days, made a probability for each week ahead; `recent_raw`: that share as it is
    """

    rule: Literal["cohort", "same_weekday", "recent", "recent_raw"] = "recent"


class ActivityBaseline(Estimator):
    """Activity ahead from one number alone, by a curve that the training rows draw.

    Reads `active_before`, `tenure_days` and, for `fit`, `active_ahead`. Learned: `curve_`, plain numbers.
    """

    curve_: dict[str, Any]

    def __init__(self, spec: ActivityBaselineSpec | None = None) -> None:
        self.spec: ActivityBaselineSpec = spec or ActivityBaselineSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn the curve; days that are not known are left out."""
        where = "lifetime.ActivityBaseline.fit"
        known = in_order(table, needed=AHEAD, where=where)
        truth = matrix_of(known[AHEAD])
        need_both(truth[np.isfinite(truth)], label=AHEAD, where=where)
        if self.spec.rule == "cohort":
            self.curve_ = _cohort_curve(known, truth)
        elif self.spec.rule == "recent_raw":
            self.curve_ = {"days": RECENT_DAYS}
        else:
            self.curve_ = {"weeks": self._weekly_curves(known, truth)}
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of`, the probability on each day ahead and their sum, in the order of the table."""
        self.check_fitted("curve_")
        need_columns(table, ["user_id", BEFORE, "tenure_days"], where="lifetime.ActivityBaseline")
        if self.spec.rule == "cohort":
            return said(table, _by_age(table, self.curve_, days=self.spec.horizon_days))
        score = self._score(table)
        if self.spec.rule == "recent_raw":
            return said(table, score)
        weeks = [np.interp(score[:, part], curve["score"], curve["prob"]) for part, curve in self._parts()]
        return said(table, np.column_stack(weeks) if weeks else score)

    def save(self, path: Path) -> None:
        """Write `model.json` into the folder `path`."""
        self.check_fitted("curve_")
        save_model(path, model=self, learned=self.curve_)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The baseline that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model = cls(ActivityBaselineSpec(**whole["spec"]))
        model.curve_ = whole["learned"]
        return model

    def _score(self, table: pl.DataFrame) -> Floats:
        """The one number for each row and day ahead: (rows, days)."""
        before, days = matrix_of(table[BEFORE]), self.spec.horizon_days
        if self.spec.rule == "same_weekday":
            row, day = np.repeat(np.arange(table.height), days), np.tile(np.arange(days), table.height)
            return _share(same_weekdays(before, row=row, day=day)).reshape(table.height, days)
        return np.repeat(_share(before[:, :RECENT_DAYS])[:, None], days, axis=1)

    def _weekly_curves(self, known: pl.DataFrame, truth: Floats) -> list[dict[str, list[float]]]:
        score, spec = self._score(known), RecalibrationSpec(score="score", truth="truth")
        curves: list[dict[str, list[float]]] = []
        for week in range(0, self.spec.horizon_days, WEEK):
            part = slice(week, week + WEEK)
            seen = np.isfinite(truth[:, part])
            lines = pl.DataFrame({"score": score[:, part][seen], "truth": truth[:, part][seen]})
            if lines["truth"].n_unique() < 2:
                rate = lines.select(pl.col("truth").mean().fill_null(0.0)).item()
                curves.append({"score": [0.0, 1.0], "prob": [rate, rate]})
            else:
                curves.append(Recalibration(spec).fit(lines).curve_)
        return curves

    def _parts(self) -> list[tuple[slice, Mapping[str, list[float]]]]:
        return [
            (slice(WEEK * at, min(WEEK * (at + 1), self.spec.horizon_days)), curve)
            for at, curve in enumerate(self.curve_["weeks"])
        ]


def _share(bits: Floats) -> Floats:
    """The share of ones among the days that were seen; 0 where none was."""
    seen = np.isfinite(bits)
    held = np.where(seen, bits, 0.0).sum(axis=1)
    return np.asarray(np.divide(held, seen.sum(axis=1), out=np.zeros(len(bits)), where=seen.any(axis=1)))


def _cells(table: pl.DataFrame, days: int) -> Ints:
    """The age of each row's user on each day ahead, as a place among the edges: (rows, days)."""
    age = table["tenure_days"].to_numpy()[:, None] + np.arange(days)
    return np.searchsorted(AGE_EDGES, age, side="right").astype(np.int64)


def _cohort_curve(known: pl.DataFrame, truth: Floats) -> dict[str, Any]:
    """The share of active days by age; ages that too few user-days speak for get the whole's share."""
    seen = np.isfinite(truth)
    cells = _cells(known, truth.shape[1])[seen]
    size = len(AGE_EDGES) + 1
    count = np.bincount(cells, minlength=size)
    active = np.bincount(cells, weights=truth[seen], minlength=size)
    overall = float(active.sum() / count.sum())
    rate = np.where(count >= LEAST_IN_CELL, active / np.maximum(count, 1), overall)
    return {"rate": rate.tolist()}


def _by_age(table: pl.DataFrame, curve: Mapping[str, Any], *, days: int) -> Floats:
    return np.asarray(curve["rate"], dtype=np.float64)[_cells(table, days)]
