"""Churn: better than recency, and a probability that means what it says."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, Estimator, MissingColumn
from sojourn.evaluate import calibration_table, classification_metrics
from sojourn.lifetime import ChurnBaseline, ChurnSpec, ChurnTrees, make_model
from tests.lifetime.worlds import FAST

SPEC = ChurnSpec(boost=FAST)


def built(name: str) -> Estimator:
    return make_model(name, spec=SPEC)


def scored(name: str, train: pl.DataFrame, test: pl.DataFrame) -> dict[str, float]:
    churned = (test["label_purchases_30d"] == 0).cast(pl.Int8)
    return classification_metrics(churned, built(name).fit(train).predict(test)["churn_30"])


def coins(seed: int, *, users: int = 4000) -> tuple[pl.DataFrame, np.ndarray]:
    """Users whose churn probability is known: it falls with how often they bought."""
    rng = np.random.default_rng(seed)
    bought = rng.poisson(3, users)
    prob = 1 / (1 + np.exp(bought - 2.0))
    table = pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in range(users)],
            "as_of": [pl.date(2024, 5, 1)] * 0 or [None] * users,
            "purchases_30d": bought,
            "purchase_recency_days": rng.integers(1, 60, users),
            "label_purchases_30d": (rng.random(users) >= prob).astype(int),
        }
    ).with_columns(as_of=pl.date(2024, 5, 1))
    return table, prob


def test_trees_beat_recency_and_recency_beats_the_base_rate(train, test):
    trees, recency, base = (scored(name, train, test) for name in ("churn_trees", "recency", "base_rate"))
    assert trees["auc"] > recency["auc"] > base["auc"] == 0.5
    assert trees["brier"] < recency["brier"] < base["brier"]


def test_known_probabilities_come_back():
    train, _ = coins(0)
    fresh, prob = coins(1)
    predicted = ChurnTrees(SPEC).fit(train).predict(fresh)["churn_30"].to_numpy()
    assert np.abs(predicted - prob).mean() < 0.03
    table = calibration_table((fresh["label_purchases_30d"] == 0).cast(pl.Int8), predicted, bins=5)
    assert ((table["predicted_mean"] - table["actual_rate"]).abs() < 0.05).all()


def test_recency_rises_with_absence_and_never_is_the_longest(train):
    model = ChurnBaseline().fit(train)
    days = pl.DataFrame({"user_id": ["a", "b", "c", "d"], "purchase_recency_days": [1, 10, 300, None]})
    prob = model.predict(days)["churn_30"].to_list()
    assert prob == sorted(prob)
    assert prob[0] < prob[3]


def test_recency_of_another_activity_is_that_of_being_active(train, test):
    spec = ChurnSpec(activity="events", boost=FAST)
    table = train.rename({"label_purchases_30d": "label_events_30d"}).drop("purchase_recency_days")
    assert make_model("recency", spec=spec).fit(table).predict(test)["churn_30"].n_unique() > 5


@pytest.mark.parametrize("name", ["churn_trees", "recency", "base_rate"])
class TestEveryModel:
    def test_saving_and_loading_is_the_identity(self, name, train, test, tmp_path):
        model = built(name).fit(train)
        model.save(tmp_path / "model")
        assert_frame_equal(type(model).load(tmp_path / "model").predict(test), model.predict(test), check_exact=True)

    def test_the_order_of_rows_changes_nothing(self, name, train, test):
        shuffled = train.sample(fraction=1.0, shuffle=True, seed=5)
        assert_frame_equal(
            built(name).fit(train).predict(test), built(name).fit(shuffled).predict(test), check_exact=True
        )

    def test_probabilities_are_probabilities(self, name, train, test):
        assert built(name).fit(train).predict(test)["churn_30"].is_between(0, 1).all()

    def test_nobody_or_everybody_leaving_is_refused(self, name, train):
        with pytest.raises(BadInput, match=r"every user did nothing within 30 days \('label_purchases_30d'\)"):
            built(name).fit(train.with_columns(label_purchases_30d=0))
        with pytest.raises(BadInput, match=r"every user did something within 30 days"):
            built(name).fit(train.with_columns(label_purchases_30d=1))

    def test_one_user_only_is_refused(self, name, train):
        with pytest.raises(BadInput, match=r"needs at least 20 users to learn from and got 1"):
            built(name).fit(train.filter(pl.col("user_id") == "u00003"))


def test_a_missing_recency_is_told(train):
    with pytest.raises(MissingColumn, match=r"lifetime.ChurnBaseline needs column 'purchase_recency_days'"):
        ChurnBaseline().fit(train.drop("purchase_recency_days"))
