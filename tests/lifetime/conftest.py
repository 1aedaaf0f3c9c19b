"""Tables that several modules read, made once."""

from datetime import date, timedelta

import polars as pl
import pytest

from sojourn.events import WorldSpec, simulate
from sojourn.lifetime import Lifetime, fit_models
from sojourn.warehouse import EngineSpec, Warehouse
from tests.lifetime.worlds import SCORED, first_and_last, shop, shop_table, table_of


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


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A simulated app of 600 users, for tests that score them."""
    warehouse = Warehouse.create(tmp_path_factory.mktemp("app") / "app", engine=EngineSpec(threads=2))
    simulate(warehouse, WorldSpec(users=600, days=75, seed=2))
    return warehouse


@pytest.fixture(scope="module")
def model(app: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Lifetime:
    """The models of `SCORED` on the app, read back from where they were saved."""
    folder = tmp_path_factory.mktemp("models")
    fit_models(app, spec=SCORED, out=folder)
    return Lifetime.load(folder)
