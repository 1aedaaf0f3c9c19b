"""A plan says what a query reads: the files that its SQL names, and no others."""

import re
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sojourn.rollups import AggregateSpec, Load, Plan, RollupSpec, advance, backfill, ledger, plan, window_query
from sojourn.rollups.daily import covered_query
from sojourn.rollups.sliding import Sliding
from sojourn.warehouse import EngineSpec, Warehouse
from tests.rollups.logs import EVERY, Event, put_events

FIRST = date(2024, 3, 1)
DAYS = 100
LAST = FIRST + timedelta(days=DAYS - 1)
AS_OF = LAST + timedelta(days=1)
SPEC = RollupSpec(
    name="mixed",
    aggregates={
        "events": EVERY["events"],
        "most": EVERY["most"],
        "kinds": AggregateSpec(function="count_distinct", expression="event", windows_days=(7, 40)),
    },
    windows_days=(1, 7, 40, 90),
    windows=("24h", "last_month", "first_3d"),
)
SLIDING = RollupSpec(
    name="sliding", aggregates={"events": EVERY["events"], "most": EVERY["most"]}, windows_days=(1, 40, 90)
)
FILE = re.compile(r"'([^']+data\.parquet)'")


def log(last: date = LAST) -> list[Event]:
    days = (last - FIRST).days + 1
    start = datetime(FIRST.year, FIRST.month, FIRST.day, 9, tzinfo=UTC)
    return [
        Event(f"{user}{day:03}", user, start + timedelta(days=day), "pay", Decimal(day))
        for step, user in enumerate(("ann", "bob"), start=1)
        for day in range(0, days, step)
    ]


@pytest.fixture(scope="module")
def spring(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A hundred days and their partials; a plan writes nothing."""
    warehouse = Warehouse.create(tmp_path_factory.mktemp("spring") / "w", engine=EngineSpec(threads=2))
    put_events(warehouse, log())
    backfill(warehouse, SPEC)
    return warehouse


def files_in(query: str) -> Load:
    """What the files that a query names amount to."""
    files = sorted(map(Path, set(FILE.findall(query))))
    return Load(len(files), sum(pq.read_metadata(f).num_rows for f in files), sum(f.stat().st_size for f in files))


def lines(found: Plan) -> dict[str, str]:
    return {line.name: line.cover for line in (*found.lines, found.total)}


def test_each_window_has_the_fewest_partials(spring):
    found = lines(plan(spring, SPEC, as_of=AS_OF))
    assert date(2024, 6, 9) == AS_OF
    assert found["1d"] == "1 day"
    assert found["7d"] == "7 days"
    # 30 April, May, and 1 to 8 June: the last whole week lies in both months.
    assert found["40d"] == "1 month, 9 days"
    # Three weeks from Monday, 11 March, on; April and May; 1 to 8 June.
    assert found["90d"] == "2 months, 3 weeks, 8 days"
    assert found["last_month"] == "1 month"
    assert found["first_3d"] == "100 days"
    assert found["24h"] == "raw rows of 2 days"


@pytest.mark.parametrize("window", [window.name for window in RollupSpec.windows_at(SPEC, "monday")])
def test_a_line_counts_the_files_that_the_windows_query_names(spring, window):
    found = ledger(spring, SPEC)
    reading = {
        name: [each] for name, windows in found.definition.reading.items() for each in windows if each.name == window
    }
    query = window_query(spring, found, as_ofs=[AS_OF], reading=reading)
    named = files_in(query)
    if window in {"24h", "first_3d"}:  # a query without windows of whole days names the first day, and takes nothing
        named = files_in(re.sub(r"read_parquet\(\['[^']+'\]", "", query, count=1))
    [line] = [each for each in plan(spring, SPEC, as_of=AS_OF).lines if each.name == window]
    assert line.reads == named


def test_the_raw_days_are_those_of_the_window(spring):
    days = {line.name: line.naive for line in plan(spring, SPEC, as_of=AS_OF).lines}
    infos = spring.partitions("events")
    for name, count in (("1d", 1), ("7d", 7), ("40d", 40), ("first_3d", DAYS)):
        some = infos[-count:]
        assert days[name] == Load(count, sum(each.rows for each in some), sum(each.bytes for each in some))


def test_all_windows_together_read_each_partial_once(spring):
    found = plan(spring, SPEC, as_of=AS_OF)
    query = window_query(spring, ledger(spring, SPEC), as_ofs=[AS_OF], reading=SPEC.reading())
    assert found.total.reads == files_in(query)


def test_the_way_of_advance_is_read_off_its_queries(warehouse):
    put_events(warehouse, log())
    backfill(warehouse, SLIDING)
    covered = plan(warehouse, SLIDING, as_of=LAST)
    assert covered.how == "covered"
    assert covered.way.reads == files_in(covered_query(warehouse, ledger(warehouse, SLIDING), LAST))
    advance(warehouse, SLIDING, day=LAST - timedelta(days=1))
    current = plan(warehouse, SLIDING, as_of=LAST)
    assert (current.how, current.way.reads) == ("current", Load())
    slid = plan(warehouse, SLIDING, as_of=AS_OF)
    assert slid.how == "slid"
    # The rests are written as the query is made; before that, they are planned as the days that they are made of.
    query = Sliding(warehouse, ledger(warehouse, SLIDING), AS_OF, SLIDING.windows_table).query()
    assert plan(warehouse, SLIDING, as_of=AS_OF).way.reads == files_in(query)
    assert slid.way.reads.files > files_in(query).files
    assert advance(warehouse, SLIDING, day=LAST).how == "slid"


def test_a_plan_writes_nothing_and_names_what_is_behind(spring, tmp_path):
    shutil.copytree(spring.root, tmp_path / "w")
    spring = Warehouse.open(tmp_path / "w", engine=EngineSpec(threads=2))
    put_events(spring, [*log(), Event("late", "cat", datetime(2024, 5, 20, tzinfo=UTC), "pay", Decimal(1))])
    before = {file: file.stat().st_mtime_ns for file in spring.root.rglob("*")}
    found = plan(spring, SPEC, as_of=AS_OF)
    assert {file: file.stat().st_mtime_ns for file in spring.root.rglob("*")} == before
    assert [cell.start for cell in found.behind] == [date(2024, 5, 20)]
    assert found.notes == ("missing or stale, and built first: 1 partial, day 2024-05-20",)
    [line] = [each for each in found.lines if each.name == "90d"]
    # Neither the week nor the month that holds the day covers it: ten weeks, seven days, a week, 3 to 8 June.
    assert line.cover == "11 weeks, 13 days"


def test_nothing_built_and_days_out_of_history_are_no_error(warehouse):
    put_events(warehouse, log())
    found = plan(warehouse, SPEC, as_of=AS_OF)
    assert len(found.behind) == DAYS
    assert found.total.reads == found.total.naive
    early = plan(warehouse, SPEC, as_of=FIRST)
    assert {line.cover for line in early.lines} == {"nothing"}
    assert plan(warehouse, SPEC, as_of=AS_OF + timedelta(days=1000)).lines[0].cover == "nothing"
