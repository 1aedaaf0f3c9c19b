"""The law of the algebra, for every aggregate: in Python, in SQL on every engine, and of all with each other."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import MONEY, BadSpec
from sojourn.rollups import aggregate
from sojourn.rollups.dialect import DuckDBSql, dialect_of
from sojourn.warehouse import DuckDBEngine, Engine, EngineSpec
from sojourn.warehouse.spark import SparkEngine
from tests.rollups.algebras import AS_OF, CASES, Case, Row, truth, values_sql

DUCKDB = DuckDBEngine(EngineSpec(threads=1))
LOGS = {"DuckDB": 200, "Spark": 60}


def same(left: Any, right: Any) -> bool:
    """Equal: exactly, but floats to 1e-12 (absolutely where sums cancel). NaN equals NaN, and null only null."""
    if isinstance(left, float | int) and isinstance(right, float | int) and float in {type(left), type(right)}:
        close = math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-10)
        return close or (math.isnan(left) and math.isnan(right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and (left is None) == (right is None)


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=15, deadline=None)
@given(rng=st.randoms(use_true_random=True), sizes=st.tuples(*[st.integers(0, 9)] * 4), cut=st.integers(0, 9))
def test_the_law_holds_in_python(case, rng, sizes, cut):
    each = case.bound()
    whole, *others = (case.log(rng, size) for size in sizes)
    a, b, c = map(each.lift, others)
    assert same(each.merge(each.merge(a, b), c), each.merge(a, each.merge(b, c)))
    assert same(each.merge(a, b), each.merge(b, a))
    assert same(each.merge(a, each.empty()), a)
    assert same(each.merge(each.empty(), a), a)
    merged = each.merge(each.lift(whole[:cut]), each.lift(whole[cut:]))
    shuffled = rng.sample(whole, len(whole))
    for state in (merged, each.lift(shuffled)):
        assert same(each.finish(state, AS_OF), each.finish(each.lift(whole), AS_OF))
    assert same(each.finish(each.empty(), AS_OF), each.of_nothing)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sql_agrees_with_python_on_duckdb(case):
    assert_agrees(case, DUCKDB)
    if case.bound().by_instant:
        assert_agrees(case, DUCKDB, in_order=False)


@pytest.fixture(scope="module")
def small_spark(spark: EngineSpec) -> Iterator[SparkEngine]:
    """Spark without what pays on large tables alone: compiling each query costs more than running it here."""
    engine, settings = SparkEngine(spark), ("spark.sql.codegen.wholeStage", "spark.sql.adaptive.enabled")
    for setting in settings:
        engine.run(f"SET {setting} = false")
    yield engine
    for setting in settings:
        engine.run(f"RESET {setting}")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_sql_agrees_with_python_on_spark(case, small_spark):
    assert_agrees(case, small_spark)


def assert_agrees(case: Case, engine: Engine, *, in_order: bool = True) -> None:
    """Every value over random logs equals what Python makes of the same rows, however they were cut and merged."""
    sql = dialect_of(engine)
    logs = dict(enumerate(case.logs(sql.name, LOGS[sql.name])))
    rows = [{**row, "log": number} for number, log in logs.items() for row in log]
    with engine.table(pl.DataFrame(rows, schema=case.schema(), orient="row")) as table:
        found = engine.frame(values_sql(case, sql, table, in_order=in_order))
    nothing = case.bound().of_nothing
    got = {row["log"]: (row["early"], row["whole"]) for row in found.iter_rows(named=True)}
    for number, log in logs.items():
        wanted = truth(case, log)
        assert same(got.get(number, (nothing, nothing)), wanted), told(case, log, got.get(number), wanted)


def told(case: Case, log: list[Row], got: Any, wanted: Any) -> str:
    return f"{case}: {got} for {wanted} from {[(r['value'], r['category'], r['ts'], r['event_id']) for r in log]}"


def test_ties_in_time_go_to_the_smallest_id_first_and_the_largest_id_last():
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    tied = [{"value": v, "ts": noon, "day": noon.date(), "event_id": i} for i, v in (("b", 1), ("c", 2), ("a", 3))]
    assert aggregate("first")().finish(aggregate("first")().lift(tied)) == 3
    assert aggregate("last")().finish(aggregate("last")().lift(tied)) == 2
    assert aggregate("last_n")(k=2).finish(aggregate("last_n")(k=2).lift(tied)) == [1, 2]


def test_sums_of_decimals_are_exact_where_doubles_are_not():
    tenths = [{"value": Decimal("0.1")}] * 10
    assert aggregate("sum")(kind="DECIMAL(18,4)").lift(tenths) == Decimal(1)
    with DUCKDB.table(pl.DataFrame({"value": [Decimal("0.1")] * 10}, schema={"value": MONEY})) as table:
        lift = aggregate("sum")(kind="DECIMAL(18,4)").sql(DuckDBSql()).lift["sum"].format(value="value", only="")
        assert DUCKDB.rows(f"SELECT {lift} FROM {table}") == [(Decimal(1),)]


def test_yesterday_is_one_day_ago_and_ends_a_streak():
    recency, streak, longest = (aggregate(name)() for name in ("recency", "streak", "longest_streak"))
    days = [{"value": 1, "day": AS_OF - timedelta(days=ago)} for ago in (1, 2, 4, 5, 6)]
    assert recency.finish(recency.lift(days), AS_OF) == 1
    assert streak.finish(streak.lift(days), AS_OF) == 2
    assert streak.finish(streak.lift(days), AS_OF + timedelta(days=1)) == 0
    assert longest.finish(longest.lift(days), AS_OF) == 3
    bitmap = aggregate("active_bitmap")()
    assert f"{bitmap.finish(bitmap.lift(days), AS_OF):b}" == "111011"


def test_an_unknown_aggregate_is_refused_with_the_nearest_names():
    with pytest.raises(BadSpec, match="there is no aggregate 'summ'; use 'sum'"):
        aggregate("summ")
    with pytest.raises(BadSpec, match="use 'count' or 'sum' or 'min' or 'max'"):
        aggregate("zzz")
