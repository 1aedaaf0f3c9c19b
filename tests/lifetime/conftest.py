"""Tables that several modules read, made once."""

from datetime import date, timedelta

import polars as pl
import pytest

from tests.lifetime.worlds import first_and_last, shop, shop_table, table_of


@pytest.fixture(scope="session")
def table() -> pl.DataFrame:
    """A shop of 400 users at 16 as-of dates, with 30-day labels."""
    return shop_table(2)


@pytest.fixture(scope="session")
def both() -> pl.DataFrame:
    """A shop with labels of 14 and 30 days, null where a window was cut."""
    return table_of(shop(3, users=300), horizons_days=(14, 30))


@pytest.fixture(scope="session")
def last(table: pl.DataFrame) -> date:
    """The latest as-of date of `table`."""
    return first_and_last(table)[1]


@pytest.fixture(scope="session")
def train(table: pl.DataFrame, last: date) -> pl.DataFrame:
    """What was known on the last as-of date."""
    return table.filter(pl.col("as_of") <= last - timedelta(days=30))


@pytest.fixture(scope="session")
def test(table: pl.DataFrame, last: date) -> pl.DataFrame:
    """The last as-of date."""
    return table.filter(pl.col("as_of") == last)
