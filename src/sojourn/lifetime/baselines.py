"""What every value model must beat: nothing, the mean, the last days repeated, and a plain average of past rates."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
import polars as pl

from sojourn.core import Estimator, missing_columns, need_columns
from sojourn.lifetime._design import Pace, labelled, value_windows, window_days
from sojourn.lifetime._learning import keyed, need_spend
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.spec import ValueSpec


class BaselineSpec(ValueSpec):
    """A `ValueSpec` with the rule.

    - `zero`: nobody spends anything.
    - `always_mean`: everybody spends the mean of the training labels.
    - `repeat`: the last `horizon_days` happen again; with no window of that length, the nearest one scaled by its days.
    - `pace`: the mean of the rates over the last 30 and 90 days and the longest window, each over the days that the
      user was there.
    """

    rule: Literal["zero", "always_mean", "repeat", "pace"] = "repeat"


class Baseline(Estimator):
    """A prediction by rule, never negative. Learned: `mean_`, `windows_` (the columns the rule reads), `held_out_`.

    Reads the label and, by rule, `<value>_<N>d` and `tenure_days`; writes `user_id, as_of` and the column `spec.name`.

    >>> table = pl.DataFrame({"user_id": ["a", "b"], "spend_60d": [60.0, 0.0], "label_spend_30d": [20.0, 0.0]})
    >>> table = table.with_columns(as_of=pl.date(2024, 1, 1))
    >>> Baseline(BaselineSpec(horizon_days=30)).fit(table).predict(table)["ltv_30"].to_list()
    [30.0, 0.0]
    """

    mean_: float
    windows_: tuple[str, ...]
    held_out_: pl.DataFrame

    def __init__(self, spec: BaselineSpec | None = None) -> None:
        self.spec: BaselineSpec = spec or BaselineSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn the mean, and which windows there are."""
        where = "lifetime.Baseline.fit"
        known = labelled(table, spec=self.spec, where=where)
        need_spend(known, spec=self.spec, where=where)
        truth = known[self.spec.label].cast(pl.Float64)
        self.mean_ = float(np.asarray(truth).mean())
        self.windows_ = self._find_windows(known, where)
        prediction = self.predict(known)
        self.held_out_ = prediction.with_columns(truth=truth)
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and the spend expected, in the order of the table."""
        self.check_fitted("windows_")
        where = "lifetime.Baseline.predict"
        need_columns(table, ["user_id", *self.windows_], where=where)
        if self.spec.rule == "pace":
            need_columns(table, ["tenure_days"], where=where)
            return keyed(table, Pace(self.windows_, self.spec.horizon_days).of(table), name=self.spec.name)
        if self.spec.rule == "repeat":
            scale = self.spec.horizon_days / window_days(self.windows_[0])
            spend = table[self.windows_[0]].cast(pl.Float64).fill_null(0.0).to_numpy() * scale
            return keyed(table, np.maximum(spend, 0), name=self.spec.name)
        same = self.mean_ if self.spec.rule == "always_mean" else 0.0
        return keyed(table, np.full(table.height, max(same, 0.0)), name=self.spec.name)

    def save(self, path: Path) -> None:
        """Write `model.json` into the folder `path`."""
        self.check_fitted("windows_")
        save_model(path, model=self, learned={"mean": self.mean_, "windows": list(self.windows_)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The baseline that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model = cls(BaselineSpec(**whole["spec"]))
        model.mean_, model.windows_ = whole["learned"]["mean"], tuple(whole["learned"]["windows"])
        return model

    def _find_windows(self, table: pl.DataFrame, where: str) -> tuple[str, ...]:
        if self.spec.rule == "pace":
            return Pace.learn(table, spec=self.spec, where=where).windows
        if self.spec.rule != "repeat":
            return ()
        windows = [name for name in value_windows(table.columns, value=self.spec.value) if not name.endswith("_all")]
        if not windows:
            wanted = f"{self.spec.value}_{self.spec.horizon_days}d"
            raise missing_columns(where, missing=[wanted], found=table.columns)
        return (min(windows, key=lambda name: abs(window_days(name) - self.spec.horizon_days)),)
