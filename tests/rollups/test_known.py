"""What was known on a morning: windows read today equal those that the job of that morning wrote."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import UTC_US, BadInput
from sojourn.events import IngestSpec, ingest, register_events
from sojourn.rollups import AggregateSpec, RollupSpec, backfill, known_at, ledger, window_table, windows_at
from sojourn.warehouse import InPlace, Warehouse
from tests.rollups.logs import Event, put_events
from tests.rollups.mornings import AFTER_HOURS, LONELY, MORNINGS, known_rollup

SPEC = RollupSpec(aggregates={"rows": AggregateSpec(function="count")}, windows_days=(1, 3))
LOG: dict[str, pl.DataType] = {
    **dict.fromkeys(("event_id", "user_id", "event"), pl.String()),
    **dict.fromkeys(("ts", "arrived_at"), UTC_US),
}


@pytest.mark.parametrize("part", range(3))
def test_windows_as_known_equal_what_the_job_of_each_morning_wrote(lived, part):
    spec, then = known_rollup(part), lived(part)
    backfill(then.warehouse, spec)
    known = window_table(then.warehouse, spec, as_ofs=MORNINGS, known_after_hours=AFTER_HOURS)
    doubles = [name for name, kind in known.schema.items() if kind == pl.Float64]
    assert_frame_equal(known.drop(doubles), then.written.drop(doubles), check_exact=True)
    assert_frame_equal(known.select(doubles), then.written.select(doubles), rel_tol=1e-12, abs_tol=1e-12)
    assert not window_table(then.warehouse, spec, as_ofs=MORNINGS).equals(then.written)
    # The log has what the test is about: weeks that are what they were, days that are not, and one that is no more.
    seen = known_at(then.warehouse, ledger(then.warehouse, spec), MORNINGS, after_hours=AFTER_HOURS)
    assert any(cell.grain == "week" for cell in seen.cells(MORNINGS[0], date(2024, 3, 1), MORNINGS[0]))
    assert LONELY in seen.looks[MORNINGS[2]].mended
    assert {"day": str(LONELY)} not in then.warehouse.places("events")


def test_windows_as_known_for_chosen_keys_are_the_same(lived):
    spec, then = known_rollup(1), lived(1)
    backfill(then.warehouse, spec)
    chosen = then.written.filter(pl.col("user_id") < "u5").sample(fraction=0.5, shuffle=True, seed=1)
    found = windows_at(then.warehouse, spec, chosen.select("as_of", "user_id"), known_after_hours=AFTER_HOURS)
    assert_frame_equal(found.select(chosen.columns), chosen, rel_tol=1e-12, abs_tol=1e-12)


def moment(day: int, hour: int = 12) -> datetime:
    return datetime(2024, 5, day, hour, tzinfo=UTC)


def take(warehouse: Warehouse, folder: Path, *rows: tuple[object, ...]) -> None:
    file = folder / "events.parquet"
    pl.DataFrame(list(rows), schema=LOG, orient="row").write_parquet(file)
    ingest(warehouse, IngestSpec(files=(str(file),)), as_of=moment(28))


@pytest.fixture
def daily(warehouse: Warehouse, tmp_path: Path) -> Warehouse:
    """Ann looks in on each of 8 days, and we know within the hour."""
    days = range(1, 9)
    take(warehouse, tmp_path, *((f"e{day}", "ann", "see", moment(day), moment(day, 13)) for day in days))
    return warehouse


def rows_known(warehouse: Warehouse, day: int, after_hours: float) -> list[tuple[str, int, int]]:
    backfill(warehouse, SPEC)
    table = window_table(warehouse, SPEC, as_ofs=[date(2024, 5, day)], known_after_hours=after_hours)
    return table.select("user_id", "rows_1d", "rows_3d").rows()


def test_a_row_is_known_from_the_instant_of_its_arrival_on(daily, tmp_path):
    take(daily, tmp_path, ("late", "bob", "see", moment(5), moment(6, 7)))
    just_before = 7 - 1 / 3600
    assert rows_known(daily, 6, just_before) == [("ann", 1, 3)]
    assert rows_known(daily, 6, 7) == [("ann", 1, 3), ("bob", 1, 1)]
    assert rows_known(daily, 7, 0) == [("ann", 1, 3), ("bob", 0, 1)]


def test_of_a_corrected_event_the_version_counts_that_stood(daily, tmp_path):
    take(daily, tmp_path, ("e5", "bob", "see", moment(5), moment(7, 2)), ("e5", "cat", "see", moment(5), moment(7, 9)))
    assert rows_known(daily, 6, 0) == [("ann", 1, 3)]
    assert rows_known(daily, 7, 1) == [("ann", 1, 3)]
    assert rows_known(daily, 7, 2) == [("ann", 1, 2), ("bob", 0, 1)]
    assert rows_known(daily, 7, 9) == [("ann", 1, 2), ("cat", 0, 1)]


def test_spark_knows_the_same(daily, tmp_path, spark):
    take(
        daily, tmp_path, ("e5", "bob", "see", moment(5), moment(7, 2)), ("late", "cat", "see", moment(4), moment(7, 1))
    )
    named = {"windows_days": (1, 3), "windows": ("first_2d", "24h", "week_to_date")}
    events = AggregateSpec(function="top_k", expression="event", k=2)
    spec = SPEC.with_changes(aggregates={**SPEC.aggregates, "events": events}, **named)
    backfill(daily, spec)
    days = [date(2024, 5, day) for day in (6, 7, 8)]
    wanted = window_table(daily, spec, as_ofs=days, known_after_hours=1)
    assert wanted.filter(pl.col("as_of") == days[1])["rows_3d"].to_list() == [3, 1]
    other = Warehouse.open(daily.root, engine=spark)
    found = window_table(other, spec, as_ofs=days, known_after_hours=1)
    assert_frame_equal(found, wanted, check_exact=True)


def test_history_is_what_was_known_of_it(daily, tmp_path):
    take(daily, tmp_path, ("before", "ann", "see", moment(1) - timedelta(days=9), moment(6)))
    with pytest.raises(BadInput) as refusal:
        rows_known(daily, 3, 0)
    assert str(refusal.value) == (
        "Rollup 'user' over 'events', as known at 2024-05-03 00:00 UTC: 3 days before 2024-05-03 are needed and there "
        "are 2; history begins on 2024-05-01. Look from 2024-05-04 or later, or ask for a shorter window."
    )
    assert rows_known(daily, 4, 0) == [("ann", 1, 3)]


def test_a_morning_that_knew_nothing_is_refused(daily):
    with pytest.raises(BadInput) as refusal:
        rows_known(daily, 1, 0)
    assert str(refusal.value) == (
        "Nothing of table 'events' from before 2024-05-01 had arrived by 2024-05-01 00:00 UTC: it was taken in later. "
        "Look from a later day, or leave known_after_hours (--known-after) out."
    )


def test_a_morning_before_yesterday_had_arrived_is_refused(daily, tmp_path):
    take(daily, tmp_path, *((f"e{day}", "ann", "see", moment(day), moment(day + 1, 8)) for day in (9, 10)))
    with pytest.raises(BadInput) as refusal:
        rows_known(daily, 10, 7)
    assert str(refusal.value) == (
        "Of table 'events' nothing from 2024-05-09 on had arrived by 2024-05-10 07:00 UTC, when one looks from "
        "2024-05-10. Look from another day, or later after its start: known_after_hours (--known-after)."
    )
    assert rows_known(daily, 10, 8) == [("ann", 1, 3)]


def test_a_source_that_does_not_say_when_rows_arrived_is_refused(warehouse):
    put_events(warehouse, [Event(f"e{day}", "ann", moment(day), "see", None) for day in range(1, 9)])
    with pytest.raises(BadInput) as refusal:
        rows_known(warehouse, 5, 0)
    assert str(refusal.value) == (
        "Table 'events' doesn't say when its rows arrived, so what was known of it cannot be told. Map arrived_at "
        "where it is taken in (--map arrived_at=COLUMN), or leave known_after_hours (--known-after) out."
    )


def test_a_negative_delay_is_refused(daily):
    with pytest.raises(BadInput, match=r"known_after_hours = -1: a day is looked from after it has begun; use 0 or"):
        rows_known(daily, 5, -1)


def in_place(warehouse: Warehouse, folder: Path, **columns: str) -> None:
    for day in range(1, 9):
        file = folder / "lake" / f"day=2024-05-{day:02}" / "part.parquet"
        file.parent.mkdir(parents=True)
        rows = [("ann", "see", moment(day), moment(day, 13)), ("bob", "see", moment(day), moment(day + 2))]
        schema = [*list(LOG)[1:4], "heard"]
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(file)
    register_events(warehouse, IngestSpec(columns=columns), folder=str(folder / "lake"))


def test_a_source_read_in_place_is_known_by_its_mapped_arrivals(warehouse, tmp_path):
    in_place(warehouse, tmp_path, arrived_at="heard")
    assert isinstance(warehouse.registered("events"), InPlace)
    assert rows_known(warehouse, 6, 0) == [("ann", 1, 3), ("bob", 0, 1)]


def test_a_source_read_in_place_whose_arrivals_are_not_mapped_is_refused(warehouse, tmp_path):
    in_place(warehouse, tmp_path)
    with pytest.raises(BadInput, match="Table 'events' doesn't say when its rows arrived"):
        rows_known(warehouse, 6, 0)
