"""Decile, gain and calibration tables: they add up, and no row order or tie can move a user."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sklearn.calibration import calibration_curve

from sojourn.core import BadInput
from sojourn.evaluate import calibration_table, decile_table, gain_curve
from sojourn.evaluate.curves import equal_groups, wilson_interval

levels = st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 5.0, 7.5]), min_size=1, max_size=80)


@given(levels, st.randoms())
def test_deciles_add_up_and_ignore_row_order(values, random):
    pred = np.array(values)
    truth = pred[::-1].copy()
    table = decile_table(truth, pred)
    assert table["n"].sum() == len(pred)
    assert (table["n"] * table["actual_mean"]).sum() == pytest.approx(truth.sum())
    assert table["predicted_mean"].is_sorted(descending=True)
    if truth.sum() > 0:
        assert table["actual_share"].sum() == pytest.approx(1)
    order = list(range(len(pred)))
    random.shuffle(order)
    assert_frame_equal(decile_table(truth[order], pred[order]), table, check_exact=True)


@given(levels, st.integers(1, 12))
def test_equal_values_share_a_group_and_groups_rise(values, n_groups):
    array = np.array(values)
    group = equal_groups(array, n_groups=n_groups)
    order = np.argsort(array, kind="stable")
    assert (np.diff(group[order]) >= 0).all()
    for level in np.unique(array):
        assert len(np.unique(group[array == level])) == 1


def test_distinct_values_fill_groups_equally():
    assert np.bincount(equal_groups(np.random.default_rng(0).random(1000), n_groups=10)).tolist() == [100] * 10


def test_the_interval_of_a_decile_holds_its_mean():
    truth = np.random.default_rng(0).lognormal(size=1000)
    table = decile_table(truth, truth)
    assert (table["actual_low"] <= table["actual_mean"]).all()
    assert (table["actual_mean"] <= table["actual_high"]).all()


def test_shares_of_nothing_are_null():
    assert decile_table([0, 0], [1, 2])["actual_share"].null_count() == 2


def test_a_perfect_gain_curve_is_above_every_other():
    rng = np.random.default_rng(0)
    truth = rng.lognormal(size=200)
    best, other = gain_curve(truth, truth), gain_curve(truth, rng.random(200))
    assert (best["share_of_total"] >= other["share_of_total"] - 1e-12).all()


def test_equal_predictions_make_a_straight_gain_curve():
    assert gain_curve([0, 10, 30], [1, 1, 1]).rows() == [(0.0, 0.0), (1.0, 1.0)]


def test_calibration_equals_scikit_learn_where_no_ties_are():
    rng = np.random.default_rng(2)
    prob = rng.random(1000)
    truth = (rng.random(1000) < prob).astype(float)
    ours = calibration_table(truth, prob)
    rate, mean = calibration_curve(truth, prob, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(ours["actual_rate"], rate)
    np.testing.assert_allclose(ours["predicted_mean"], mean)


def test_wilson_golden_interval():
    # scipy 1.17.1: scipy.stats.binomtest(7, 20).proportion_ci(method="wilson") and binomtest(0, 12) likewise.
    low, high = wilson_interval(np.array([7 / 20, 0.0]), n=np.array([20.0, 12.0]))
    np.testing.assert_allclose(low, [0.18119182, 0.0], atol=1e-8)
    np.testing.assert_allclose(high, [0.56714572, 0.24249401], atol=1e-8)


def test_a_gain_curve_of_nothing_is_refused():
    with pytest.raises(BadInput, match="the truth sums to nothing, so no user holds a share of it"):
        gain_curve([0, 0], [1, 2])


def test_tables_take_polars_series():
    assert decile_table(pl.Series([1, 2]), pl.Series([1, 2])).height == 2
