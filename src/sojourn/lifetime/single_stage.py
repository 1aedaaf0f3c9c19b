"""Spend in one step: trees that multiply a user's pace, aiming at the median, the mean, or a Tweedie mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl

from sojourn.core import Estimator
from sojourn.lifetime._boost import Ensemble, Floats, Rows, cross_fit
from sojourn.lifetime._design import Design, Pace
from sojourn.lifetime._learning import Lesson, keyed, learn
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.spec import ValueSpec

OBJECTIVES: Mapping[str, dict[str, Any]] = {
    "median": {"objective": "regression_l1"},
    "median_scaled": {"objective": "regression_l1"},
    "mean": {"objective": "regression"},
    "tweedie": {"objective": "tweedie", "tweedie_variance_power": 1.5},
}


class SingleStageSpec(ValueSpec):
    """A `ValueSpec` with what the trees aim at.

    `median` makes the absolute error small and ranks well, but sums to less than the truth where few spend much.
    `median_scaled` multiplies it so that the held-out predictions sum to the truth. `mean` and `tweedie` aim at sums;
    `tweedie` expects errors that grow with the spend, and many exact zeros.
    """

    objective: Literal["median", "median_scaled", "mean", "tweedie"] = "median_scaled"


class SingleStage(Estimator):
    """Spend in the next `horizon_days` = what going on as before would bring (`Pace`) x what trees learn to multiply.

    Reads the feature columns and the label; writes `user_id, as_of` and the column `spec.name`, never negative, in
    units of the value. The trees learn the ratio of truth to pace, each row weighted so that the loss is the one in
    money: `|y - pace r| = pace |y / pace - r|` for the median, `pace**2` for the mean; Tweedie takes log(pace) as the
    score to start from.

    Learned: `design_`, `pace_`, `floor_` (added to every pace), `trees_`, `scale_` (1 but for `median_scaled`), and
    `held_out_` (after `fit` only, not saved): the training rows with the truth and the prediction of trees that never
    saw the user.
    """

    design_: Design
    pace_: Pace
    floor_: float
    trees_: Ensemble
    scale_: float
    held_out_: pl.DataFrame

    def __init__(self, spec: SingleStageSpec | None = None) -> None:
        self.spec: SingleStageSpec = spec or SingleStageSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows `user_id, as_of`, features and label; rows without a label are left out."""
        lesson = learn(table, spec=self.spec, where="lifetime.SingleStage.fit")
        self.design_, self.pace_, self.floor_ = lesson.design, lesson.pace, lesson.floor
        rows = self._rows(lesson)
        self.trees_ = cross_fit(rows, objective=OBJECTIVES[self.spec.objective], boost=self.spec.boost)
        self.scale_ = 1.0
        held_out = self._spend(self.trees_.held_out(rows), lesson.base)
        if self.spec.objective == "median_scaled" and min(held_out.sum(), lesson.truth.sum()) > 0:
            self.scale_ = float(lesson.truth.sum() / held_out.sum())
        self.held_out_ = lesson.held_out(self.scale_ * held_out)
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and the spend expected, in the order of the table."""
        self.check_fitted("trees_")
        matrix = self.design_.matrix(table, where="lifetime.SingleStage.predict")
        base = self.pace_.of(table) + self.floor_
        return keyed(table, self._spend(self.trees_.raw(matrix), base), name=self.spec.name)

    def save(self, path: Path) -> None:
        """Write `model.json` and `trees_*.txt` into the folder `path`."""
        self.check_fitted("trees_")
        self.trees_.save(path, name="trees")
        learned = {
            "design": self.design_.to_dict(),
            "pace": self.pace_.to_dict(),
            "floor": self.floor_,
            "rounds": self.trees_.rounds,
            "scale": self.scale_,
        }
        save_model(path, model=self, learned=learned)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(SingleStageSpec(**whole["spec"])), whole["learned"]
        model.design_ = Design.from_dict(learned["design"])
        model.pace_ = Pace.from_dict(learned["pace"])
        model.floor_, model.scale_ = learned["floor"], learned["scale"]
        model.trees_ = Ensemble.load(path, name="trees", groups=model.spec.boost.groups, rounds=learned["rounds"])
        return model

    def _rows(self, lesson: Lesson) -> Rows:
        if self.spec.objective == "tweedie":
            return lesson.rows(np.maximum(lesson.truth, 0), start=np.log(lesson.base))
        power = 2 if self.spec.objective == "mean" else 1
        return lesson.rows(lesson.truth / lesson.base, weight=(lesson.base / lesson.base.mean()) ** power)

    def _spend(self, score: Floats, base: Floats) -> Floats:
        if self.spec.objective == "tweedie":
            score = np.exp(np.clip(score, -50, 50))
        return self.pace_.held(np.maximum(score, 0) * base * self.scale_)
