"""Sums over cohorts: users add up, a shock widens and does not lift, intervals hold on other worlds."""

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput, MissingColumn
from sojourn.lifetime import SpendDistribution, SpendDistributionSpec, cohort_shock, cohort_sums
from tests.lifetime.worlds import FAST, shop_table

SPEC = SpendDistributionSpec(horizon_days=30, boost=FAST)


@pytest.fixture(scope="module")
def law() -> SpendDistribution:
    return SpendDistribution(SPEC).fit(shop_table(1, users=500))


@pytest.fixture(scope="module")
def others() -> pl.DataFrame:
    table = shop_table(2, users=500).filter(pl.col("label_spend_30d").is_not_null())
    return table.filter(pl.col("as_of") == table["as_of"].max())


def test_cohorts_add_up_to_the_whole(law, others):
    parts = cohort_sums(law, table=others, by=["country"])
    [whole] = cohort_sums(law, table=others.with_columns(all=pl.lit("all")), by=["all"]).to_dicts()
    assert parts["country"].to_list() == ["de", "fr", "it"]
    assert parts["users"].sum() == whole["users"] == others.height
    assert parts["expected"].to_numpy().sum() == pytest.approx(whole["expected"], rel=0.03)
    assert (parts["low"] < parts["expected"]).all()
    assert (parts["expected"] < parts["high"]).all()
    # Users' luck evens out: the whole is surer than its parts.
    assert whole["high"] - whole["low"] < (parts["high"] - parts["low"]).to_numpy().sum()


def test_a_shock_widens_and_does_not_lift(law, others):
    calm, shaken = (cohort_sums(law, table=others, by=["country"], shock=shock) for shock in (0.0, 0.3))
    assert calm["expected"].equals(shaken["expected"])
    assert ((shaken["high"] - shaken["low"]) > 1.5 * (calm["high"] - calm["low"])).all()


def test_intervals_hold_over_worlds(law):
    inside = []
    for seed in range(10, 22):
        table = shop_table(seed, users=300).filter(pl.col("label_spend_30d").is_not_null())
        for part in table.partition_by("as_of")[-3:]:
            found = cohort_sums(law, table=part, by=["country"])
            actual = part.group_by("country").agg(actual=pl.col("label_spend_30d").sum()).sort("country")["actual"]
            inside += ((found["low"] <= actual) & (actual <= found["high"])).to_list()
    assert 0.68 < np.mean(inside) < 0.92


def test_the_shock_is_small_where_nothing_moves_all_at_once():
    assert cohort_shock(shop_table(3, users=500), spec=SPEC.with_changes(folds=3)) < 0.12


def test_what_cannot_be_is_refused(law, others):
    with pytest.raises(MissingColumn, match="channel"):
        cohort_sums(law, table=others, by=["channel"])
    with pytest.raises(BadInput, match="cannot be -1"):
        cohort_sums(law, table=others, by=["country"], shock=-1)
