"""Recalibration: learned curves recover the truth, keep the ranking, and survive saving."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.isotonic import IsotonicRegression

from sojourn.core import BadInput, BadSpec, MissingColumn, NotFitted, UnreadableSource
from sojourn.evaluate import Recalibration, RecalibrationSpec, classification_metrics

METHODS = ("isotonic", "platt", "beta")


def rows(n: int = 4000, seed: int = 0) -> pl.DataFrame:
    """Scores whose true probability is their square: overconfident at the low end."""
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    return pl.DataFrame({"user_id": np.arange(n), "score": score, "churned": (rng.random(n) < score**2).astype(int)})


def fitted(method: str, **changes) -> Recalibration:
    spec = RecalibrationSpec(score="score", truth="churned", method=method, output="churn_prob")
    return Recalibration(spec.with_changes(**changes)).fit(rows())


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_come_near_the_known_truth(method):
    test = rows(seed=1)
    prob = fitted(method).predict(test)["churn_prob"]
    assert np.abs(prob.to_numpy() - test["score"].to_numpy() ** 2).mean() < 0.03
    before = classification_metrics(test["churned"], test["score"])["ece"]
    assert classification_metrics(test["churned"], prob)["ece"] < before / 4


@pytest.mark.parametrize("method", METHODS)
def test_the_ranking_is_kept(method):
    scores = pl.DataFrame({"user_id": range(101), "score": np.linspace(0, 1, 101)})
    prob = fitted(method).predict(scores)["churn_prob"]
    assert prob.is_sorted()
    assert prob.is_between(0, 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_saving_and_loading_is_the_identity(method, tmp_path):
    model = fitted(method)
    model.save(tmp_path / "model")
    loaded = Recalibration.load(tmp_path / "model")
    assert loaded.spec == model.spec
    assert_frame_equal(loaded.predict(rows(50, seed=2)), model.predict(rows(50, seed=2)), check_exact=True)


@pytest.mark.parametrize("method", METHODS)
def test_row_order_never_matters_and_a_second_fit_forgets_the_first(method):
    model = fitted(method)
    curve = model.curve_
    model.fit(rows(seed=5))
    assert model.curve_ != curve
    assert model.fit(rows().sample(fraction=1, shuffle=True, seed=3)).curve_ == curve


def test_the_isotonic_curve_is_scikit_learns():
    table, test = rows(), rows(300, seed=4)
    oracle = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(table["score"], table["churned"])
    ours = fitted("isotonic").predict(test)["churn_prob"]
    np.testing.assert_allclose(ours, oracle.predict(test["score"].to_numpy()))


def test_platt_recovers_a_known_logistic_distortion():
    rng = np.random.default_rng(0)
    score = rng.random(20_000)
    prob = 1 / (1 + np.exp(-(0.5 + 2 * np.log(score / (1 - score)))))
    table = pl.DataFrame({"user_id": range(20_000), "score": score, "churned": (rng.random(20_000) < prob).astype(int)})
    model = Recalibration(RecalibrationSpec(score="score", truth="churned", method="platt")).fit(table)
    assert model.curve_["slopes"] == pytest.approx([2], abs=0.1)
    assert model.curve_["intercept"] == pytest.approx([0.5], abs=0.1)


@pytest.mark.parametrize("method", ["platt", "beta"])
def test_a_score_that_ranks_the_wrong_way_round_becomes_the_base_rate(method):
    table = rows().with_columns(score=1 - pl.col("score"))
    model = Recalibration(RecalibrationSpec(score="score", truth="churned", method=method)).fit(table)
    prob = model.predict(table)["calibrated"]
    assert prob.min() == pytest.approx(prob.max())
    assert prob[0] == pytest.approx(table["churned"].mean())


def test_predictions_carry_their_keys():
    table = rows(10).with_columns(as_of=pl.date(2024, 1, 1))
    assert fitted("platt").predict(table).columns == ["user_id", "as_of", "churn_prob"]
    assert fitted("platt").predict(table[:0]).columns == ["user_id", "as_of", "churn_prob"]


def test_faults_say_what_where_and_how_to_mend(tmp_path):
    spec = RecalibrationSpec(score="score", truth="churned")
    with pytest.raises(NotFitted, match=r"Recalibration is not fitted yet"):
        Recalibration(spec).predict(rows(3))
    with pytest.raises(BadInput, match="saw only churned = 0 in 5 rows; there is nothing to calibrate against"):
        Recalibration(spec).fit(rows(5).with_columns(churned=pl.lit(0)))
    with pytest.raises(MissingColumn, match=r"evaluate\.Recalibration\.fit needs column 'churned'"):
        Recalibration(spec).fit(rows(5).drop("churned"))
    with pytest.raises(BadInput, match="probabilities between 0 and 1"):
        Recalibration(spec).fit(rows(5).with_columns(score=pl.lit(2.0)))
    with pytest.raises(UnreadableSource, match=r"cannot read .*recalibration\.json.*Was the model saved there\?"):
        Recalibration.load(tmp_path)
    with pytest.raises(BadSpec, match="truth must be a column of its own"):
        RecalibrationSpec(score="score", truth="score")
