"""The chance to be active on each coming day, by trees that read one row per user and day ahead."""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from sojourn.core import Estimator
from sojourn.evaluate import Recalibration, RecalibrationSpec
from sojourn.lifetime._boost import SLICE_ROWS, Ensemble, Rows, cross_fit, user_groups
from sojourn.lifetime._design import KEYS
from sojourn.lifetime._learning import need_users
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.retention._days import Floats, matrix_of
from sojourn.lifetime.retention._rows import DayDesign, Ints, in_order, sampled_days
from sojourn.lifetime.retention._said import need_both, said
from sojourn.lifetime.retention.activity import AHEAD
from sojourn.lifetime.retention.spec import ActivitySpec

LOSS = {"objective": "binary", "lambda_l2": 1.0}
SCORE = "score"


class DailyTrees(Estimator):
    """The calibrated probability to be active on each of the days from `as_of` on.

    Reads a table of `activity_table`: features, `active_before`, and for `fit` `active_ahead`, whose nulls (days not
    known yet) are left out. Every training row is learned on a few of its days ahead, which one is chance with the
    boost's seed. What the trees say of users that they never saw is calibrated against what those did (`Recalibration`,
    method `beta`). Predicts `user_id, as_of, active_prob, expected_days`.

    Learned: `design_`, `trees_`, `calibration_`, and `held_out_` (after `fit` only, not saved): `user_id, as_of,
    day_ahead, truth` and the calibrated probability `prob` from trees that never saw the user.
    """

    design_: DayDesign
    trees_: Ensemble
    calibration_: Recalibration
    held_out_: pl.DataFrame

    label = AHEAD

    def __init__(self, spec: ActivitySpec | None = None) -> None:
        self.spec: ActivitySpec = spec or ActivitySpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows of `activity_table`; days that are not known are left out."""
        where = f"lifetime.{type(self).__name__}.fit"
        known = in_order(table, needed=self.label, where=where)
        need_users(known, where=where)
        boost, truth = self.spec.boost, matrix_of(known[self.label])
        self.design_ = DayDesign.learn(known, spec=self.spec, where=where)
        row, day = sampled_days(truth, days_per_row=self.spec.days_per_row, seed=boost.seed)
        need_both(truth[row, day], label=self.label, where=where)
        matrix = self.design_.rows(known, self.design_.of_users(known, where=where), row=row, day=day)
        group = user_groups(known["user_id"], boost=boost)[row]
        rows = Rows(matrix, truth[row, day], group, self.design_.categorical)
        self.trees_ = cross_fit(rows, objective=LOSS, boost=boost)
        score = _sigmoid(self.trees_.held_out(rows))
        held = known[row].select(KEYS).with_columns(day_ahead=pl.Series(day), truth=rows.target, score=score)
        recalibration = RecalibrationSpec(score=SCORE, truth="truth", method="beta", output="prob")
        self.calibration_ = Recalibration(recalibration).fit(held)
        self.held_out_ = held.drop(SCORE).with_columns(self.calibration_.predict(held)["prob"])
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of`, the probability on each day ahead and their sum, in the order of the table."""
        return said(table, self.probabilities(table))

    def probabilities(self, table: pl.DataFrame) -> Floats:
        """The probability of each row of the table on each day ahead: (rows, days)."""
        self.check_fitted("calibration_")
        days = self.spec.horizon_days
        size = max(1, SLICE_ROWS // days)
        parts = [self._slice(table.slice(at, size)) for at in range(0, table.height, size)]
        return np.concatenate(parts) if parts else np.zeros((0, days))

    def held_out_probabilities(self, table: pl.DataFrame, *, group: Ints) -> Floats:
        """As `probabilities`, each row by the one booster that left out its group of users."""
        self.check_fitted("calibration_")
        matrix = self._matrix(table)
        many = np.repeat(group, self.spec.horizon_days)
        return self._calibrated(table, self.trees_.held_out(Rows(matrix, np.zeros(len(matrix)), many)))

    def _slice(self, table: pl.DataFrame) -> Floats:
        return self._calibrated(table, self.trees_.raw(self._matrix(table)))

    def _matrix(self, table: pl.DataFrame) -> Floats:
        days = self.spec.horizon_days
        users = self.design_.of_users(table, where=f"lifetime.{type(self).__name__}.predict")
        row, day = np.repeat(np.arange(table.height), days), np.tile(np.arange(days), table.height)
        return self.design_.rows(table, users, row=row, day=day)

    def _calibrated(self, table: pl.DataFrame, score: Floats) -> Floats:
        users = table["user_id"].gather(np.repeat(np.arange(table.height), self.spec.horizon_days))
        lines = pl.DataFrame({"user_id": users, SCORE: _sigmoid(score)})
        return self.calibration_.predict(lines)["prob"].to_numpy().reshape(table.height, self.spec.horizon_days)

    def save(self, path: Path) -> None:
        """Write `model.json`, `trees_*.txt` and the folder `calibration` into the folder `path`."""
        self.check_fitted("calibration_")
        self.trees_.save(path, name="trees")
        self.calibration_.save(path / "calibration")
        save_model(path, model=self, learned={"design": self.design_.to_dict(), "rounds": self.trees_.rounds})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(ActivitySpec(**whole["spec"])), whole["learned"]
        model.design_ = DayDesign.from_dict(learned["design"])
        model.trees_ = Ensemble.load(path, name="trees", groups=model.spec.boost.groups, rounds=learned["rounds"])
        model.calibration_ = Recalibration.load(path / "calibration")
        return model


def _sigmoid(score: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -500, 500))))
