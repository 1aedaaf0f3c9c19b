"""The law of the algebra, for every aggregate: in Python, in SQL, and of the two with each other."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import MONEY, UTC_US, BadSpec
from sojourn.rollups import AGGREGATES, Aggregate, aggregate
from sojourn.rollups.dialect import DuckDBSql
from sojourn.warehouse import DuckDBEngine, EngineSpec

FIRST = date(2024, 2, 26)
AS_OF = date(2024, 3, 12)
ENGINE = DuckDBEngine(EngineSpec(threads=1))
VALUES: dict[str, tuple[pl.DataType | type[pl.DataType], st.SearchStrategy[Any]]] = {
    "DECIMAL(18,4)": (MONEY, st.integers(-(10**12), 10**12).map(lambda n: Decimal(n) / 10_000)),
    "BIGINT": (pl.Int64, st.integers(-(2**40), 2**40)),
    "DOUBLE": (pl.Float64, st.floats(-1e9, 1e9, allow_subnormal=False)),
    "VARCHAR": (pl.String, st.text("aZé0 '", max_size=3)),
}
KINDS = {"count": ["VARCHAR"], "active_days": ["BIGINT"], "recency": ["DOUBLE"]}
NUMBERS, ORDERED = ["DECIMAL(18,4)", "BIGINT", "DOUBLE"], ["DECIMAL(18,4)", "DOUBLE", "VARCHAR"]
CASES = [
    (name, kind)
    for name, each in AGGREGATES.items()
    for kind in KINDS.get(name, NUMBERS if each.needs_number else ORDERED)
]


@st.composite
def rows(draw: st.DrawFn, kind: str, max_size: int = 12) -> list[dict[str, Any]]:
    """Random rows: values repeat and are often null, instants repeat, ids are unique, a day is its instant's date."""
    value = st.none() | VALUES[kind][1]
    drawn = draw(st.lists(st.tuples(value, st.integers(0, 14 * 4 - 1), st.integers(0, 2)), max_size=max_size))
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    times = [start + timedelta(hours=6 * step) for _, step, _ in drawn]
    return [
        {"value": value, "ts": ts, "day": ts.date(), "event_id": f"e{(5 * at) % 17:02}", "part": part}
        for at, ((value, _, part), ts) in enumerate(zip(drawn, times, strict=True))
    ]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-12 * 1e9)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right) and (left is None) == (right is None)


@pytest.mark.parametrize(("name", "kind"), CASES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_law_holds_in_python(name, kind, data):
    each = aggregate(name)(kind=kind)
    a, b, c = (each.lift(data.draw(rows(kind))) for _ in range(3))
    assert same(each.merge(each.merge(a, b), c), each.merge(a, each.merge(b, c)))
    assert same(each.merge(a, b), each.merge(b, a))
    assert each.merge(a, each.empty()) == a == each.merge(each.empty(), a)
    whole = data.draw(rows(kind))
    cut = data.draw(st.integers(0, len(whole)))
    merged = each.merge(each.lift(whole[:cut]), each.lift(whole[cut:]))
    assert same(each.finish(merged, AS_OF), each.finish(each.lift(whole), AS_OF))


@pytest.mark.parametrize(("name", "kind"), CASES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_the_law_holds_in_sql_and_sql_agrees_with_python(name, kind, data):
    each = aggregate(name)(kind=kind)
    drawn = data.draw(rows(kind, max_size=20))
    schema = {"value": VALUES[kind][0], "ts": UTC_US, "day": pl.Date, "event_id": pl.String, "part": pl.Int64}
    with ENGINE.table(pl.DataFrame(drawn, schema=schema, orient="row")) as table:
        # Cut each day in parts and merge the parts; merge whole days into one span; read days as a window does.
        cells = ENGINE.rows(f"SELECT {finished(each, parts_merged_by_day(each, table))}")
        span = ENGINE.rows(f"SELECT {finished(each, merged_into_a_span(each, table))}")
        window = ENGINE.rows(f"SELECT {finished(each, lifted_by_day(each, table))}")
    assert same(cells[0][0], each.finish(each.lift(drawn), AS_OF)), "states of parts of a day"
    assert same(span[0][0], each.finish(each.lift(drawn), AS_OF)), "states of several days in one"
    assert same(window[0][0], each.finish(each.lift(drawn), AS_OF)), "a window over days"


def lifted_by_day(each: Aggregate, table: str, by: str = "day") -> str:
    lift = each.sql(DuckDBSql()).lift
    states = ", ".join(f"{sql.format(value='value', only='')} AS s_{part}" for part, sql in lift.items())
    return f"(SELECT {by}, {states} FROM {table} GROUP BY {by})"


def parts_merged_by_day(each: Aggregate, table: str) -> str:
    # Parts are merged two by two, so that a merge of merges is tested too.
    parts = lifted_by_day(each, table, by="day, part")
    two = f"(SELECT day, part % 2 AS half, {merged(each)} FROM {parts} GROUP BY day, half)"
    return f"(SELECT day, {merged(each)} FROM {two} GROUP BY day)"


def merged_into_a_span(each: Aggregate, table: str) -> str:
    offset = f"date_diff('day', DATE '{FIRST}', day)"
    return f"(SELECT {merged(each, offset)} FROM {lifted_by_day(each, table)})"


def merged(each: Aggregate, offset: str = "0") -> str:
    algebra = each.sql(DuckDBSql())
    stored = {part: f"s_{part}" for part in algebra.lift}
    return ", ".join(
        f"{sql.format(**stored, only='', offset=offset)} AS s_{part}" for part, sql in algebra.merge.items()
    )


def finished(each: Aggregate, cells: str) -> str:
    """The value over disjoint cells, gathered in two bands as `window_sql` does."""
    algebra = each.sql(DuckDBSql())
    stored = {part: f"s_{part}" for part in algebra.lift}
    opened = ", ".join(f"{sql.format(**stored)} AS r_{part}" for part, sql in algebra.reading().items())
    read = {part: f"r_{part}" for part in algebra.reading()}
    gathered = ", ".join(
        f"{sql.format(**read, only='FILTER (WHERE true)', offset='0')} AS {part}"
        for part, sql in algebra.gathering().items()
    )
    names = {part: part for part in algebra.gathering()}
    value = algebra.finish.format(**names, as_of=f"DATE '{AS_OF}'")
    return f"{value} FROM (SELECT {gathered} FROM (SELECT {opened} FROM {cells}))"


def test_ties_in_time_go_to_the_smallest_id_first_and_the_largest_id_last():
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    tied = [{"value": v, "ts": noon, "day": noon.date(), "event_id": i} for i, v in (("b", 1), ("c", 2), ("a", 3))]
    assert aggregate("first")().finish(aggregate("first")().lift(tied)) == 3
    assert aggregate("last")().finish(aggregate("last")().lift(tied)) == 2


def test_sums_of_decimals_are_exact_where_doubles_are_not():
    tenths = [{"value": Decimal("0.1")}] * 10
    assert aggregate("sum")(kind="DECIMAL(18,4)").lift(tenths) == Decimal(1)
    with ENGINE.table(pl.DataFrame({"value": [Decimal("0.1")] * 10}, schema={"value": MONEY})) as table:
        lift = aggregate("sum")(kind="DECIMAL(18,4)").sql(DuckDBSql()).lift["sum"].format(value="value", only="")
        assert ENGINE.rows(f"SELECT {lift} FROM {table}") == [(Decimal(1),)]


def test_yesterday_is_one_day_ago():
    each = aggregate("recency")()
    yesterday = {"value": 1, "day": AS_OF - timedelta(days=1)}
    assert each.finish(each.lift([yesterday]), AS_OF) == 1
    assert each.finish(each.empty(), AS_OF) is None


def test_an_unknown_aggregate_is_refused_with_the_nearest_names():
    with pytest.raises(BadSpec, match="there is no aggregate 'summ'; use 'sum'"):
        aggregate("summ")
    with pytest.raises(BadSpec, match="use 'count' or 'sum' or 'min' or 'max'"):
        aggregate("zzz")
