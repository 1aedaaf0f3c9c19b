"""Checks: silent on a log that is right, loud on one that is not."""

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput
from sojourn.effects import balance_table, doubts, overlap, propensity_table, sample_ratio_test
from tests.effects.logs import EFFECT, campaign, three_arms


def test_the_ratio_test_is_calm_on_right_logs_and_gives_even_p():
    p = [sample_ratio_test(three_arms(seed, users=400), spec=EFFECT)["p"] for seed in range(200)]
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.06)
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_the_ratio_test_with_even_chances_is_the_textbook_one():
    table = campaign(1, even=True)
    n, treated = table.height, int(table["treatment"].sum())
    assert sample_ratio_test(table, spec=EFFECT)["chi2"] == pytest.approx((treated - n / 2) ** 2 / (n / 4))


def test_lost_rows_are_noticed():
    table = campaign(2, users=2000)
    lost = table.filter(pl.col("treatment").not_() | (pl.int_range(pl.len()) % 5 > 0))
    assert sample_ratio_test(table, spec=EFFECT)["p"] > 0.01
    assert sample_ratio_test(lost, spec=EFFECT)["p"] < 1e-6
    assert doubts(table, spec=EFFECT) == []
    assert "do not hold as many rows as the propensities say" in doubts(lost, spec=EFFECT)[0]


def test_recorded_chances_lie_in_the_intervals_of_what_happened():
    inside = []
    for seed in range(30):
        found = propensity_table(campaign(seed, users=400), spec=EFFECT)
        assert found["rows"].sum() == 800
        inside += ((found["low"] <= found["propensity_mean"]) & (found["propensity_mean"] <= found["high"])).to_list()
    assert 0.9 <= np.mean(inside) <= 0.99
    wrong = campaign(3, users=2000).with_columns(propensity=1 - pl.col("propensity"))
    found = propensity_table(wrong, spec=EFFECT)
    assert not ((found["low"] <= found["propensity_mean"]) & (found["propensity_mean"] <= found["high"])).all()


def test_weighting_balances_what_decided_about_treatment():
    found = balance_table(campaign(4, users=2000), spec=EFFECT)
    lately = found.filter(covariate="active_days_7d").row(0, named=True)
    assert abs(lately["raw"]) > 0.3
    assert abs(lately["weighted"]) < 0.06
    assert set(found["covariate"]) == {"active_days_7d", "taste=likes", "taste=dislikes"}


def test_a_covariate_that_the_treatment_moved_raises_a_doubt():
    table = campaign(5, users=2000).with_columns(opened=pl.col("treatment").cast(pl.Float64))
    [doubt] = doubts(table, spec=EFFECT)
    assert "most 'opened' (+2.0" in doubt
    assert doubt.endswith("was it known before the decision?")


def test_overlap_counts_what_rows_are_worth():
    found = overlap(campaign(6, even=True), spec=EFFECT)
    assert found["effective_rows"].to_list() == pytest.approx([float(rows) for rows in found["rows"]])
    uneven = overlap(campaign(6), spec=EFFECT)
    assert (uneven["effective_rows"] < uneven["rows"]).all()
    assert uneven["propensity_min"].to_list() == pytest.approx([0.25, 0.15], abs=0.01)


def test_without_recorded_chances_there_is_no_ratio_to_test():
    with pytest.raises(BadInput, match="Add a column with the planned chance of treatment"):
        sample_ratio_test(campaign(1), spec=EFFECT.with_changes(propensity=None))
