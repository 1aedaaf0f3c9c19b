"""Whatever the log and however it came: the board's tables are those of the slow twin."""

import tempfile
from datetime import date
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.metrics import advance_board, backfill_board
from sojourn.warehouse import Warehouse, WarehouseSpec
from tests.metrics.naive import (
    BOARD,
    DAY,
    START,
    Naive,
    business_day,
    logs,
    portraits,
    put_events,
    put_portraits,
    stored,
)

ZONE = "America/New_York"
SPAN = 9


def warehouse_of(folder: Path) -> Warehouse:
    warehouse = Warehouse.create(folder, WarehouseSpec(zone=ZONE))
    put_portraits(warehouse, portraits(ZONE))
    return warehouse


def twin(events, last):
    return Naive(events, portraits(ZONE), BOARD, zone=ZONE, last=last).cells()


def assert_same(found, expected):
    different = {
        cell: (found.get(cell), expected.get(cell))
        for cell in found.keys() | expected.keys()
        if found.get(cell) != expected.get(cell)
    }
    assert not different, dict(list(different.items())[:5])


def last_day(events) -> date:
    return max(business_day(event.ts, ZONE) for event in events)


@settings(max_examples=4, deadline=None)
@given(events=logs(days=SPAN, zone=ZONE))
def test_a_backfill_gives_what_the_slow_twin_counts(events):
    with tempfile.TemporaryDirectory() as folder:
        warehouse = warehouse_of(Path(folder) / "w")
        put_events(warehouse, events)
        backfill_board(warehouse, BOARD)
        assert_same(stored(warehouse, BOARD), twin(events, last_day(events)))


@settings(max_examples=4, deadline=None)
@given(events=logs(days=SPAN, zone=ZONE), late=st.sets(st.integers(1, 40), max_size=8), cut=st.integers(0, SPAN))
def test_cut_into_advances_with_late_rows_it_is_one_backfill(events, late, cut):
    with tempfile.TemporaryDirectory() as folder:
        warehouse = warehouse_of(Path(folder) / "w")
        first_seen = [event for at, event in enumerate(events) if at not in late]
        days = sorted({business_day(event.ts, ZONE) for event in first_seen})
        known = [day for day in days if day <= START + cut * DAY]
        put_events(warehouse, [event for event in first_seen if business_day(event.ts, ZONE) in known])
        backfill_board(warehouse, BOARD)
        put_events(warehouse, first_seen)
        for day in days[len(known) :]:
            advance_board(warehouse, BOARD, day=day)
        put_events(warehouse, events)
        last = last_day(events)
        advance_board(warehouse, BOARD, day=last)
        assert_same(stored(warehouse, BOARD), twin(events, last))
        whole = warehouse_of(Path(folder) / "whole")
        put_events(whole, events)
        backfill_board(whole, BOARD)
        assert bytes_of(warehouse) == bytes_of(whole)


def bytes_of(warehouse: Warehouse) -> dict[str, bytes]:
    tables = [BOARD.cohorts_table, BOARD.values_table, BOARD.unbounded_table, BOARD.funnels_table]
    files = (file for table in tables for file in sorted((warehouse.root / table).rglob("*.parquet")))
    return {str(file.relative_to(warehouse.root)): file.read_bytes() for file in files}
