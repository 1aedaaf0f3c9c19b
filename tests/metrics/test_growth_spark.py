"""Acquisition and supply that Spark counts are those that DuckDB counts."""

import shutil
from datetime import date, timedelta

import pytest
from polars.testing import assert_frame_equal

from sojourn.events import MarketSpec, simulate_market
from sojourn.metrics import put_rates, write_acquired, write_acquired_value, write_acquisition, write_supply_demand
from sojourn.warehouse import EngineSpec, Warehouse
from tests.metrics.growth import START, board, event, numbered, put_costs, put_log
from tests.metrics.test_acquisition import put_predictions
from tests.metrics.test_costs import rates
from tests.metrics.test_supply_demand import SPEC

pytestmark = pytest.mark.slow


def both_ways(duckdb: Warehouse, spark: EngineSpec) -> Warehouse:
    """The same warehouse for Spark."""
    folder = duckdb.root.with_name("spark")
    shutil.copytree(duckdb.root, folder)
    return Warehouse.open(folder, engine=spark)


def assert_same(one: Warehouse, other: Warehouse) -> None:
    tables = [name for name in one.tables() if name.startswith("metric_")]
    assert tables == [name for name in other.tables() if name.startswith("metric_")]
    for name in tables:
        mine, theirs = one.frame(name), other.frame(name).select(one.frame(name).columns)
        keys = [column for column, kind in mine.schema.items() if not kind.is_numeric()]
        keys += [column for column in ("age", "acquisition") if column in mine.columns and column not in keys]
        assert_frame_equal(mine.sort(keys, nulls_last=True), theirs.sort(keys, nulls_last=True), check_dtypes=False)


def test_acquisition_is_the_same_on_spark(warehouse, spark):
    events = []
    for n, who in enumerate(["ann", "bob", "cem", "dia"]):
        events += [event(who, "ad", 20 * n, network=["north", "south", None][n % 3], creative="cat")]
        events += [event(who, "launch", 20 * n + 5 * k) for k in (1, 9, 30)]
        events += [event(who, "pay", 20 * n + 7, amount=n + 1, currency="EUR" if n % 2 else None)]
    put_log(warehouse, numbered(events))
    put_costs(warehouse, [(START, "north", None, "3", "EUR"), (START, "south", "cat", "2", None)])
    put_rates(warehouse, rates(*((START + timedelta(days=n), "EUR", "1.12345678") for n in range(12))))
    put_predictions(warehouse, START + timedelta(days=5), dict.fromkeys(("ann", "bob", "cem", "dia"), (1.0, 2.5, 9.0)))
    other = both_ways(warehouse, spark)
    spec = board(reinstall_gap_days=3, lookback_days=2)
    for each in (warehouse, other):
        write_acquired(each, spec, as_of=START + timedelta(days=4))
        write_acquired_value(each, spec, as_of=START + timedelta(days=4))
        write_acquisition(each, spec)
    assert_same(warehouse, other)


def test_supply_and_demand_are_the_same_on_spark(warehouse, spark):
    simulate_market(warehouse, MarketSpec(drivers=20, riders=80, days=3, start=date(2025, 3, 1)))
    other = both_ways(warehouse, spark)
    for each in (warehouse, other):
        write_supply_demand(each, SPEC)
    assert_same(warehouse, other)
