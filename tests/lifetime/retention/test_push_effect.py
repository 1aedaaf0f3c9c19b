"""Effects of pushes: recovered where they are, nothing where there is none, and plans that keep to their budget."""

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec
from sojourn.lifetime import NudgePlan, PushEffect, mean_gain, planned_days, retention_model
from sojourn.lifetime.retention._response import Decisions, basis
from tests.lifetime.retention.worlds import SPEC, activity, lives, seen_from, true_gain

LOOKS = tuple(range(40, 106))
EFFECT = 0.8


def learned(seed: int, effect: float) -> PushEffect:
    return PushEffect(SPEC).fit(activity(seed, looks=LOOKS, users=300, effect=effect))


@pytest.fixture(scope="module")
def strong() -> PushEffect:
    return learned(1, EFFECT)


@pytest.fixture(scope="module")
def today() -> pl.DataFrame:
    return seen_from(lives(7, users=400, effect=EFFECT), 100)


@pytest.fixture(scope="module")
def forecast(today):
    return retention_model("recent", spec=SPEC).fit(activity(6, users=400)).predict(today)


def test_who_likes_pushes_is_told_from_who_does_not_and_by_about_how_much(strong, today, forecast):
    """The gain of one push, beside what it would truly have added."""
    truth = true_gain(lives(7, users=400, effect=EFFECT), 100, today)
    plan = NudgePlan(offsets=(0,), audience="recency_days <= 7")
    found = planned_days(today, forecast=forecast, effect=strong, plan=plan)
    for likes in ("yes", "no"):
        inside = ((today["likes"] == likes) & (today["recency_days"] <= 7)).to_numpy()
        # A user's own rate of pushes is a quarter a day, so a plan adds three quarters of a push.
        assert found.filter(inside)["gain_days"].mean() == pytest.approx(0.75 * truth[inside].mean(), rel=0.4)
    assert strong.differences()["trait"][0].startswith("likes = ")


def test_the_mean_effect_is_near_nothing_where_likes_and_dislikes_cancel(strong):
    row = strong.curve().row(0, named=True)
    assert row["low"] < 0 < row["high"] or abs(row["effect"]) < 0.2


def test_without_any_effect_gains_are_nothing_within_noise(today, forecast):
    for seed in (11, 12, 13):
        none = learned(seed, 0.0)
        plan = NudgePlan(offsets=(0, 3), otherwise="nobody")
        found = mean_gain(today, forecast=forecast, effect=none, plan=plan)
        assert (found.low or 1.0) < 0 < (found.high or -1.0)
        gains = planned_days(today, forecast=forecast, effect=none, plan=plan)["gain_days"]
        assert gains.abs().to_numpy().mean() < 0.12


def test_a_wrong_forecast_leaves_the_effect_on_the_probability_right():
    """A constant as the forecast, and who is pushed more often is less active: the mean effect still comes out."""
    rng = np.random.default_rng(0)
    n = 60_000
    p = rng.uniform(0.2, 0.8, n)
    sent = (rng.random(n) < p).astype(float)
    level = np.where(p > 0.5, -1.5, 0.8)
    without, pushed = 1 / (1 + np.exp(-level)), 1 / (1 + np.exp(-(level + 0.5)))
    y = (rng.random(n) < np.where(sent == 1, pushed, without)).astype(float)[:, None]
    assert y[sent == 1].mean() < y[sent == 0].mean()  # comparing pushed with not pushed says that pushes harm
    m = np.full((n, 1), 0.45)
    moments = Decisions(np.ones((n, 1)), sent - p, m, y, np.arange(n)).moments(np.ones(n, dtype=bool))
    found = moments.score[0] / moments.information[0, 0] * 0.45 * 0.55
    overlap = p * (1 - p)
    assert found == pytest.approx(float(overlap @ (pushed - without) / overlap.sum()), abs=0.012)


def test_moments_are_the_slow_sums():
    rng = np.random.default_rng(3)
    n, days = 12, 4
    y = np.where(rng.random((n, days)) < 0.2, np.nan, rng.random((n, days)) < 0.4)
    decisions = Decisions(
        np.column_stack([np.ones(n), rng.normal(size=n)]), rng.normal(size=n), rng.uniform(0.1, 0.9, (n, days)), y,
        np.arange(n) // 2,
    )  # fmt: skip
    found = decisions.moments(np.ones(n, dtype=bool))
    phi = basis(days)
    information, score = np.zeros_like(found.information), np.zeros_like(found.score)
    for i in range(n):
        for k in range(days):
            if np.isnan(y[i, k]):
                continue
            m = decisions.m[i, k]
            row = decisions.centred[i] * np.concatenate([phi[k, part] * decisions.z[i] for part in range(phi.shape[1])])
            information += m * (1 - m) * np.outer(row, row)
            score += row * (y[i, k] - m)
    assert np.allclose(found.information, information)
    assert np.allclose(found.score, score)


def test_gains_are_the_difference_of_two_expectations_and_nobody_outside_gains(strong, today, forecast):
    plan = NudgePlan(offsets=(0, 7), audience="likes = 'yes' AND recency_days <= 10", otherwise="nobody")
    found = planned_days(today, forecast=forecast, effect=strong, plan=plan)
    assert np.allclose(found["expected_days_pushed"] - found["expected_days"], found["gain_days"])
    outside = ~((today["likes"] == "yes") & (today["recency_days"] <= 10))
    assert found.filter(outside)["gain_days"].abs().sum() == 0
    assert found.filter(outside)["pushes"].max() == 0
    inside = found.filter(~outside)
    assert (inside["pushes"] == 2).all()
    assert inside["gain_days"].to_numpy().min() > 0
    assert inside["gain_low"].lt(inside["gain_days"]).all()


def test_a_plan_that_is_what_happens_anyway_changes_nothing(strong, today, forecast):
    plan = NudgePlan(offsets=(0,), audience="tenure_days < 0")
    found = planned_days(today, forecast=forecast, effect=strong, plan=plan)
    assert np.allclose(found["expected_days"], forecast["expected_days"], atol=1e-6)
    assert not found["push"].any()


def test_the_budget_goes_to_the_best_and_is_kept(strong, today, forecast):
    plan = NudgePlan(offsets=(0,), otherwise="nobody", cost_per_push=0.5, budget=10.0)
    found = planned_days(today, forecast=forecast, effect=strong, plan=plan)
    pushed = found.filter("push")
    assert pushed.height == 20
    assert pushed["cost"].sum() <= 10.0
    others = found.filter(~pl.col("push"))
    assert pushed["gain_days"].to_numpy().min() >= others["gain_days"].to_numpy().max()
    free = planned_days(today, forecast=forecast, effect=strong, plan=plan.with_changes(budget=None))
    assert free["push"].sum() == (free["gain_days"] > 0).sum()
    assert planned_days(today, forecast=forecast, effect=strong, plan=plan.with_changes(budget=0.0))["push"].sum() == 0


def test_the_order_of_rows_changes_no_gain(strong, today, forecast):
    plan = NudgePlan(offsets=(0,))
    one = planned_days(today, forecast=forecast, effect=strong, plan=plan).sort("user_id")
    order = np.random.default_rng(0).permutation(today.height)
    two = planned_days(today[order], forecast=forecast[order], effect=strong, plan=plan).sort("user_id")
    assert np.allclose(one["gain_days"], two["gain_days"], atol=1e-12)


def test_too_few_decisions_by_chance_are_refused():
    table = activity(1, looks=(50,), users=100)
    sure = table.with_columns(pl.col("propensity_ahead").list.eval(pl.lit(1.0)))
    assert not PushEffect.can_learn(sure)
    with pytest.raises(BadInput, match=r"propensity strictly between 0 and 1; it found 0 and 0"):
        PushEffect(SPEC).fit(sure)


def test_wrong_plans_are_refused_with_the_mend(strong, today, forecast):
    with pytest.raises(BadSpec, match="an offset is named twice"):
        NudgePlan(offsets=(1, 1))
    with pytest.raises(
        BadInput, match=r"pushes 14 days ahead, and effects are known for 14 days. Keep offsets below 14"
    ):
        planned_days(today, forecast=forecast, effect=strong, plan=NudgePlan(offsets=(14,)))
    with pytest.raises(BadInput, match="the audience 'no_such = 1' cannot be asked of this table"):
        planned_days(today, forecast=forecast, effect=strong, plan=NudgePlan(audience="no_such = 1"))
    with pytest.raises(BadInput, match="nobody is in the audience"):
        mean_gain(today, forecast=forecast, effect=strong, plan=NudgePlan(audience="tenure_days < 0"))
