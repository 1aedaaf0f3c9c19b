"""One sale above all others: it counts in part, in every model that learns money, and nothing else is touched."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.evaluate import value_metrics
from sojourn.lifetime import ValueSpec, make_model
from sojourn.lifetime._outliers import EVEN_SHARES, MOST_SHARE, held_in, most_of
from tests.lifetime.worlds import FAST, shop_table

SPEC = ValueSpec(horizon_days=30, boost=FAST)
LEARNED = ("two_stage", "median_scaled", "mean", "tweedie", "pareto_nbd")


def slow_most_of(amounts: np.ndarray) -> float:
    """The greatest limit, among a fine grid, above which no amount has more than its share of all."""
    sizes = np.abs(amounts[amounts != 0])
    share = max(MOST_SHARE, EVEN_SHARES / len(sizes)) if len(sizes) else 1.0
    if not len(sizes) or sizes.max() <= share * sizes.sum():
        return float("inf")
    grid = np.geomspace(sizes.min() / 2, sizes.max(), 20_000)
    fits = [limit for limit in grid if limit <= share * np.minimum(sizes, limit).sum()]
    return max(fits, default=float("inf"))


@given(st.lists(st.floats(-1e5, 1e5).filter(lambda x: x == 0 or abs(x) > 1e-3), max_size=60))
def test_the_limit_is_the_greatest_that_leaves_nobody_more_than_the_share(amounts):
    found, slow = most_of(np.array(amounts)), slow_most_of(np.array(amounts))
    assert found == slow or found == pytest.approx(slow, rel=2e-3)


def test_dates_are_held_in_each_for_itself_and_both_ways():
    amounts = np.array([10.0] * 99 + [77_000.0] + [10.0] * 99 + [-500.0])
    dates = pl.Series(["a"] * 100 + ["b"] * 100)
    held = held_in(amounts, as_of=dates)
    assert held[99] == pytest.approx(110.0)
    assert held[199] == pytest.approx(-110.0)
    assert (np.delete(held, [99, 199]) == 10.0).all()


@pytest.fixture(scope="module")
def usual() -> pl.DataFrame:
    return shop_table(3, users=300)


def with_one_sale(table: pl.DataFrame, amount: float) -> pl.DataFrame:
    """The same shop, where one user bought for so much between the last two dates, and never again."""
    user, (learned, late) = table["user_id"].min(), table["as_of"].unique().sort()[-2:]
    spent = [name for name in table.columns if name.startswith("spend_")]

    def more(name: str, day: object) -> pl.Expr:
        struck = (pl.col("user_id") == user) & (pl.col("as_of") == day)
        return pl.when(struck).then(pl.col(name) + amount).otherwise(pl.col(name)).alias(name)

    return table.with_columns(more(SPEC.label, learned), *(more(name, late) for name in spent))


@pytest.mark.parametrize("name", LEARNED)
def test_of_all_others_the_same_is_said_and_of_that_one_no_more_than_a_share(name, usual):
    late = usual["as_of"].max()
    truth = usual.filter(pl.col("as_of") == late)[SPEC.label].to_numpy()

    def said(table: pl.DataFrame) -> np.ndarray:
        is_late = pl.col("as_of") == late
        model = make_model(name, spec=SPEC).fit(table.filter(~is_late))
        return model.predict(table.filter(is_late))[SPEC.name].to_numpy()

    plain, struck = said(usual), said(with_one_sale(usual, 77_183.6))
    others = value_metrics(truth[1:], struck[1:])["mae"]
    assert others < 1.1 * value_metrics(truth[1:], plain[1:])["mae"]
    assert struck[0] < 0.25 * truth.sum()
    assert struck[1:].sum() == pytest.approx(plain[1:].sum(), rel=0.12)
