"""Distributions of spend: calibrated on users not seen, sharper than one for all, futures that match quantiles."""

import numpy as np
import polars as pl
import pytest

from sojourn.evaluate import crps, level_grid, pit_distance, randomised_pit
from sojourn.lifetime import SpendDistribution, SpendDistributionSpec
from tests.lifetime.worlds import FAST, shop_table

SPEC = SpendDistributionSpec(horizon_days=30, boost=FAST)


@pytest.fixture(scope="module")
def model() -> SpendDistribution:
    return SpendDistribution(SPEC).fit(shop_table(1, users=700))


@pytest.fixture(scope="module")
def others() -> pl.DataFrame:
    return shop_table(2, users=700).filter(pl.col("label_spend_30d").is_not_null())


def test_other_users_lie_evenly_in_their_distributions(model, others):
    truth, quantiles = others["label_spend_30d"].to_numpy(), model.quantiles(others, levels=level_grid(99))
    assert pit_distance(randomised_pit(truth, quantiles)) < 0.05
    low, high = model.quantiles(others, levels=np.array([0.1, 0.9])).T
    positive = truth > 0
    assert 0.7 < ((low <= truth) & (truth <= high))[positive].mean() < 0.92
    same_for_all = np.broadcast_to(np.quantile(truth, level_grid(99)), quantiles.shape)
    assert crps(truth, quantiles).mean() < 0.9 * crps(truth, same_for_all).mean()


def test_quantiles_rise_and_are_never_negative(model, others):
    found = model.predict(others).drop("user_id", "as_of").to_numpy()
    assert (found >= 0).all()
    assert (np.diff(found, axis=1) >= 0).all()


def test_futures_match_the_quantiles(model, others):
    some = others.head(40)
    futures = model.draw(some, draws=4_000, rng=np.random.default_rng(0))
    share = (futures <= model.quantiles(some, levels=np.array([0.75]))).mean(axis=1)
    assert np.abs(share - 0.75).max() < 0.05 or (share >= 0.75 - 0.05).all()  # more, where the quantile is a mass
    assert model.draw(some, draws=5, rng=np.random.default_rng(1)).shape == (40, 5)


def test_held_out_rows_are_all_labelled_rows(model):
    held = model.held_out_
    assert held.columns[:4] == ["user_id", "as_of", "truth", "ltv_30_q05"]
    inside = held.select(pl.col("truth").is_between(pl.col("ltv_30_q10"), pl.col("ltv_30_q90")).mean()).item()
    assert 0.75 < inside < 0.95


def test_an_interval_holds_as_often_as_asked_where_nobody_is_sure_to_spend_nothing(model, others):
    truth = others["label_spend_30d"].to_numpy()
    low, high = model.interval(others, level=0.8)
    chance_of_nothing = (model.quantiles(others, levels=level_grid(99)) == 0).mean(axis=1)
    unsure = chance_of_nothing < 0.8
    assert 0.75 < ((low <= truth) & (truth <= high))[unsure].mean() < 0.88
    assert (low <= high).all()


def test_where_nothing_is_likely_all_that_is_cut_off_lies_above(model, others):
    low, high = model.interval(others, level=0.8)
    bare = model.quantiles(others, levels=np.array([0.1, 0.8, 0.9]))
    from_nothing = low == 0
    assert 0 < from_nothing.mean() < 1
    assert (high[from_nothing] >= bare[from_nothing, 1]).all()
    assert (high[~from_nothing] >= bare[~from_nothing, 2]).all()
    assert (low <= bare[:, 0]).all()


def test_a_time_unlike_those_learned_from_widens_the_interval():
    table = shop_table(3, users=400)
    last = table.filter(pl.col("label_spend_30d").is_not_null())["as_of"].max()
    wild = table.with_columns(
        pl.when(pl.col("as_of") == last)
        .then(pl.col("label_spend_30d") * 3)
        .otherwise(pl.col("label_spend_30d"))
        .alias("label_spend_30d")
    )
    calm, shaken = (SpendDistribution(SPEC).fit(each) for each in (table, wild))
    now = table.filter(pl.col("as_of") == last)
    width = [np.subtract(*reversed(model.interval(now))).mean() for model in (calm, shaken)]
    assert width[1] > 1.2 * width[0]
    assert not np.allclose(shaken.ahead_[-1], shaken.places_[-1])


def test_saved_intervals_are_the_same(model, others, tmp_path):
    model.save(tmp_path)
    for end, again in zip(model.interval(others), SpendDistribution.load(tmp_path).interval(others), strict=True):
        assert np.array_equal(end, again)
