"""One event is one row, whatever comes twice, in whatever order and cut: random logs against a slow, obvious twin."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.events.tables import check_stored
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.events.logs import AS_OF, files_of, stored, take, write_csv

Row = dict[str, Any]
START = datetime(2025, 3, 1, tzinfo=UTC)
# What decides between versions that arrived together, the greatest value first: the order of an event's columns.
TIES = ("ts", "amount", "user_id", "event", "item_id", "channel")

rows = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["a", "b", "c"]),
        "user_id": st.sampled_from(["ann", "bob"]),
        # Around midnight in UTC and in New York, so that days differ by zone and corrections move between days.
        "ts": st.sampled_from([0, 3, 5, 26]).map(lambda hours: START + timedelta(hours=hours)),
        "arrived_at": st.integers(0, 3).map(lambda days: START + timedelta(days=2 + days)),
        "event": st.just("buy"),
        "amount": st.sampled_from([None, "1.5", "-2"]),
        "channel": st.sampled_from([None, "ads"]),
    }
)
files = st.lists(st.lists(rows, min_size=1, max_size=6), min_size=1, max_size=3)


def named(file: Sequence[Row]) -> list[Row]:
    """The file's rows, named by content and by occurrence within the file in order of arrival."""
    met: dict[tuple[Any, ...], int] = defaultdict(int)
    out = []
    for row in sorted(file, key=lambda row: row["arrived_at"]):
        content = tuple((name, row[name]) for name in ("user_id", "ts", "event", "amount", "channel"))
        met[content] += 1
        out.append({**row, "event_id": f"{content}#{met[content]}"})
    return out


def twin(ingested: Sequence[Sequence[Row]]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The events and the superseded versions that these files, in any order, must leave."""
    first: dict[str, dict[tuple[Any, ...], datetime]] = defaultdict(dict)
    for file in ingested:
        for row in file:
            content = tuple(row.get(name) for name in TIES)
            known = first[row["event_id"]].get(content, row["arrived_at"])
            first[row["event_id"]][content] = min(known, row["arrived_at"])
    events, superseded = [], []
    for name, versions in first.items():
        latest = sorted(
            versions.items(), key=lambda pair: (pair[1], *(_greatest(cell) for cell in pair[0])), reverse=True
        )
        events.append((name, *latest[0]))
        superseded += [(name, *old, new[1]) for new, old in pairwise(latest)]
    return events, superseded


def _greatest(cell: Any) -> tuple[bool, Any]:
    return (cell is not None, float(cell) if isinstance(cell, str) and cell.lstrip("-")[0].isdigit() else cell or "")


def plain(frame: pl.DataFrame, *, names: bool) -> list[tuple[Any, ...]]:
    """Stored versions in the form of the twin's; without `names`, ids are dropped."""
    out = []
    for row in frame.iter_rows(named=True):
        amount = None if row["amount"] is None else float(row["amount"])
        content = (row["ts"], amount, row["user_id"], row["event"], row["item_id"], row.get("channel"))
        ended = (row["superseded_at"],) if "superseded_at" in row else ()
        out.append((row["event_id"] if names else "", content, row["arrived_at"], *ended))
    return sorted(out, key=repr)


def expected(versions: Sequence[tuple[Any, ...]], *, names: bool) -> list[tuple[Any, ...]]:
    out = []
    for name, content, *times in versions:
        ts, amount, *rest = content
        out.append((name if names else "", (ts, None if amount is None else float(amount), *rest), *times))
    return sorted(out, key=repr)


def ingest_all(groups: Sequence[Sequence[int]], log: Sequence[Sequence[Row]], folder: Path, **given: Any) -> Warehouse:
    """A warehouse into which each group of files went in one ingest."""
    warehouse = Warehouse.create(folder / "w", WarehouseSpec(zone="America/New_York"), engine=EngineSpec(threads=1))
    for group in groups:
        names = [write_csv(folder / f"{number}.csv", log[number]) for number in group]
        take(warehouse, *names, types={"channel": "VARCHAR"}, **given)
    return warehouse


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[Row]], list[list[int]]]:
    """Files, and groups of them in any order; some files come twice."""
    log = draw(files)
    order = draw(st.permutations([*range(len(log)), *draw(st.lists(st.integers(0, len(log) - 1), max_size=2))]))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)), max_size=2)))
    groups = [order[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    return log, [list(dict.fromkeys(group)) for group in groups if group]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories())
def test_events_with_ids_equal_the_slow_twin_in_any_order_split_and_replay(history):
    log, groups = history
    with TemporaryDirectory() as folder:
        warehouse = ingest_all(groups, log, Path(folder))
        events, superseded = twin(log)
        found = warehouse.frame("events")
        assert plain(found, names=True) == expected(events, names=True)
        assert plain(stored(warehouse, "superseded"), names=True) == expected(superseded, names=True)
        check_stored(found)
        in_zone = found["ts"].dt.convert_time_zone("America/New_York").dt.date()
        assert found["day"].to_list() == in_zone.to_list()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories())
def test_events_without_ids_keep_twins_and_drop_replays_in_any_order_and_split(history):
    log, groups = history
    with TemporaryDirectory() as folder:
        warehouse = ingest_all(groups, log, Path(folder), columns={"event_id": ""}, keep=("channel",))
        events, superseded = twin([named(file) for file in log])
        assert plain(warehouse.frame("events"), names=False) == expected(events, names=False)
        assert not superseded
        assert not warehouse.has("superseded")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories())
def test_the_order_of_ingests_leaves_no_trace_in_a_days_fingerprint(history):
    log, groups = history
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        there = ingest_all(groups, log, Path(one))
        back = ingest_all([[number] for number in reversed(range(len(log)))], log, Path(other))
        assert marks(there) == marks(back)


def marks(warehouse: Warehouse) -> list[tuple[str, str]]:
    return [(info.partition["day"], info.fingerprint) for info in warehouse.partitions("events")]


def test_a_replay_changes_no_byte_and_the_first_arrival_stays(warehouse, tmp_path):
    log = [
        {"user_id": "ann", "ts": "2025-03-01 10:00", "amount": "5"},
        {"user_id": "ann", "ts": "2025-03-01 10:00", "amount": "5"},
        {"user_id": "", "ts": "2025-03-02 10:00", "amount": "5"},
        {"user_id": "bob", "ts": "2025-03-02 10:00", "amount": "6"},
        {"user_id": "bob", "ts": "2025-03-02 10:00", "amount": "7"},
    ]
    path = write_csv(tmp_path / "log.csv", log)
    first = take(warehouse, path)
    before = files_of(warehouse)
    again = take(warehouse, path, as_of=AS_OF + timedelta(days=9))
    assert (first.kept, first.duplicate, first.rejected) == (4, 0, 1)
    assert (again.kept, again.duplicate, again.rejected) == (0, 4, 1)
    assert (again.written, again.unchanged) == (0, 2)
    assert files_of(warehouse) == before
    assert warehouse.frame("events")["arrived_at"].unique().to_list() == [AS_OF]


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_a_correction_moves_to_its_new_day_and_the_old_version_is_kept(warehouse, tmp_path, order):
    row = {"event_id": "a", "user_id": "ann", "ts": "2025-03-01 10:00", "amount": "5", "arrived_at": "2025-03-03 00:00"}
    paths = {
        "old": write_csv(tmp_path / "old.csv", [row]),
        "new": write_csv(tmp_path / "new.csv", [{**row, "ts": "2025-03-02 10:00", "arrived_at": "2025-03-04 00:00"}]),
    }
    reports = [take(warehouse, paths[name]) for name in order]
    assert [report.corrections for report in reports] == [0, 1]
    assert warehouse.frame("events")["day"].cast(pl.String).to_list() == ["2025-03-02"]
    old = check_stored(warehouse.frame("superseded"), table="superseded")
    assert old["day"].cast(pl.String).to_list() == ["2025-03-01"]
    assert old["superseded_at"].to_list() == warehouse.frame("events")["arrived_at"].to_list()


def test_known_at_is_what_had_arrived_by_then(warehouse, tmp_path):
    row = {"event_id": "a", "user_id": "ann", "ts": "2025-03-01 10:00"}
    for amount, arrived in (("5", 3), ("7", 5), ("9", 4)):
        path = write_csv(
            tmp_path / f"{amount}.csv", [{**row, "amount": amount, "arrived_at": f"2025-03-0{arrived} 00:00"}]
        )
        take(warehouse, path)
    events = f"SELECT amount, arrived_at, NULL AS superseded_at FROM {warehouse.relation('events')}"
    earlier = f"SELECT amount, arrived_at, superseded_at FROM {warehouse.relation('superseded')}"
    for day, known_amount in ((3, 5), (4, 9), (5, 7), (6, 7)):
        known = f"arrived_at <= '2025-03-0{day}' AND (superseded_at IS NULL OR superseded_at > '2025-03-0{day}')"
        found = warehouse.engine.rows(
            f"SELECT CAST(amount AS INTEGER) FROM ({events} UNION ALL {earlier}) WHERE {known}"
        )
        assert found == [(known_amount,)]


def test_a_scattered_log_is_gathered_by_day_and_gives_the_same_table(tmp_path, monkeypatch):
    log = [{"user_id": f"u{n}", "ts": f"2025-03-{1 + n % 9:02} 10:00", "amount": str(n)} for n in range(90)]
    path = write_csv(tmp_path / "log.csv", [*log, {**log[0], "user_id": ""}, log[0]])
    plainly = Warehouse.create(tmp_path / "plainly")
    take(plainly, path)
    monkeypatch.setattr("sojourn.events._write_events.ROWS_AT_ONCE", 10)
    gathered = Warehouse.create(tmp_path / "gathered")
    assert take(gathered, path).conservation == "read 92 = kept 91 + duplicate 0 + rejected 1"
    assert stored(gathered).equals(stored(plainly))
    assert marks(gathered) == marks(plainly)


def test_an_id_that_names_receipts_rather_than_lines_is_told(warehouse, tmp_path):
    log = [{"event_id": "r1", "user_id": "ann", "ts": "2025-03-01", "amount": str(n)} for n in range(5)]
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert any("4 of 5 rows gave a known event_id another content" in note for note in report.notes)


def test_a_column_that_is_added_empty_makes_no_new_event(warehouse, tmp_path):
    log: list[dict[str, object]] = [{"user_id": "ann", "ts": "2025-03-01 10:00", "amount": "5"}]
    take(warehouse, write_csv(tmp_path / "a.csv", log))
    report = take(warehouse, write_csv(tmp_path / "b.csv", [{**log[0], "channel": None}]))
    assert (report.kept, report.duplicate) == (0, 1)


def test_an_ingest_cut_between_two_days_is_completed_by_the_same_ingest(warehouse, tmp_path, monkeypatch):
    row = {"event_id": "a", "user_id": "ann", "ts": "2025-03-01 10:00", "amount": "5"}
    take(warehouse, write_csv(tmp_path / "old.csv", [row]), as_of=AS_OF)
    moved = write_csv(tmp_path / "new.csv", [{**row, "ts": "2025-03-02 10:00"}, {**row, "event_id": "b"}])

    from sojourn.events._write_events import EventDays

    put = EventDays._put

    def cut_after_two(self, writer, table, change, done=[]):  # noqa: B006
        done.append(table)
        if len(done) > 2:
            raise KeyboardInterrupt
        return put(self, writer, table, change)

    later = AS_OF + timedelta(days=1)
    monkeypatch.setattr(EventDays, "_put", cut_after_two)
    with pytest.raises(KeyboardInterrupt):
        take(warehouse, moved, as_of=later)
    monkeypatch.undo()
    take(warehouse, moved, as_of=later)
    found = warehouse.frame("events").sort("event_id")
    assert found["event_id"].to_list() == ["a", "b"]
    assert found["day"].cast(pl.String).to_list() == ["2025-03-02", "2025-03-01"]
    assert warehouse.frame("superseded").height == 1
