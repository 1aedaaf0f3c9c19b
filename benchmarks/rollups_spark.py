"""What a morning's windows cost on Spark: Sojourn's partials beside the better of two plans over the raw log.

Run it as `python -m benchmarks.rollups_spark`. 5 M events of 500,000 users lie over 127 days. On each of 35
consecutive mornings, which include a month's end, nine aggregates over the last 90 days are computed for every user and
written as Parquet: by `advance`, and by two hand-written queries over the raw log. Both use the same Spark, two threads
on this machine, and take turns; the first two mornings, on which Java warms up, are not counted. All tables are
compared. Target: 4 times the naive plan.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import arguments, show
from benchmarks.rollups import (
    COLUMNS,
    MEMORY_GB,
    SPEC,
    WINDOW_DAYS,
    Cost,
    World,
    compared,
    day_of,
    same_tables,
    write_events,
)
from sojourn.rollups import advance, backfill
from sojourn.warehouse import EngineSpec, Warehouse

WARM_UP = 2
MOMENT = "named_struct('ts', ts, 'event_id', event_id, 'value', event)"
PLANS = {
    "plain": f"""
        SELECT user_id, count(*), coalesce(sum(amount), 0), min(amount), max(amount),
               CAST(sum(amount) AS DOUBLE) / nullif(count(amount), 0), count(DISTINCT d),
               min({MOMENT}).value, max({MOMENT}).value, datediff(AS_OF, max(d))
        FROM raw GROUP BY user_id
    """,
    "two_level": f"""
        SELECT user_id, sum(n), coalesce(sum(s), 0), min(least), max(most),
               CAST(sum(s) AS DOUBLE) / nullif(sum(c), 0), count(*), min(first).value, max(last).value,
               datediff(AS_OF, max(d))
        FROM (SELECT user_id, d, count(*) AS n, sum(amount) AS s, count(amount) AS c, min(amount) AS least,
                     max(amount) AS most, min({MOMENT}) AS first, max({MOMENT}) AS last
              FROM raw GROUP BY user_id, d)
        GROUP BY user_id
    """,
}


class Naive:
    """The hand-written plans: each scans the raw days of the window and writes the same table."""

    def __init__(self, session: Any, events: Path, out: Path) -> None:
        self._session, self._events, self.out = session, events, out

    def run(self, plan: str, as_of: date) -> None:
        """Write the table of the plan."""
        days = [str(self._events / f"day={as_of - timedelta(days=back)}") for back in range(WINDOW_DAYS, 0, -1)]
        rows = self._session.read.option("basePath", str(self._events)).parquet(*days)
        rows.selectExpr("*", "CAST(day AS DATE) AS d").createOrReplaceTempView("raw")
        query = PLANS[plan].replace("AS_OF", f"DATE '{as_of}'")
        found = self._session.sql(f"SELECT * FROM ({query}) AS t({', '.join(['user_id', *COLUMNS])})")
        found.write.parquet(str(self.out), mode="overwrite")


class Clock:
    """What a piece of work costs this process and its Java together (Linux tells)."""

    def __init__(self, session: Any) -> None:
        java = session.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
        self._java = Path(f"/proc/{java}/stat")

    def measured(self, work: Callable[[], Any]) -> Cost:
        """Do the work, and say what it cost."""
        cpu, wall = self._cpu_s(), time.perf_counter()
        work()
        return Cost(time.perf_counter() - wall, self._cpu_s() - cpu)

    def _cpu_s(self) -> float:
        user, system = self._java.read_text().rsplit(")", 1)[1].split()[11:13]
        return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def mornings(warehouse: Warehouse, world: World, out: Path) -> Iterator[Mapping[str, Any]]:
    """One row per morning: the cost of each plan and whether all tables were equal."""
    from pyspark.sql import SparkSession

    on_spark = Warehouse.open(warehouse.root, engine=EngineSpec(kind="spark", memory_gb=MEMORY_GB, threads=2))
    first = world.days - world.mornings
    backfill(warehouse, SPEC, end=day_of(first))
    advance(on_spark, SPEC, day=day_of(first - 1))
    session = SparkSession.getActiveSession()
    assert session is not None
    naive, clock = Naive(session, warehouse.root / "events", out), Clock(session)
    for number in range(first, world.days):
        day, as_of = day_of(number), day_of(number + 1)
        costs, equal = {"ours": clock.measured(partial(advance, on_spark, SPEC, day=day))}, True
        for plan in PLANS:
            costs[plan] = clock.measured(partial(naive.run, plan, as_of))
            equal &= same_tables(warehouse, as_of, f"{out}/*.parquet")
        yield {"as_of": as_of, **costs, "equal": equal}


def main() -> None:
    """Run all mornings, print one table."""
    options = arguments(__doc__ or "")
    world = World(10_000, 800, 125, 5) if options.quick else World(500_000, 40_000, 127, 37)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse.create(Path(folder) / "warehouse", engine=EngineSpec(memory_gb=MEMORY_GB, threads=2))
        write_events(warehouse, world)
        found = list(mornings(warehouse, world, Path(folder) / "naive"))[WARM_UP:]
    show("Nine aggregates over 90 days on Spark, every morning", [compared(world, found)], to=options.json)


if __name__ == "__main__":
    main()
