"""Spend in two steps: who will contribute little or nothing, then how much the others will spend."""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from sojourn.core import Estimator
from sojourn.lifetime._boost import Ensemble, Floats, cross_fit
from sojourn.lifetime._design import Design, Pace
from sojourn.lifetime._learning import Lesson, keyed, learn
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.spec import ValueSpec

GATE = {"objective": "binary", "lambda_l2": 1.0}
AMOUNT = {"objective": "regression", "lambda_l2": 1.0}


class TwoStage(Estimator):
    """Expected spend = P(more than little) x E(spend given more than little) + P(little) x mean of the little.

    Stage 1, the gate, is a classifier of spending more than `little_`; stage 2 predicts the logarithm of spend over
    pace for those who did. A mean of logarithms is not a mean of money: the prediction is multiplied by `smear_`, the
    ratio of the total spent to the total predicted over held-out rows (Duan 1983, his mean of residuals taken as a
    ratio of totals, so that cohort sums come out right).

    Reads the feature columns and the label; writes `user_id, as_of` and the column `spec.name`, in units of the value.
    Learned: `design_`, `pace_`, `floor_`, `little_` (money), `little_mean_`, `smear_`, `gate_`, `amount_`, and
    `held_out_` (after `fit` only, not saved), as in `SingleStage`.
    """

    design_: Design
    pace_: Pace
    floor_: float
    little_: float
    little_mean_: float
    smear_: float
    gate_: Ensemble
    amount_: Ensemble
    held_out_: pl.DataFrame

    def __init__(self, spec: ValueSpec | None = None) -> None:
        self.spec: ValueSpec = spec or ValueSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows `user_id, as_of`, features and label; rows without a label are left out."""
        lesson = learn(table, spec=self.spec, where="lifetime.TwoStage.fit")
        self.design_, self.pace_, self.floor_ = lesson.design, lesson.pace, lesson.floor
        truth = lesson.truth
        self.little_ = self.spec.little_share * float(np.median(truth[truth > 0]))
        more = truth > self.little_
        self.little_mean_ = float(truth[~more].mean()) if (~more).any() else 0.0
        gate_rows = lesson.rows(more.astype(np.float64))
        self.gate_ = cross_fit(gate_rows, objective=GATE, boost=self.spec.boost)
        amount = self._fit_amount(lesson, more)
        self.held_out_ = lesson.held_out(self._spend(self.gate_.held_out(gate_rows), amount, lesson.base))
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and the spend expected, in the order of the table."""
        self.check_fitted("amount_")
        matrix = self.design_.matrix(table, where="lifetime.TwoStage.predict")
        base = self.pace_.of(table) + self.floor_
        spend = self._spend(self.gate_.raw(matrix), self.amount_.raw(matrix), base)
        return keyed(table, spend, name=self.spec.name)

    def save(self, path: Path) -> None:
        """Write `model.json`, `gate_*.txt` and `amount_*.txt` into the folder `path`."""
        self.check_fitted("amount_")
        self.gate_.save(path, name="gate")
        self.amount_.save(path, name="amount")
        plain = {name: getattr(self, f"{name}_") for name in ("floor", "little", "little_mean", "smear")}
        learned = {
            **plain,
            "design": self.design_.to_dict(),
            "pace": self.pace_.to_dict(),
            "rounds": {"gate": self.gate_.rounds, "amount": self.amount_.rounds},
        }
        save_model(path, model=self, learned=learned)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(ValueSpec(**whole["spec"])), whole["learned"]
        for name in ("floor", "little", "little_mean", "smear"):
            setattr(model, f"{name}_", learned[name])
        model.design_ = Design.from_dict(learned["design"])
        model.pace_ = Pace.from_dict(learned["pace"])
        groups = model.spec.boost.groups
        model.gate_, model.amount_ = (
            Ensemble.load(path, name=name, groups=groups, rounds=learned["rounds"][name]) for name in ("gate", "amount")
        )
        return model

    def _fit_amount(self, lesson: Lesson, more: np.ndarray) -> Floats:
        """Fit stage 2 and its smearing on those above little; held-out log ratios for all rows."""
        ratio = np.zeros_like(lesson.truth)
        ratio[more] = np.log(lesson.truth[more] / lesson.base[more])
        rows = lesson.rows(ratio)
        self.amount_ = cross_fit(rows.only(more), objective=AMOUNT, boost=self.spec.boost)
        held = self.amount_.held_out(rows)
        self.smear_ = float(lesson.truth[more].sum() / (lesson.base[more] * np.exp(held[more])).sum())
        return held

    def _spend(self, gate: Floats, log_ratio: Floats, base: Floats) -> Floats:
        prob = 1 / (1 + np.exp(-np.clip(gate, -500, 500)))
        some = base * np.exp(np.clip(log_ratio, -50, 50)) * self.smear_
        return self.pace_.held(np.maximum(prob * some + (1 - prob) * self.little_mean_, 0))
