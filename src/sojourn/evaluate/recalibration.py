"""Probabilities that mean what they say: a monotone map from score to probability, learned on held-out rows."""

import json
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import model_validator

from sojourn.core import BadInput, Estimator, Spec, UnreadableSource, need_columns, need_rows
from sojourn.evaluate.metrics import Floats, checked, numbers
from sojourn.evaluate.scores import write_whole

WHERE = "evaluate.Recalibration"


class RecalibrationSpec(Spec):
    """Which score becomes which probability, and by which curve.

    `isotonic` follows the data in steps (about a thousand rows or more), `platt` fits two numbers to the log-odds,
    `beta` three numbers and bends at each end on its own (Kull, Silva Filho and Flach 2017).
    """

    score: str
    truth: str
    method: Literal["isotonic", "platt", "beta"] = "isotonic"
    output: str = "calibrated"

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        if self.truth in (self.score, self.output):
            raise ValueError(f"truth must be a column of its own; score, truth, output are {self.columns}")
        return self

    @property
    def columns(self) -> tuple[str, str, str]:
        """Score, truth and output."""
        return self.score, self.truth, self.output


class Recalibration(Estimator):
    """A monotone curve from a probability-like score in [0, 1] to a calibrated probability.

    Fit it on rows that the scoring model was not trained on. Learned: `curve_`, plain numbers that JSON keeps.
    Raises `BadInput` when only one class was seen: there is nothing to calibrate against.

    >>> table = pl.DataFrame({"user_id": list("abcdef"), "score": [0.1, 0.1, 0.1, 0.7, 0.7, 0.7]})
    >>> table = table.with_columns(churned=pl.Series([0, 0, 1, 1, 1, 0]))
    >>> spec = RecalibrationSpec(score="score", truth="churned", output="churn_prob")
    >>> Recalibration(spec).fit(table).predict(table)["churn_prob"].round(3).to_list()
    [0.333, 0.333, 0.333, 0.667, 0.667, 0.667]
    """

    curve_: dict[str, list[float]]

    def __init__(self, spec: RecalibrationSpec) -> None:
        self.spec: RecalibrationSpec = spec

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn the curve from the columns `score` and `truth` (0/1); returns itself."""
        need_columns(table, [self.spec.score, self.spec.truth], where=f"{WHERE}.fit")
        need_rows(table, where=f"{WHERE}.fit", mend="Pass held-out rows with their truth.")
        y, p = checked(table[self.spec.truth], table[self.spec.score], kind="probability", where=f"{WHERE}.fit")
        if y.min() == y.max():
            raise BadInput(
                f"{WHERE}.fit saw only {self.spec.truth} = {y[0]:g} in {len(y)} rows; there is nothing to calibrate "
                "against. Pass rows of both kinds."
            )
        order = np.lexsort((y, p))
        learn = _isotonic if self.spec.method == "isotonic" else _logistic
        self.curve_ = learn(p[order], y[order], self.spec.method)
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """The keys (`user_id`, and `as_of` where the table has it) with the calibrated probability."""
        self.check_fitted("curve_")
        need_columns(table, [*self.keys, self.spec.score], where=f"{WHERE}.predict")
        keys = [*self.keys, *(["as_of"] if "as_of" in table.columns else [])]
        if table.is_empty():
            return table.select(*keys, pl.lit(None, dtype=pl.Float64).alias(self.spec.output))
        score = numbers(table[self.spec.score], what=self.spec.score, where=f"{WHERE}.predict")
        return table.select(keys).with_columns(pl.Series(self.spec.output, self._probability(score)))

    def save(self, path: Path) -> None:
        """Write `recalibration.json` into the folder `path`."""
        self.check_fitted("curve_")
        whole = {"spec": self.spec.model_dump(mode="json"), "curve": self.curve_}
        write_whole(path / "recalibration.json", json.dumps(whole, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """The curve that `save` wrote. Raises `UnreadableSource` when the folder holds none."""
        whole = read_model(path / "recalibration.json", where=f"{WHERE}.load")
        model = cls(RecalibrationSpec(**whole["spec"]))
        model.curve_ = whole["curve"]
        return model

    def _probability(self, score: Floats) -> Floats:
        if self.spec.method == "isotonic":
            return np.asarray(np.interp(score, self.curve_["score"], self.curve_["prob"]))
        logit = _log_odds(score, self.spec.method) @ np.array(self.curve_["slopes"]) + self.curve_["intercept"][0]
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -500, 500))))


def read_model(path: Path, *, where: str) -> dict[str, Any]:
    """The JSON of a saved model. Raises `UnreadableSource`."""
    try:
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise UnreadableSource(f"{where}: cannot read {path}: {fault}. Was the model saved there?") from fault
    return whole


def _isotonic(p: Floats, y: Floats, _method: str) -> dict[str, list[float]]:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, y)
    return {"score": fitted.X_thresholds_.tolist(), "prob": fitted.y_thresholds_.tolist()}


def _logistic(p: Floats, y: Floats, method: str) -> dict[str, list[float]]:
    from sklearn.linear_model import LogisticRegression

    features = _log_odds(p, method)
    used = np.ptp(features, axis=0) > 0
    # A falling slope would turn the ranking around: beta calibration then does without that side, as its paper says.
    while used.any():
        fitted = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(features[:, used], y)
        if (fitted.coef_[0] >= 0).all():
            slopes = np.zeros(features.shape[1])
            slopes[used] = fitted.coef_[0]
            return {"slopes": slopes.tolist(), "intercept": fitted.intercept_.tolist()}
        used[np.flatnonzero(used)[fitted.coef_[0].argmin()]] = False
    rate = y.mean()
    return {"slopes": [0.0] * features.shape[1], "intercept": [float(np.log(rate / (1 - rate)))]}


def _log_odds(p: Floats, method: str) -> Floats:
    # 1e-6: a score of exactly 0 or 1 would otherwise be infinitely sure.
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    sides = np.column_stack([np.log(clipped), -np.log1p(-clipped)])
    return sides if method == "beta" else sides.sum(axis=1, keepdims=True)
