"""Effects by day: sums that must agree, bands, and what a day costs."""

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput
from sojourn.effects import average_effects, retention_effects
from sojourn.effects._errors import Estimate
from sojourn.effects.retention import cost_of_one
from tests.effects.logs import EFFECT, campaign

PLAIN = EFFECT.with_changes(covariates=())
LIFTS = (0.15, 0.10, 0.05, 0.0)


def daily(seed: int, *, users: int = 500) -> pl.DataFrame:
    """Four days after the decision, on which treating adds these chances of being active."""
    table = campaign(seed, users=users)
    rng = np.random.default_rng([seed, 1])
    treated = table["treatment"].to_numpy()
    columns = {
        f"outcome_active_{day}": (rng.random(table.height) < 0.3 + lift * treated).astype(float)
        for day, lift in enumerate(LIFTS)
    }
    return table.with_columns(**columns).with_columns(
        outcome_sum=pl.sum_horizontal(*columns),
        outcome_last=pl.max_horizontal(*(pl.col(name) * (day + 1) for day, name in enumerate(columns))),
    )


def test_days_add_up_to_active_days_and_the_last_day_is_the_lifetime():
    table = daily(1)
    found = retention_effects(table, spec=PLAIN)["treated"]
    for outcome, interval in (("outcome_sum", found.active_days), ("outcome_last", found.lifetime_days)):
        alone = average_effects(table, spec=PLAIN.with_changes(outcome=outcome), methods=["doubly_robust"])
        assert interval.value == pytest.approx(alone["effect"].item())
        assert (interval.low, interval.high) == pytest.approx((alone["low"].item(), alone["high"].item()))
    assert found.curve["effect"].sum() == pytest.approx(found.active_days.value)


def test_the_truth_of_each_day_lies_inside_and_that_of_all_days_inside_the_band():
    each, together = [], []
    for seed in range(100):
        curve = retention_effects(daily(seed, users=300), spec=PLAIN)["treated"].curve
        low, high = curve["low"].to_numpy(), curve["high"].to_numpy()
        each.append((low <= LIFTS) & (high >= LIFTS))
        together.append(((curve["band_low"].to_numpy() <= LIFTS) & (curve["band_high"].to_numpy() >= LIFTS)).all())
    assert 0.92 <= np.mean(each) <= 0.98
    assert 0.89 <= np.mean(together) <= 1.0
    assert np.mean(np.all(each, axis=1)) < np.mean(together)


def test_what_a_day_costs_is_the_gain_inverted():
    gained = Estimate(0.2, 0.05, np.zeros(1))
    found = cost_of_one(gained, cost=0.1, level=0.95)
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.1 / (0.2 + 1.96 * 0.05), 0.1 / (0.2 - 1.96 * 0.05)), rel=1e-4)
    unsure = cost_of_one(Estimate(0.05, 0.05, np.zeros(1)), cost=0.1, level=0.95)
    assert unsure.high is None
    assert cost_of_one(Estimate(-0.2, 0.05, np.zeros(1)), cost=0.1, level=0.95).value is None
    assert retention_effects(daily(2), spec=PLAIN, cost=0.1)["treated"].table()["figure"].to_list() == [
        "active_days",
        "lifetime_days",
        "cost_per_day",
    ]


def test_days_that_are_missing_or_no_yes_or_no_are_refused():
    with pytest.raises(BadInput, match=r"without a gap; the table has those of days \[0, 2, 3\]"):
        retention_effects(daily(1).drop("outcome_active_1"), spec=PLAIN)
    with pytest.raises(BadInput, match="outcome_active_0 to outcome_active_3 must be 0 or 1"):
        retention_effects(daily(1).with_columns(outcome_active_1=pl.lit(0.5)), spec=PLAIN)
