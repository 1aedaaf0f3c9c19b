"""Intervals hold as often as they say, on users that nothing has seen, wide where spend is uncertain."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, MissingColumn
from sojourn.lifetime import SingleStage, SingleStageSpec, SpendInterval, SpendIntervalSpec
from sojourn.lifetime.interval import fit_interval, with_interval
from tests.lifetime.worlds import FAST, first_and_last, shop_table

SPEC = SingleStageSpec(horizon_days=30, objective="median", boost=FAST)


def spenders(seed: int, *, users: int = 3000) -> pl.DataFrame:
    """Users whose spend is as uncertain as the column `noise` says."""
    rng = np.random.default_rng(seed)
    month, noise = rng.gamma(2, 50, users) + 10, rng.choice([0.1, 0.8], users)
    return pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in range(users)],
            "spend_30d": month,
            "noise": noise,
            "tenure_days": np.full(users, 100),
            "label_spend_30d": month * np.exp(noise * rng.normal(size=users)),
        }
    ).with_columns(as_of=pl.lit(date(2024, 5, 1)))


@pytest.fixture(scope="module")
def found() -> pl.DataFrame:
    train, fresh = spenders(0), spenders(1)
    model = SingleStage(SPEC).fit(train)
    interval = fit_interval(model, table=train, level=0.8)
    return with_interval(interval, features=fresh, predicted=model.predict(fresh)).with_columns(
        fresh["label_spend_30d"], fresh["noise"]
    )


def test_the_interval_holds_for_the_promised_share_of_fresh_users(found):
    held = found["label_spend_30d"].is_between(found["ltv_30_low"], found["ltv_30_high"])
    assert held.mean() == pytest.approx(0.8, abs=0.03)


def test_it_holds_for_sure_and_unsure_users_alike_and_is_wider_for_the_unsure(found):
    by_noise = (
        found.group_by("noise")
        .agg(
            held=pl.col("label_spend_30d").is_between("ltv_30_low", "ltv_30_high").mean(),
            width=((pl.col("ltv_30_high") - pl.col("ltv_30_low")) / pl.col("ltv_30")).mean(),
        )
        .sort("noise")
    )
    assert (by_noise["held"] - 0.8).abs().max() < 0.06
    assert by_noise["width"][1] > 3 * by_noise["width"][0]


def test_it_holds_the_prediction_and_nothing_below_zero(found):
    assert found["ltv_30"].is_between(found["ltv_30_low"], found["ltv_30_high"]).all()
    assert found["ltv_30_low"].min() >= 0


def test_where_refunds_happened_the_low_end_may_be_negative(train):
    refunded = train.with_columns(pl.col("label_spend_30d") - 30)
    model = SingleStage(SPEC).fit(refunded)
    interval = fit_interval(model, table=refunded, level=0.8)
    assert interval.conformal_.spec.floor is None


def test_saving_and_loading_is_the_identity(train, test, tmp_path):
    model = SingleStage(SPEC).fit(train)
    interval = fit_interval(model, table=train, level=0.8)
    interval.save(tmp_path)
    scored = test.with_columns(model.predict(test)["ltv_30"])
    assert_frame_equal(SpendInterval.load(tmp_path).predict(scored), interval.predict(scored), check_exact=True)


def test_a_missing_prediction_is_told(train):
    interval = SpendInterval(SpendIntervalSpec(horizon_days=30, boost=FAST))
    with pytest.raises(MissingColumn, match=r"lifetime.SpendInterval.fit needs column 'ltv_30'"):
        interval.fit(train)
    with pytest.raises(BadInput, match=f"column 'ltv_30' has no prediction in {train.height} rows"):
        interval.fit(train.with_columns(ltv_30=pl.lit(None, dtype=pl.Float64)))


def test_users_who_never_spend_lie_inside_although_trees_never_quite_reach_zero():
    table = shop_table(5, users=1000, payers=0.1)
    _, end = first_and_last(table)
    train, fresh = (
        table.filter(part) for part in (pl.col("as_of") <= end - timedelta(days=30), pl.col("as_of") == end)
    )
    model = SingleStage(SPEC.with_changes(objective="mean")).fit(train)
    found = with_interval(
        fit_interval(model, table=train, level=0.8), features=fresh, predicted=model.predict(fresh)
    ).with_columns(spend=fresh["label_spend_30d"])
    held = found.with_columns(held=pl.col("spend").is_between("ltv_30_low", "ltv_30_high"))
    assert held.filter(pl.col("spend") == 0)["held"].to_numpy().mean() > 0.95
    assert held.filter(pl.col("spend") > 0)["held"].to_numpy().mean() > 0.6


def test_a_season_that_no_earlier_date_knew_is_held_too():
    calm = [spenders(seed, users=800).with_columns(as_of=date(2024, month, 1)) for seed, month in ((0, 1), (1, 2))]
    festive = spenders(2, users=800).with_columns(pl.col("label_spend_30d") * 2, as_of=pl.lit(date(2024, 4, 1)))
    train = pl.concat([each.with_columns(pl.col("as_of").cast(pl.Date)) for each in (*calm, festive)])
    model = SingleStage(SPEC).fit(train)
    interval = fit_interval(model, table=train, level=0.8)
    assert interval.ahead_ is not None
    fresh = spenders(3).with_columns(pl.col("label_spend_30d") * 2, as_of=pl.lit(date(2024, 5, 1)))
    found = with_interval(interval, features=fresh, predicted=model.predict(fresh))
    truth = fresh["label_spend_30d"]
    held = truth.is_between(found["ltv_30_low"], found["ltv_30_high"]).to_numpy().mean()
    interval.ahead_ = None
    without = with_interval(interval, features=fresh, predicted=model.predict(fresh))
    assert held > 0.72
    assert held > truth.is_between(without["ltv_30_low"], without["ltv_30_high"]).to_numpy().mean() + 0.05
