"""Random logs whose ids are versions of several people's events, and what a warehouse holds of them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import strategies as st

from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec, Writer
from tests.events.logs import stored, take, write_csv

Row = dict[str, Any]
START = datetime(2025, 3, 1, tzinfo=UTC)
LATER = datetime(2025, 7, 1, tzinfo=UTC)
TABLES = ("events", "superseded", "users", "superseded_users", "rejected")
PEOPLE = ("ann", "ann-2", "bob", "eve")

events = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["a", "b", "c", "d"]),
        "user_id": st.sampled_from(PEOPLE),
        # A correction may move an event to another day.
        "ts": st.sampled_from([0, 1, 30]).map(lambda hours: START + timedelta(hours=hours)),
        "arrived_at": st.integers(0, 3).map(lambda days: START + timedelta(days=3 + days)),
        "event": st.just("buy"),
        # The last is no number: a fault.
        "amount": st.sampled_from([None, "1.5", "-2", "free"]),
        "channel": st.sampled_from(["ads", "web"]),
    }
)
portraits = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(PEOPLE),
        "valid_from": st.integers(0, 2).map(lambda days: START + timedelta(days=days)),
        "arrived_at": st.integers(0, 3).map(lambda days: START + timedelta(days=3 + days)),
        "country": st.sampled_from(["de", "fr"]),
    }
)
logs = st.tuples(
    st.lists(st.lists(events, min_size=1, max_size=7), min_size=1, max_size=3),
    st.lists(st.lists(portraits, min_size=1, max_size=5), max_size=2),
)
Log = tuple[Sequence[Sequence[Row]], Sequence[Sequence[Row]]]


def world(folder: Path) -> Warehouse:
    folder.mkdir(parents=True, exist_ok=True)
    return Warehouse.create(folder / "w", WarehouseSpec(), engine=EngineSpec(threads=1))


def copy_of(root: Path, folder: Path) -> Warehouse:
    """A copy of a warehouse, to change."""
    shutil.copytree(root, folder / "w")
    return Warehouse.open(folder / "w", engine=EngineSpec(threads=1))


def take_log(warehouse: Warehouse, log: Log, folder: Path, *, own_ids: bool = True) -> int:
    """Ingest the log, file by file; how many rows were dropped as of forgotten users. Empty files are left out."""
    chosen = {} if own_ids else {"columns": {"event_id": ""}, "keep": ("channel",)}
    forgotten = 0
    folder.mkdir(parents=True, exist_ok=True)
    for table, files in zip(("events", "users"), log, strict=True):
        for number, rows in enumerate(files):
            if rows:
                given = chosen if table == "events" else {"types": {"country": "VARCHAR"}}
                file = write_csv(folder / f"{table}{number}.csv", rows, columns=sorted(rows[0]))
                done = take(warehouse, file, table=table, max_rejected_share=1, **given)
                forgotten += done.forgotten
    return forgotten


def changed(log: Log, change: Callable[[Sequence[Row]], list[Row]]) -> Log:
    """The log with every file changed."""
    return [change(file) for file in log[0]], [change(file) for file in log[1]]


def without(*users: str) -> Callable[[Sequence[Row]], list[Row]]:
    """Leaves out the rows of these users."""
    return lambda rows: [row for row in rows if row["user_id"] not in users]


def renamed(becomes: Mapping[str, str]) -> Callable[[Sequence[Row]], list[Row]]:
    """Gives rows of an alias the id of its user."""
    return lambda rows: [{**row, "user_id": becomes.get(row["user_id"], row["user_id"])} for row in rows]


def held(warehouse: Warehouse, *, leaving_out: Sequence[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of events; the folder of a rejected row's source is left out."""
    rows = {}
    for table in TABLES:
        frame = stored(warehouse, table).drop(*leaving_out, "bucket", strict=False)
        if "source" in frame.columns:
            frame = frame.with_columns(pl.col("source").str.split("/").list.last())
        if frame.height:
            rows[table] = sorted(frame.select(sorted(frame.columns)).rows(), key=repr)
    return rows


def marks(warehouse: Warehouse, *tables: str) -> dict[str, str]:
    """The fingerprint of each partition of these tables."""
    return {
        f"{table} {sorted(info.partition.items())}": info.fingerprint
        for table in tables
        for info in warehouse.partitions(table)
    }


class Stopped(Exception):
    pass


def stopped(work: Callable[[], object], *, before_write: int) -> bool:
    """Whether the work was cut off just before its n-th change of a partition; otherwise it came to its end."""
    left = [before_write]

    def mortal(act: Any) -> Any:
        def once(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise Stopped
            return act(*given, **named)

        return once

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "put", mortal(Writer.put))
        patch.setattr(Writer, "drop", mortal(Writer.drop))
        try:
            work()
        except Stopped:
            return True
    return False


def busy_log() -> Log:
    """Events that go from one to another and back, in several days, and portraits that replace each other."""

    def event(number: str, user: str, day: int, arrived: int) -> Row:
        ts = f"2025-03-0{day} 10:00:00"
        return {
            "event_id": number,
            "user_id": user,
            "ts": ts,
            "arrived_at": f"2025-03-1{arrived}",
            "event": "buy",
            "amount": "1.5",
            "channel": "ads",
        }

    first = [event("a", "bob", 1, 1), event("b", "ann", 2, 1), event("c", "eve", 3, 1), event("d", "ann", 4, 1)]
    second = [event("a", "ann", 2, 2), event("b", "bob", 2, 2), event("c", "ann", 3, 2), event("x", "ann", 3, 2)]
    portraits = [
        {"user_id": user, "valid_from": "2025-03-01", "arrived_at": f"2025-03-1{n}", "country": country}
        for n, (user, country) in enumerate([("ann", "de"), ("bob", "de"), ("ann", "fr"), ("bob", "fr")])
    ]
    return [first, second, [{**second[0], "amount": "free"}]], [portraits]
