"""At the edge of what a type holds, a rollup is right or refuses in one sentence; it never gives a wrong number."""

import statistics
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest

from sojourn.core import BadInput, EngineError
from sojourn.rollups import AggregateSpec, aggregate, backfill, window_table
from sojourn.rollups.dialect import DuckDBSql
from sojourn.warehouse import DuckDBEngine, EngineSpec, Warehouse
from tests.rollups.algebras import FIRST, POOLS, Case, values_sql
from tests.rollups.logs import Event, put_events, rollup
from tests.rollups.test_aggregates import same

DUCKDB = DuckDBEngine(EngineSpec(threads=1))
LARGE: dict[str, list[int] | list[Decimal]] = {
    "money": [Decimal(10**17 + n).scaleb(-4) for n in range(50)],
    "fine": [Decimal(n * 10**16 + n).scaleb(-9) for n in range(-9, 10)],
    "bigint": [1_700_000_000_000_000 + n for n in (0, 0, 1, 1, 2)],
    "integer": [2**31 - 1, -(2**31), 2**31 - 1],
}


@pytest.mark.parametrize("kind", LARGE)
def test_the_variance_of_large_values_with_a_small_spread_keeps_its_digits(kind):
    case, values = Case("variance", kind), LARGE[kind]
    rows = [{"log": 1, "part": at % 3, "day": FIRST, "value": value} for at, value in enumerate(values)]
    schema = {name: case.schema()[name] for name in ("log", "part", "day", "value")}
    with DUCKDB.table(pl.DataFrame(rows, schema=schema, orient="row")) as table:
        [(_, _, found)] = DUCKDB.rows(values_sql(case, DuckDBSql(), table))
    wanted = float(statistics.variance(map(Fraction, values)))
    each = case.bound()
    assert same(each.finish(each.lift({"value": value} for value in values)), wanted)
    assert abs(found - wanted) <= 1e-12 * wanted


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """One user with two rows on each of two days."""
    put_events(
        warehouse,
        [
            Event(f"e{day}{hour}", "ann", datetime(2024, 5, day, hour, tzinfo=UTC), "pay", Decimal(10**14 - 1))
            for day in (1, 2)
            for hour in (1, 2)
        ],
    )
    return warehouse


@pytest.mark.parametrize(
    ("function", "expression"),
    [
        ("sum", "9000000000000000000"),
        ("mean", "9000000000000000000"),
        ("sum", "CAST(amount AS DECIMAL(38,4)) * 600000000000000000000"),
        ("variance", "9000000000000000000"),
    ],
)
def test_a_sum_that_no_type_holds_is_refused_and_names_the_day(shop, function, expression):
    spec = rollup(aggregates={"much": AggregateSpec(function=function, expression=expression)})
    with pytest.raises(BadInput) as refusal:
        backfill(shop, spec)
    assert str(refusal.value).startswith("Rollup 'every' cannot be built for days 2024-05-01 to 2024-05-02: ")
    assert "verflow" in str(refusal.value) or "out of range" in str(refusal.value)


def test_a_sum_of_days_that_no_type_holds_is_refused_too(shop):
    spec = rollup(
        aggregates={"much": AggregateSpec(function="sum", expression="4000000000000000000")}, windows_days=(2,)
    )
    backfill(shop, spec)
    with pytest.raises(EngineError, match=r"DuckDB refused a query: .*out of range"):
        window_table(shop, spec, as_ofs=[date(2024, 5, 3)])


def test_the_largest_money_there_is_is_summed_exactly(shop):
    spec = rollup(aggregates={"spend": AggregateSpec(function="sum", expression="amount")}, windows_days=(2,))
    backfill(shop, spec)
    assert window_table(shop, spec, as_ofs=[date(2024, 5, 3)])["spend_2d"].to_list() == [4 * (10**14 - 1)]


def test_nan_is_one_value_and_the_largest():
    nan = float("nan")
    rows = [{"value": value} for value in (1.0, nan, -nan, float("inf"))]
    assert [aggregate("min")(kind="DOUBLE").lift(rows), str(aggregate("max")(kind="DOUBLE").lift(rows))] == [1.0, "nan"]
    assert len(aggregate("count_distinct")(kind="DOUBLE").lift(rows)) == 3


def test_texts_are_ordered_by_their_bytes_and_not_by_utf_16():
    rows = [{"value": value} for value in ("\U0001f600", "\uffee", "z")]
    ranked = aggregate("top_k")(kind="VARCHAR", k=3)
    assert (
        ranked.finish(ranked.lift(rows))
        == ["z", "\uffee", "\U0001f600"]
        == sorted((row["value"] for row in rows), key=lambda text: text.encode())
    )
    assert {"\U0001f600", "\uffee"} <= set(POOLS["text"][2]), "and SQL is held to it"
