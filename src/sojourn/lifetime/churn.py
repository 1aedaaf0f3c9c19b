"""Who is slipping away: the probability that a user does nothing in the days to come."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
import polars as pl

from sojourn.core import BadInput, Estimator, need_columns
from sojourn.evaluate import Recalibration, RecalibrationSpec
from sojourn.lifetime._boost import Ensemble, Floats, Rows, cross_fit, user_groups
from sojourn.lifetime._design import KEYS, Design, labelled
from sojourn.lifetime._learning import keyed, need_users
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.spec import ChurnSpec

LOSS = {"objective": "binary", "lambda_l2": 1.0}
SCORE = "score"


class ChurnTrees(Estimator):
    """The calibrated probability that `label_<activity>_<horizon_days>d` will be 0.

    Trees classify; what they say of users they never saw is then calibrated against what those did (`Recalibration`,
    method `beta`). Reads the feature columns and the label; writes `user_id, as_of` and the column `spec.name`.

    Learned: `design_`, `trees_`, `calibration_`, and `held_out_` (after `fit` only, not saved): the training rows
    with the truth and the calibrated probability from trees that never saw the user.

    Raises `BadInput` when all users were active, or none: there is nothing to tell apart.
    """

    design_: Design
    trees_: Ensemble
    calibration_: Recalibration
    held_out_: pl.DataFrame

    def __init__(self, spec: ChurnSpec | None = None) -> None:
        self.spec: ChurnSpec = spec or ChurnSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows `user_id, as_of`, features and label; rows without a label are left out."""
        where = "lifetime.ChurnTrees.fit"
        known, churned = _lesson(table, self.spec, where)
        self.design_ = Design.learn(known, spec=self.spec, where=where)
        group = user_groups(known["user_id"], boost=self.spec.boost)
        rows = Rows(self.design_.matrix(known, where=where), churned, group, self.design_.categorical)
        self.trees_ = cross_fit(rows, objective=LOSS, boost=self.spec.boost)
        held = known.select(KEYS).with_columns(truth=churned, score=_sigmoid(self.trees_.held_out(rows)))
        spec = RecalibrationSpec(score=SCORE, truth="truth", method="beta", output=self.spec.name)
        self.calibration_ = Recalibration(spec).fit(held)
        self.held_out_ = held.drop(SCORE).with_columns(self.calibration_.predict(held)[self.spec.name])
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and the probability of churn, in the order of the table."""
        self.check_fitted("calibration_")
        matrix = self.design_.matrix(table, where="lifetime.ChurnTrees.predict")
        return self.calibration_.predict(keyed(table, _sigmoid(self.trees_.raw(matrix)), name=SCORE))

    def save(self, path: Path) -> None:
        """Write `model.json`, `trees_*.txt` and the folder `calibration` into the folder `path`."""
        self.check_fitted("calibration_")
        self.trees_.save(path, name="trees")
        self.calibration_.save(path / "calibration")
        learned = {"design": self.design_.to_dict(), "rounds": self.trees_.rounds}
        save_model(path, model=self, learned=learned)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(ChurnSpec(**whole["spec"])), whole["learned"]
        model.design_ = Design.from_dict(learned["design"])
        model.trees_ = Ensemble.load(path, name="trees", groups=model.spec.boost.groups, rounds=learned["rounds"])
        model.calibration_ = Recalibration.load(path / "calibration")
        return model


class ChurnBaselineSpec(ChurnSpec):
    """A `ChurnSpec` with the rule: `recency` (days since last active, as a calibrated curve) or `base_rate`."""

    rule: Literal["recency", "base_rate"] = "recency"

    @property
    def recency(self) -> str:
        """The column of days since the activity was last seen."""
        return "purchase_recency_days" if self.activity == "purchases" else "recency_days"


class ChurnBaseline(Estimator):
    """Churn from recency alone, by an isotonic curve, or the same base rate for all.

    A user who never did it counts as absent for longer than any other. Learned: `base_rate_`, `curve_`, `held_out_`.
    """

    base_rate_: float
    curve_: Recalibration
    held_out_: pl.DataFrame

    def __init__(self, spec: ChurnBaselineSpec | None = None) -> None:
        self.spec: ChurnBaselineSpec = spec or ChurnBaselineSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn the base rate, and the curve over recency when the rule needs it."""
        known, churned = _lesson(table, self.spec, "lifetime.ChurnBaseline.fit")
        self.base_rate_ = float(churned.mean())
        spec = RecalibrationSpec(score=SCORE, truth="truth", output=self.spec.name)
        scored = known.select(KEYS).with_columns(truth=churned, score=self._absence(known))
        self.curve_ = Recalibration(spec).fit(scored)
        self.held_out_ = self.predict(known).with_columns(truth=churned)
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and the probability of churn, in the order of the table."""
        self.check_fitted("curve_")
        if self.spec.rule == "base_rate":
            return keyed(table, np.full(table.height, self.base_rate_), name=self.spec.name)
        return self.curve_.predict(keyed(table, self._absence(table), name=SCORE))

    def save(self, path: Path) -> None:
        """Write `model.json` and the folder `curve` into the folder `path`."""
        self.check_fitted("curve_")
        self.curve_.save(path / "curve")
        save_model(path, model=self, learned={"base_rate": self.base_rate_})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The baseline that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model = cls(ChurnBaselineSpec(**whole["spec"]))
        model.base_rate_ = whole["learned"]["base_rate"]
        model.curve_ = Recalibration.load(path / "curve")
        return model

    def _absence(self, table: pl.DataFrame) -> Floats:
        """Recency on a scale from 0 (today) to 1 (never): any rising scale gives the same isotonic curve."""
        if self.spec.rule == "base_rate":
            return np.zeros(table.height)
        need_columns(table, ["user_id", self.spec.recency], where="lifetime.ChurnBaseline")
        days = table[self.spec.recency].cast(pl.Float64)
        return (days / (days + self.spec.horizon_days)).fill_null(1.0).to_numpy()


def _lesson(table: pl.DataFrame, spec: ChurnSpec, where: str) -> tuple[pl.DataFrame, Floats]:
    """The labelled rows in order, and 1.0 where the user did nothing."""
    known = labelled(table, spec=spec, where=where)
    need_users(known, where=where)
    churned = (known[spec.label] == 0).cast(pl.Float64).to_numpy()
    if churned.min() == churned.max():
        did = "nothing" if churned[0] else "something"
        raise BadInput(
            f"{where}: every user did {did} within {spec.horizon_days} days ({spec.label!r}); there is no churn to "
            "tell apart. Use another horizon, another activity, or other as-of dates."
        )
    return known, churned


def _sigmoid(score: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -500, 500))))
