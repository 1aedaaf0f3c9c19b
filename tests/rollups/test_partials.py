"""Partials are built once, found stale by fingerprint, repaired day by day, and the same bytes again."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sojourn.core import BadInput, EmptyInput
from sojourn.rollups import AggregateSpec, BackfillReport, Cell, backfill, define, lifting, rebuild, window_table
from sojourn.warehouse import InPlace, Warehouse, WarehouseSpec, Writer
from tests.rollups.logs import EVERY, Event, put_events, rollup

DAYS = [date(2024, 5, day) for day in range(1, 13)]


def log(*, late: bool = False) -> list[Event]:
    """Three users on 12 days of May; late, one more purchase of the 4th."""
    rows = [
        Event(f"e{day:02}{user}", user, datetime(2024, 5, day, 9 + at, tzinfo=UTC), "pay", Decimal(day + at))
        for day in range(1, 13)
        for at, user in enumerate(("ann", "bob", "cat"))
    ]
    return rows + ([Event("late", "ann", datetime(2024, 5, 4, 22, tzinfo=UTC), "pay", Decimal(100))] if late else [])


@pytest.fixture
def may(warehouse: Warehouse) -> Warehouse:
    put_events(warehouse, log())
    return warehouse


def bytes_of(warehouse: Warehouse, table: str = "rollup_every") -> dict[str, bytes]:
    folder = warehouse.root / table
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.parquet"))}


def test_a_partial_holds_one_state_per_key_and_day(may):
    backfill(may, rollup(aggregates={name: EVERY[name] for name in ("spend", "typical", "days", "last_event")}))
    partial = may.frame("rollup_every", only=[{"grain": "day", "start": "2024-05-04"}])
    assert partial.row(0, named=True) == {
        "user_id": "ann",
        "spend__sum": Decimal(4),
        "typical__n": 1,
        "typical__sum": Decimal(4),
        "days__days": 1,
        "last_event__ts": datetime(2024, 5, 4, 9, tzinfo=UTC),
        "last_event__value": "pay",
        "_rows__n": 1,
        "grain": "day",
        "start": date(2024, 5, 4),
    }
    assert partial["user_id"].to_list() == ["ann", "bob", "cat"]


def test_a_second_backfill_finds_everything_current_and_writes_nothing(may):
    first = backfill(may, rollup())
    weeks = (Cell("week", date(2024, 4, 29)), Cell("week", date(2024, 5, 6)))
    assert first == BackfillReport("rollup_every", first.definition, tuple(DAYS), 0, (), weeks)
    written = {file: file.stat().st_mtime_ns for file in (may.root / "rollup_every").rglob("*.parquet")}
    assert backfill(may, rollup()) == BackfillReport("rollup_every", first.definition, (), 12, ())
    assert written == {file: file.stat().st_mtime_ns for file in (may.root / "rollup_every").rglob("*.parquet")}


def test_a_late_row_repairs_its_own_day_and_week_alone(may):
    backfill(may, rollup())
    before = bytes_of(may)
    put_events(may, log(late=True))
    assert backfill(may, rollup()).built == (date(2024, 5, 4),)
    after = bytes_of(may)
    assert {name for name in before if before[name] != after[name]} == {
        "grain=day/start=2024-05-04/data.parquet",
        "grain=week/start=2024-04-29/data.parquet",
    }
    row = window_table(may, rollup(), as_ofs=[date(2024, 5, 8)]).row(0, named=True)
    assert row["spend_7d"] == sum(range(1, 8)) + 100


def test_a_day_without_events_any_more_loses_its_partial(may):
    backfill(may, rollup())
    put_events(may, [event for event in log() if event.ts.day not in (4, 12)])
    assert backfill(may, rollup()).dropped == (date(2024, 5, 4), date(2024, 5, 12))
    assert window_table(may, rollup(), as_ofs=[date(2024, 5, 8)])["days_7d"].to_list() == [6, 6, 6]


def test_a_range_is_half_open_and_the_rest_is_left_for_later(may):
    assert backfill(may, rollup(), start=DAYS[3], end=DAYS[6]).built == tuple(DAYS[3:6])
    assert backfill(may, rollup(), end=DAYS[4]).built == tuple(DAYS[:3])
    assert backfill(may, rollup(), start=DAYS[5]).built == tuple(DAYS[6:])
    assert backfill(may, rollup()).built == ()


def test_reruns_are_byte_identical_in_one_batch_or_in_many(may, tmp_path, monkeypatch):
    backfill(may, rollup())
    again = Warehouse.create(tmp_path / "again")
    put_events(again, reversed(log()))
    monkeypatch.setattr(lifting, "BATCH_ROWS", 1)
    backfill(again, rollup())
    assert bytes_of(again) == bytes_of(may)


def test_a_stopped_backfill_goes_on_where_it_was(may, monkeypatch):
    put = Writer.put
    done: list[Any] = []

    def fail_on_the_fifth(self: Writer, partition: dict[str, str], rows: Any, **options: Any) -> Any:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(partition)
        return put(self, partition, rows, **options)

    monkeypatch.setattr(Writer, "put", fail_on_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        backfill(may, rollup())
    monkeypatch.undo()
    assert backfill(may, rollup()).built == tuple(DAYS[4:])


def test_other_windows_are_the_same_partials(may):
    backfill(may, rollup())
    assert backfill(may, rollup(windows_days=(2, 5))).built == ()


def changed() -> Any:
    return rollup(aggregates={**EVERY, "spend": AggregateSpec(function="sum", expression="2 * amount")})


def test_a_changed_definition_over_old_partials_is_refused_with_both_fingerprints(may):
    old = backfill(may, rollup()).definition
    new = define(may, changed()).fingerprint
    assert new != old
    with pytest.raises(BadInput) as refusal:
        backfill(may, changed())
    with pytest.raises(BadInput, match="holds partials of another definition"):
        window_table(may, changed(), as_ofs=[date(2024, 5, 8)])
    assert str(refusal.value) == (
        f"Table 'rollup_every' holds partials of another definition: {old} (12 days), and this one is {new}. "
        "Give the new rollup another name, or replace the old partials: sojourn rollup backfill --rebuild"
    )


def test_a_rebuild_replaces_the_partials_of_another_definition_and_can_be_stopped(may):
    backfill(may, rollup())
    assert rebuild(may, changed()).built == tuple(DAYS)
    assert backfill(may, changed()).built == ()
    backfill(may, rollup(name="other"))
    assert rebuild(may, changed()).built == ()
    row = window_table(may, changed(), as_ofs=[date(2024, 5, 8)]).row(0, named=True)
    assert row["spend_7d"] == 2 * sum(range(1, 8))


@pytest.mark.parametrize("spec", [WarehouseSpec(zone="Asia/Kolkata"), WarehouseSpec(week_start="sunday")])
def test_zone_and_week_start_are_part_of_the_definition(may, tmp_path, spec):
    other = Warehouse.create(tmp_path / "other", spec)
    put_events(other, log())
    assert define(other, rollup()).fingerprint != define(may, rollup()).fingerprint


def test_a_column_that_came_later_is_null_before(may):
    with may.writing("events") as writer:
        frame = may.engine.frame(
            f"SELECT * EXCLUDE (day), 'web' AS channel FROM {may.relation('events', only=[{'day': '2024-05-12'}])}"
        )
        writer.put({"day": "2024-05-12"}, frame, order_by=["user_id", "ts", "event_id"], fingerprint="with-channel")
    spec = rollup(name="web", aggregates={"web": AggregateSpec(function="count", where="channel = 'web'")})
    backfill(may, spec)
    table = window_table(may, spec, as_ofs=[date(2024, 5, 13)])
    assert table["web_7d"].to_list() == [1, 1, 1]


def test_a_source_in_place_is_rolled_up_where_it_lies(warehouse, tmp_path):
    for day in (1, 2, 3, 4, 5, 6, 7, 8):
        folder = tmp_path / "lake" / f"dt=2024-05-{day:02}"
        folder.mkdir(parents=True)
        pl.DataFrame({"who": ["ann", "bob"], "cents": [100 * day, -50]}).write_parquet(folder / "part-0.parquet")
    columns = {"user_id": "who", "amount": "CAST(cents / 100 AS DECIMAL(18,4))"}
    warehouse.register("events", InPlace(folder=str(tmp_path / "lake"), partition="dt", columns=columns))
    spec = rollup(aggregates={"spend": EVERY["spend"]})
    backfill(warehouse, spec)
    assert window_table(warehouse, spec, as_ofs=[date(2024, 5, 8)])["spend_7d"].to_list() == [28, Decimal("-3.5")]
    pl.DataFrame({"who": ["ann"], "cents": [7]}).write_parquet(tmp_path / "lake/dt=2024-05-03/part-1.parquet")
    assert backfill(warehouse, spec).built == (date(2024, 5, 3),)


def test_a_value_that_cannot_be_computed_names_the_days(may):
    spec = rollup(aggregates={"odd": AggregateSpec(function="sum", expression="CAST(event AS INTEGER)")})
    with pytest.raises(BadInput, match=r"Rollup 'every' cannot be built for days 2024-05-01 to 2024-05-12: .*'pay'"):
        backfill(may, spec)
    with pytest.raises(BadInput, match=r"cannot be built for day 2024-05-02: .*'pay'"):
        backfill(may, spec, start=date(2024, 5, 2), end=date(2024, 5, 3))


def test_a_source_without_days_is_refused(warehouse: Warehouse, tmp_path: Path):
    with warehouse.writing("events") as writer:
        frame = pl.DataFrame({"user_id": ["ann"], "day": [date(2024, 5, 1)]})
        writer.put({}, frame, order_by=["user_id"], fingerprint="x")
    with pytest.raises(EmptyInput, match=r"Table 'events' has no partition by day\. Ingest events first"):
        backfill(warehouse, rollup(aggregates={"events": EVERY["events"]}))


def test_a_week_is_dropped_when_the_log_becomes_shorter_than_it(may):
    spec = rollup()
    backfill(may, spec)
    assert "grain=week/start=2024-04-29/data.parquet" in bytes_of(may)
    put_events(may, [event for event in log() if event.ts.day < 4])
    assert Cell("week", date(2024, 4, 29)) not in backfill(may, spec).compacted
    assert not any(path.startswith("grain=week") for path in bytes_of(may))


def test_weeks_that_began_on_another_weekday_go_with_a_rebuild(may):
    spec = rollup()
    backfill(may, spec)
    described = may.root / "_sojourn.json"
    described.write_text(described.read_text().replace("monday", "sunday"))
    moved = Warehouse.open(may.root)
    assert moved.spec.week_start == "sunday"
    rebuild(moved, spec)
    weeks = [path for path in bytes_of(moved) if path.startswith("grain=week")]
    assert weeks == ["grain=week/start=2024-04-28/data.parquet", "grain=week/start=2024-05-05/data.parquet"]


def test_a_span_without_days_is_refused(may):
    with pytest.raises(BadInput, match="No day lies from 2024-05-09 up to, but without, 2024-05-02"):
        backfill(may, rollup(), start=date(2024, 5, 9), end=date(2024, 5, 2))
