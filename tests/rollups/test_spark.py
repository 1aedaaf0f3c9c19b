"""Rollups on Spark and on DuckDB are the same rollups: equal values, partials that either continues, equal refusals."""

import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput
from sojourn.rollups import AggregateSpec, RollupSpec, advance, backfill, define, window_table
from sojourn.warehouse import EngineSpec, InPlace, Warehouse, WarehouseSpec
from tests.rollups.logs import EVERY, Event, put_events

ELEMENTS = {
    "spread": AggregateSpec(function="variance", expression="amount"),
    "deviation": AggregateSpec(function="std", expression="amount", where="event = 'pay'"),
    "median": AggregateSpec(function="quantile", expression="amount", q=0.5),
    "kinds": AggregateSpec(function="count_distinct", expression="event"),
    "about": AggregateSpec(function="approx_count_distinct", expression="event_id"),
    "usual": AggregateSpec(function="top_k", expression="amount", k=2),
    "by_event": AggregateSpec(function="count_by", by="event"),
    "spend_by": AggregateSpec(function="sum_by", expression="amount", by="event"),
    "hours": AggregateSpec(function="hour_histogram"),
    "weekdays": AggregateSpec(function="weekday_histogram"),
    "run": AggregateSpec(function="streak"),
    "longest_run": AggregateSpec(function="longest_streak", where="event = 'pay'"),
    "bitmap": AggregateSpec(function="active_bitmap", windows_days=(3,), windows=("last_week",)),
    "longest": AggregateSpec(function="longest", expression="event"),
    "last_three": AggregateSpec(function="last_n", expression="amount", k=3),
}
SLIDING = {name: EVERY[name] for name in ("events", "spend", "least", "typical", "days", "last_event", "since")}
AS_OFS = [date(2024, 5, 2), date(2024, 5, 3)]
ZONE = "America/St_Johns"


class Both(NamedTuple):
    """Two warehouses with the same events, each with its engine."""

    duckdb: Warehouse
    spark: Warehouse


def log(days: int = 15) -> list[Event]:
    """Of five users and of nobody, from 18 April on; amounts repeat, are negative, and are sometimes missing."""
    start = datetime(2024, 4, 18, 1, tzinfo=UTC)
    return [
        Event(
            f"e{n:04}",
            ("ann", "bob", "cat", "dan", "éva", None)[n * n % 6],  # type: ignore[arg-type]
            start + timedelta(hours=5 * n, minutes=n % 60),
            ("pay", "see", "look")[n % 3],
            None if n % 5 == 1 else Decimal(n * 7 % 40 - 9) / 4,
        )
        for n in range(24 * days // 5)
    ]


@pytest.fixture
def both(tmp_path: Path, spark: EngineSpec) -> Both:
    return twins(tmp_path, spark, log())


def twins(folder: Path, spark: EngineSpec, events: list[Event]) -> Both:
    duckdb = Warehouse.create(folder / "duckdb", WarehouseSpec(zone=ZONE, week_start="sunday"))
    put_events(duckdb, events)
    shutil.copytree(duckdb.root, folder / "spark")
    return Both(duckdb, Warehouse.open(folder / "spark", engine=spark))


def assert_equal(found: pl.DataFrame, wanted: pl.DataFrame, *, by: list[str] | None = None) -> None:
    """Equal value by value, floats to 1e-12, in whatever order the rows lie."""
    key = by or ["user_id", "as_of"]
    assert found.columns == wanted.columns
    found, wanted = (table.sort(key, nulls_last=True) for table in (found, wanted))
    assert_frame_equal(found.cast(wanted.schema), wanted, rel_tol=1e-12, abs_tol=1e-12)


def written(warehouse: Warehouse, table: str, place: Mapping[str, str]) -> pl.DataFrame:
    """A stored partition as DuckDB reads it, whoever wrote it."""
    return Warehouse.open(warehouse.root).frame(table, only=[place])


def assert_windows_equal(both: Both, **changes: Any) -> None:
    spec = RollupSpec(**{"name": "all", "aggregates": {**EVERY, **ELEMENTS}, **changes})
    assert backfill(both.spark, spec) == backfill(both.duckdb, spec)
    for table in define(both.duckdb, spec).tables():
        for place in both.duckdb.places(table):
            frames = [written(each, table, place) for each in (both.spark, both.duckdb)]
            key = [name for name in frames[0].columns if name == "user_id" or name.endswith("__element")]
            assert_equal(*frames, by=key)
    assert_equal(*(window_table(each, spec, as_ofs=AS_OFS) for each in (both.spark, both.duckdb)))


def test_aggregates_of_every_shape_are_equal_in_partials_and_windows(both):
    some = ("spread", "usual", "hours", "longest", "last_three")
    aggregates = {**EVERY, **{name: ELEMENTS[name] for name in some}}
    assert_windows_equal(both, aggregates=aggregates, windows_days=(3,), windows=("last_week", "24h"))


@pytest.mark.slow
def test_every_aggregate_is_equal_over_every_kind_of_window(both):
    named = ("week_to_date", "month_to_date", "last_week", "all", "24h", "first_3d")
    assert_windows_equal(both, windows_days=(1, 3, 14), windows=named)


def test_windows_that_advance_are_equal_covered_and_slid(tmp_path, spark):
    both = twins(tmp_path, spark, log(days=50))
    spec = RollupSpec(name="long", aggregates=SLIDING, windows_days=(7, 30))
    for day, how in ((30, "covered"), (31, "slid"), (32, "slid")):
        closed = date(2024, 5, 1) + timedelta(days=day - 1)
        reports = [advance(each, spec, day=closed) for each in (both.spark, both.duckdb)]
        assert reports[0] == reports[1]
        assert reports[0].how == how
        place = {"as_of": str(closed + timedelta(days=1))}
        assert_equal(*(written(each, "windows_long", place) for each in (both.spark, both.duckdb)), by=["user_id"])
    assert advance(both.spark, spec, day=closed).how == "current"


def test_what_one_engine_began_the_other_continues(both, spark):
    spec = RollupSpec(name="some", aggregates={**SLIDING, "kinds": ELEMENTS["kinds"]}, windows_days=(3, 7))
    third = Warehouse.open(both.duckdb.root, engine=spark)
    assert define(third, spec).fingerprint == define(both.duckdb, spec).fingerprint
    first = backfill(both.duckdb, spec, end=date(2024, 4, 28))
    rest = backfill(third, spec)
    assert rest.current == len(first.built)
    assert backfill(both.duckdb, spec).built == backfill(third, spec).built == ()
    backfill(both.spark, spec)
    wanted = window_table(both.spark, spec, as_ofs=AS_OFS)
    assert_equal(window_table(third, spec, as_ofs=AS_OFS), wanted)
    assert_equal(window_table(both.duckdb, spec, as_ofs=AS_OFS), wanted)


def test_a_late_row_repairs_the_same_cells(both):
    spec = RollupSpec(name="late", aggregates={"spend": EVERY["spend"]}, windows_days=(7,))
    late = Event("late", "ann", datetime(2024, 4, 24, 12, tzinfo=UTC), "pay", Decimal(100))
    for each in both:
        backfill(each, spec)
        put_events(each, [*log(), late])
    assert backfill(both.spark, spec) == backfill(both.duckdb, spec)
    assert_equal(*(window_table(each, spec, as_ofs=AS_OFS) for each in (both.spark, both.duckdb)))


@pytest.mark.parametrize("expression", ["list_aggregate([amount], 'sum')", "amount // 2", "regexp_matches(event, 'p')"])
def test_sql_that_only_duckdb_has_is_refused_before_anything_is_written(both, expression):
    spec = RollupSpec(name="own", aggregates={"odd": AggregateSpec(function="max", expression=expression)})
    define(both.duckdb, spec)
    with pytest.raises(BadInput, match=r"'own' over table 'events', aggregate 'odd': .* means something to DuckDB and"):
        backfill(both.spark, spec)
    assert not both.spark.has("rollup_own")


def test_sources_in_place_with_columns_that_came_and_widened_are_equal(tmp_path, spark):
    for day in range(1, 11):
        folder = tmp_path / "the lake+" / f"dt=2024-05-{day:02}"
        folder.mkdir(parents=True)
        noon = datetime(2024, 5, day, 12, tzinfo=UTC)
        rows = {"who": ["ann", "bob", None], "cents": [100 * day, -50, 7], "noon": [noon] * 3}
        cents = pl.Int32 if day < 4 else pl.Int64
        frame = pl.DataFrame(rows, schema_overrides={"cents": cents, "noon": pl.Datetime("us", "UTC")})
        if day > 6:
            frame = frame.with_columns(channel=pl.lit("web"))
        frame.write_parquet(folder / "part-0.parquet")
    source = InPlace(
        folder=str(tmp_path / "the lake+"),
        partition="dt",
        columns={
            "user_id": "who",
            "cents": "cents",
            "channel": "channel",
            "event_id": "concat(filename, ':', CAST(file_row_number AS STRING))",
            "ts": "noon",
        },
    )
    spec = RollupSpec(
        name="lake",
        aggregates={
            "total": AggregateSpec(function="sum", expression="cents"),
            "least": AggregateSpec(function="min", expression="cents"),
            "web": AggregateSpec(function="count", where="channel = 'web'"),
            "ids": AggregateSpec(function="last_n", expression="event_id", k=9),
        },
        windows_days=(7,),
    )
    duckdb = Warehouse.create(tmp_path / "duckdb")
    both = Both(duckdb, Warehouse.create(tmp_path / "spark", engine=spark))
    for each in both:
        each.register("events", source)
    assert backfill(both.spark, spec) == backfill(both.duckdb, spec)
    tables = [window_table(each, spec, as_ofs=[date(2024, 5, 10)]) for each in (both.spark, both.duckdb)]
    assert_equal(*tables)
    assert tables[0]["ids_7d"][0][0] == f"{tmp_path}/the lake+/dt=2024-05-03/part-0.parquet:0"


@pytest.mark.slow
def test_sparse_and_skewed_keys_finish_and_are_equal(tmp_path, spark):
    day = """
        SELECT concat('e', CAST({day} * 100000 + i AS VARCHAR)) AS event_id,
               CASE WHEN i % 10 = 0 THEN 'the one' WHEN i % 97 = 0 THEN NULL
                    ELSE 'u' || CAST(hash(i, {day}) % 200000 AS VARCHAR) END AS user_id,
               make_timestamptz(epoch_us(TIMESTAMPTZ '2024-05-{day:02} 00:00:00+00') + i * 1000000) AS ts,
               'pay' AS event, CAST(i % 1000 AS DECIMAL(18,4)) AS amount
        FROM range(80000) AS numbers(i)
    """
    duckdb = Warehouse.create(tmp_path / "duckdb")
    with duckdb.writing("events") as writer:
        for number in range(1, 9):
            order = ["user_id", "ts", "event_id"]
            writer.put({"day": f"2024-05-{number:02}"}, day.format(day=number), order_by=order, fingerprint="x")
    shutil.copytree(duckdb.root, tmp_path / "spark")
    both = Both(duckdb, Warehouse.open(tmp_path / "spark", engine=spark))
    some = {**SLIDING, "usual": ELEMENTS["usual"], "last_three": ELEMENTS["last_three"]}
    spec = RollupSpec(name="skewed", aggregates=some, windows_days=(1, 7))
    assert backfill(both.spark, spec) == backfill(both.duckdb, spec)
    tables = [window_table(each, spec, as_ofs=[date(2024, 5, 9)]) for each in (both.spark, both.duckdb)]
    assert_equal(*tables)
    assert tables[0].height > 150_000
    assert tables[0].filter(user_id="the one")["events_7d"].item() == 7 * 8000
    assert tables[0].filter(pl.col("user_id").is_null())["events_7d"].item() == 7 * (
        80_000 // 97 + 1 - (80_000 // 970 + 1)
    )
