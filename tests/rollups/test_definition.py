"""The user's SQL is checked at the door: what was expected, what was found, how to mend it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sojourn.core import BadInput, MissingColumn, MissingTable
from sojourn.rollups import AggregateSpec, define
from sojourn.warehouse import Warehouse
from tests.rollups.logs import Event, put_events, rollup


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    put_events(warehouse, [Event("e1", "ann", datetime(2024, 5, 1, tzinfo=UTC), "pay", Decimal(3))])
    return warehouse


@pytest.mark.parametrize(
    ("aggregate", "message"),
    [
        (
            {"expression": "amount", "where": "event ="},
            "'event =' is not SQL (syntax error at or near \"=\"). Write it",
        ),
        (
            {"expression": "amount", "where": "event"},
            "the filter 'event' is VARCHAR, neither true nor false. Compare it",
        ),
        ({"expression": "event"}, "'sum' needs a number, and 'event' is VARCHAR. Cast it: expression = 'CAST(event AS"),
        ({"expression": "[amount]"}, "'sum' needs a number, and '[amount]' is DECIMAL(18,4)[]. Cast it"),
        ({"expression": "lgo(amount)"}, "'lgo(amount)' calls lgo(), which DuckDB does not have. Did you mean log"),
        ({"expression": "zzzzzz(amount)"}, "which DuckDB does not have. Use a function that the engine has."),
        ({"expression": "amount + ts"}, "'amount + ts' cannot be used ("),
        ({"expression": "sum(amount)"}, "'sum(amount)' cannot be used ("),
        ({"expression": "random()"}, "'random()' asks for random, whose answer changes from run to run. A rollup must"),
        ({"expression": "amount", "where": "ts < now()"}, "'ts < now()' asks for now"),
        ({"expression": "amount", "where": "ts < current_timestamp"}, "asks for current_timestamp"),
        ({"expression": "amount, 1"}, "'amount, 1' is not one expression over one row"),
        ({"expression": "*"}, "'*' is not one expression over one row"),
        ({"expression": "(SELECT 1)"}, "is not one expression over one row. Write it as after WHERE, without queries"),
        ({"expression": "row_number() OVER ()"}, "is not one expression over one row"),
        ({"expression": "1 FROM events"}, "is not one expression over one row"),
        ({"expression": "amount ORDER BY 1"}, "is not one expression over one row"),
        ({"expression": "1; DROP TABLE events"}, "is not"),
    ],
)
def test_sql_that_does_not_say_one_thing_of_one_row_is_refused(shop, aggregate, message):
    spec = rollup(aggregates={"spend": AggregateSpec(function="sum", **aggregate)})
    with pytest.raises(BadInput) as refusal:
        define(shop, spec)
    assert str(refusal.value).startswith("Rollup 'every' over table 'events', aggregate 'spend': ")
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("aggregate", "message"),
    [
        ({"function": "variance", "expression": "1.5e0"}, "'variance' needs a whole number or a decimal of at most 18"),
        (
            {"function": "max", "expression": "[amount]"},
            "'max' needs a text, a number of at most 64 bits, a decimal, a",
        ),
        ({"function": "top_k", "expression": "[[event]]"}, "and '[[event]]' is VARCHAR[][]. Cast it: expression = "),
        ({"function": "last", "expression": "CAST(1 AS HUGEINT)"}, "'last' needs a type that Parquet keeps, such as"),
        ({"function": "longest", "expression": "amount"}, "'longest' needs a text or a list of texts, and 'amount' is"),
        ({"function": "approx_count_distinct", "expression": "1e0"}, "'approx_count_distinct' needs a text, a whole"),
        (
            {"function": "count_by", "by": "[event]"},
            "and '[event]' is VARCHAR[]. Cast it: by = 'CAST([event] AS VARCHAR)",
        ),
        ({"function": "count_by", "by": "evnt"}, "needs column 'evnt'"),
        ({"function": "count_by", "by": "random()"}, "'random()' asks for random"),
        (
            {"function": "sum_by", "expression": "event", "by": "event"},
            "'sum_by' needs a number, and 'event' is VARCHAR",
        ),
    ],
)
def test_a_type_that_does_not_suit_is_refused(shop, aggregate, message):
    with pytest.raises((BadInput, MissingColumn)) as refusal:
        define(shop, rollup(aggregates={"one": AggregateSpec(**aggregate)}))
    assert str(refusal.value).startswith("Rollup 'every' over table 'events', aggregate 'one'")
    assert message in str(refusal.value)


@pytest.mark.parametrize("aggregate", [{"expression": "amout"}, {"expression": "amount", "where": "amout > 3"}])
def test_an_unknown_column_is_refused_with_the_nearest_name(shop, aggregate):
    with pytest.raises(MissingColumn) as refusal:
        define(shop, rollup(aggregates={"spend": AggregateSpec(function="sum", **aggregate)}))
    assert str(refusal.value) == (
        "Rollup 'every' over table 'events', aggregate 'spend' needs column 'amout'; the table has "
        "['event_id', 'user_id', 'ts', 'event', 'amount', 'day']. Rename it first: table.rename({'amount': 'amout'})"
    )


def test_an_unknown_key_is_refused(shop):
    with pytest.raises(MissingColumn, match="Rollup 'every' over table 'events' needs column 'item_id'"):
        define(shop, rollup(keys=("item_id",)))


def test_without_the_source_the_warehouse_s_tables_are_named(shop, tmp_path):
    with pytest.raises(MissingTable) as refusal:
        define(shop, rollup(source="clicks"))
    assert "Rollup 'every' reads table 'clicks'; the warehouse" in str(refusal.value)
    assert "has ['events']. Ingest it first: sojourn ingest" in str(refusal.value)


def test_comments_case_and_lambdas_are_sql_too(shop):
    aggregates = {
        "a": AggregateSpec(function="count", where="AMOUNT > 1 -- cents"),
        "b": AggregateSpec(function="max", expression="list_sum(list_transform([1, 2], lambda x: x + amount))"),
    }
    defined = define(shop, rollup(aggregates=aggregates))
    assert set(defined.columns) == {"user_id", "amount", "day"}


def test_only_what_changes_a_partial_changes_the_fingerprint(shop):
    base = define(shop, rollup()).fingerprint
    assert define(shop, rollup(windows_days=(2,), name="other")).fingerprint == base
    assert define(shop, rollup(keys=("user_id", "event"))).fingerprint != base
    assert define(shop, rollup(aggregates={"n": AggregateSpec(function="count")})).fingerprint != base
