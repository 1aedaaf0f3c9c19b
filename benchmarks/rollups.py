"""What a morning's windows cost: Sojourn's partials beside the better of two plans over the raw log, day by day.

Run it as `python -m benchmarks.rollups`. 20 M events lie over 125 days. On each of 35 consecutive mornings, which
include a month's end, nine aggregates over the last 90 days are computed for every user and written durably: by
`advance`, and by two hand-written DuckDB queries over the raw log, of which the faster counts as naive. `tuned` is a
third one, which counts active days by a bitmap. All engines take turns in one process, each with two threads, and
every morning's tables are compared. Targets: 10 times the naive plan with 500,000 users and 35 times with 20,000, in
wall time and in CPU.
"""

import math
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial, reduce
from operator import add
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from benchmarks.measure import arguments, show
from sojourn.core import progress
from sojourn.rollups import AggregateSpec, Load, RollupSpec, advance, backfill, plan
from sojourn.warehouse import EngineSpec, Warehouse

FIRST = date(2025, 1, 1)
MEMORY_GB = 3.0
WINDOW_DAYS = 90
NINE = {
    "events": AggregateSpec(function="count"),
    "spend": AggregateSpec(function="sum", expression="amount"),
    "least": AggregateSpec(function="min", expression="amount"),
    "most": AggregateSpec(function="max", expression="amount"),
    "typical": AggregateSpec(function="mean", expression="amount"),
    "days": AggregateSpec(function="active_days"),
    "first_event": AggregateSpec(function="first", expression="event"),
    "last_event": AggregateSpec(function="last", expression="event"),
    "since": AggregateSpec(function="recency"),
}
SPEC = RollupSpec(name="nine", aggregates=NINE, windows_days=(WINDOW_DAYS,))
COLUMNS = SPEC.columns()


@dataclass(frozen=True)
class World:
    """How many users there are, how many events a day, how many days, and how many mornings are measured."""

    users: int
    per_day: int
    days: int
    mornings: int


@dataclass(frozen=True)
class Cost:
    """Seconds on the wall and of CPU, and megabytes read from files, cached by the system or not (Linux tells)."""

    wall_s: float
    cpu_s: float
    read_mb: float = math.nan

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, self.read_mb + other.read_mb)


def measured(work: Callable[[], Any]) -> Cost:
    """What it costs this process to do the work."""
    read, cpu, wall = _read_mb(), _cpu_s(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - wall, _cpu_s() - cpu, _read_mb() - read)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _read_mb() -> float:
    counters = Path("/proc/self/io")
    if not counters.exists():
        return math.nan
    return int(counters.read_text().split("rchar: ")[1].split()[0]) / 1e6


def write_events(warehouse: Warehouse, world: World, *, start: int = 0) -> None:
    """The log: every event is of a random user, a quarter are purchases; instants are spread over the day."""
    with warehouse.writing("events") as writer:
        for day in range(start, world.days):
            begin = f"make_timestamptz({_micros(day)} + i * {86_400_000_000 // world.per_day})"
            key = f"(CAST({day} AS BIGINT) * 100000000 + i)"
            query = f"""
                SELECT md5(CAST({key} AS VARCHAR)) AS event_id,
                       'u' || lpad(CAST(hash({key}) % {world.users} AS VARCHAR), 7, '0') AS user_id,
                       {begin} AS ts, {begin} AS arrived_at,
                       ['launch', 'view', 'cart', 'purchase'][1 + CAST(hash({key} + 1) % 4 AS INTEGER)] AS event,
                       'item' || CAST(hash({key} + 2) % 1000 AS VARCHAR) AS item_id,
                       CASE WHEN hash({key} + 1) % 4 = 3
                            THEN CAST((hash({key} + 3) % 10000) / 100.0 AS DECIMAL(18, 4)) END AS amount
                FROM range({world.per_day}) r(i)
            """
            writer.put({"day": str(day_of(day))}, query, order_by=("ts", "event_id"), fingerprint=f"{day:016x}")


def day_of(number: int) -> date:
    """The day with this number, from 0."""
    return FIRST + timedelta(days=number)


def _micros(number: int) -> int:
    return (FIRST - date(1970, 1, 1) + timedelta(days=number)).days * 86_400_000_000


class Naive:
    """The hand-written plans: each scans the raw days of the window and writes the same table, durably."""

    def __init__(self, warehouse: Warehouse, out: Path) -> None:
        self._root = warehouse.root / "events"
        self.out = out
        spill = str(out.with_suffix(".spill"))
        self._engine = duckdb.connect(config={"memory_limit": f"{MEMORY_GB}GB", "threads": 2, "temp_directory": spill})
        self._engine.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")

    def plans(self, as_of: date) -> dict[str, str]:
        """The queries, by name."""
        files = [
            str(self._root / f"day={as_of - timedelta(days=back)}/data.parquet") for back in range(WINDOW_DAYS, 0, -1)
        ]
        rows = f"read_parquet({files}, hive_partitioning = true, hive_types = {{'day': DATE}})"
        moment = "struct_pack(ts := ts, event_id := event_id, value := event)"
        common = f"""
            count(*), coalesce(sum(amount), 0), min(amount), max(amount),
            CAST(sum(amount) AS DOUBLE) / count(amount), DAYS, min({moment}).value, max({moment}).value,
            DATE '{as_of}' - max(day)
        """
        plain = f"SELECT user_id, {common} FROM {rows} GROUP BY user_id"
        two_level = f"""
            SELECT user_id, CAST(sum(n) AS BIGINT), coalesce(sum(s), 0), min(least), max(most),
                   CAST(sum(s) AS DOUBLE) / sum(c), count(*), min(first).value, max(last).value,
                   DATE '{as_of}' - max(day)
            FROM (SELECT user_id, day, count(*) AS n, sum(amount) AS s, count(amount) AS c, min(amount) AS least,
                         max(amount) AS most, min({moment}) AS first, max({moment}) AS last
                  FROM {rows} GROUP BY user_id, day)
            GROUP BY user_id
        """
        bitmap = f"bit_count(bit_or(CAST(1 AS HUGEINT) << CAST(DATE '{as_of}' - day AS INTEGER)))"
        return {
            "plain": plain.replace("DAYS", "count(DISTINCT day)"),
            "two_level": two_level,
            "tuned": plain.replace("DAYS", bitmap),
        }

    def run(self, query: str) -> None:
        """Write the table of the query, synced and renamed into place."""
        staged = self.out.with_suffix(".staged")
        self._engine.execute(
            f"COPY ({query}) TO '{staged}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
        ).fetchall()
        for path in (staged, staged.parent):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        staged.rename(self.out)


def mornings(warehouse: Warehouse, world: World, out: Path) -> Iterator[Mapping[str, Any]]:
    """One row per morning: the cost of each plan and whether all tables were equal."""
    naive = Naive(warehouse, out)
    backfill(warehouse, SPEC, end=day_of(world.days - world.mornings))
    advance(warehouse, SPEC, day=day_of(world.days - world.mornings - 1))
    for number in _told(range(world.days - world.mornings, world.days)):
        day = day_of(number)
        as_of = day + timedelta(days=1)
        limit = _lower_limit(warehouse, as_of)
        ours = measured(partial(advance, warehouse, SPEC, day=day))
        costs, equal = {}, True
        for name, query in naive.plans(as_of).items():
            costs[name] = measured(partial(naive.run, query))
            equal &= same_tables(warehouse, as_of, str(out))
        yield {"as_of": as_of, "ours": ours, **costs, "equal": equal, "limit": limit}


def _told(numbers: range) -> Iterator[int]:
    with progress("mornings", total=len(numbers)) as done:
        for number in numbers:
            yield number
            done(1)


def _lower_limit(warehouse: Warehouse, as_of: date) -> Load:
    """The day's raw rows and the partials that cover the window: what a morning must read that carries nothing on."""
    # Before the day's partial is built, the plan counts its raw rows in its place.
    return plan(warehouse, SPEC, as_of=as_of).total.reads


def same_tables(warehouse: Warehouse, as_of: date, theirs: str) -> bool:
    """Whether the stored windows of a day and the table that a plan wrote, given as a path, have the same rows."""
    names = ", ".join(["user_id", *COLUMNS[:4], "round(typical_90d, 9) AS typical_90d", *COLUMNS[5:]])
    stored = f"SELECT {names} FROM {warehouse.relation('windows_nine', only=[{'as_of': str(as_of)}])}"
    plain = ", ".join(["user_id", *COLUMNS])
    written = f"SELECT {names} FROM (SELECT * FROM read_parquet('{theirs}')) AS t({plain})"
    differ = f"SELECT count(*) FROM (({stored} EXCEPT ALL {written}) UNION ALL ({written} EXCEPT ALL {stored}))"
    return warehouse.engine.rows(differ) == [(0,)]


def main() -> None:
    """Run all cases, print one table."""
    options = arguments(__doc__ or "")
    rows = []
    for users in (500_000, 20_000):
        world = World(users // 50, 3_200, 125, 5) if options.quick else World(users, 160_000, 125, 35)
        with tempfile.TemporaryDirectory() as folder:
            warehouse = Warehouse.create(Path(folder) / "warehouse", engine=EngineSpec(memory_gb=MEMORY_GB, threads=2))
            write_events(warehouse, world)
            rows.append(_row(world, list(mornings(warehouse, world, Path(folder) / "naive.parquet"))))
    show("Nine aggregates over 90 days, every morning", rows, to=options.json)


def _row(world: World, found: list[Mapping[str, Any]]) -> dict[str, Any]:
    ours, tuned = _sum(found, "ours"), _sum(found, "tuned")
    return {
        **compared(world, found),
        "ratio_wall_tuned": tuned.wall_s / ours.wall_s,
        "ratio_cpu_tuned": tuned.cpu_s / ours.cpu_s,
        "ours_read_mb": ours.read_mb / len(found),
        "naive_read_mb": reduce(add, map(better, found)).read_mb / len(found),
        "limit_mb": sum(row["limit"].bytes for row in found) / len(found) / 1e6,
        "limit_files": sum(row["limit"].files for row in found) / len(found),
    }


def compared(world: World, found: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of all mornings together: `ours` beside the better of the two plain plans."""
    ours, naive = _sum(found, "ours"), reduce(add, map(better, found))
    wall = [better(row).wall_s / row["ours"].wall_s for row in found]
    return {
        "users": world.users,
        "mornings": len(found),
        "equal": all(row["equal"] for row in found),
        "ratio_wall": naive.wall_s / ours.wall_s,
        "ratio_cpu": naive.cpu_s / ours.cpu_s,
        "worst_ratio_wall": min(wall),
        "median_ratio_wall": median(wall),
        "ours_wall_s": ours.wall_s / len(found),
        "naive_wall_s": naive.wall_s / len(found),
    }


def better(row: Mapping[str, Any]) -> Cost:
    """What the faster of the two plans cost on this morning."""
    plain: Cost = row["plain"]
    two_level: Cost = row["two_level"]
    return plain if plain.wall_s < two_level.wall_s else two_level


def _sum(found: list[Mapping[str, Any]], name: str) -> Cost:
    costs: list[Cost] = [row[name] for row in found]
    return reduce(add, costs)


if __name__ == "__main__":
    main()
