"""A day of growth metrics: ours from yesterday's state, beside hand-written SQL over the raw log, and all of it anew.

Run it as `python -m benchmarks.metrics_board`. A log of 50 million events of a million users over 120 days, every user
with a channel and a country. Three mornings are closed, each by `advance_board` and by hand-written queries that make
only that day's cohorts of day, week and month and its unbounded retention (what all metrics are sums of), durably too;
the numbers must be equal. `of_all` is what making everything from the raw log costs, over one morning. Beside it the
triangle of retention and revenue by channel, read from our tables and counted by hand, and a funnel, which both make
from raw rows.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.measure import arguments, show
from benchmarks.rollups import Cost, measured
from sojourn.metrics import BoardSpec, advance_board, backfill_board, metric_relation, metric_table
from sojourn.warehouse import EngineSpec, Warehouse

FIRST, DAY = date(2024, 1, 1), timedelta(days=1)
MEMORY_GB = 4
BOARD = BoardSpec(portrait_dims=("channel", "country"), margin_share=0.25)
FUNNEL: dict[str, Any] = {
    "steps": [{"name": name, "where": f"event = '{name}'"} for name in ("view", "cart", "purchase")],
    "within_hours": 24,
}
PERIODS = ("day", "week", "month")


@dataclass(frozen=True)
class World:
    """How large the log is. Of a day's users a part come for the first time, the others are any that came before."""

    users: int
    days: int
    visits: int
    mornings: int


def write_world(warehouse: Warehouse, world: World) -> None:
    """The log and the users. A visit has one to seven rows, ten minutes apart; one in fifty is a purchase."""
    new = world.users // world.days
    with warehouse.writing("events") as writer:
        for number in range(world.days):
            base = f"CAST({number} AS BIGINT) * 100000000 + v"
            former = f"CAST(hash({base}) % {(number + 1) * new} AS BIGINT)"
            who = f"CASE WHEN v < {new} THEN {number * new} + v ELSE {former} END"
            midnight, last = (f"TIMESTAMPTZ '{FIRST + number * DAY} {time}+00'" for time in ("00:00:00", "23:59:59"))
            begin = f"{midnight} + to_seconds(CAST(hash({base} + 7) % 80000 AS BIGINT))"
            kind = f"hash({base} * 11 + j) % 50"
            query = f"""
                SELECT 'e' || CAST(({base}) * 10 + j AS VARCHAR) AS event_id,
                       'u' || lpad(CAST({who} AS VARCHAR), 7, '0') AS user_id,
                       least({begin} + to_minutes(10 * j), {last}) AS ts,
                       CASE WHEN {kind} = 0 THEN 'purchase' WHEN {kind} = 1 THEN 'refund' WHEN {kind} < 10 THEN 'cart'
                            ELSE 'view' END AS event,
                       CASE WHEN {kind} = 0 THEN CAST((hash({base} + j) % 9000 + 99) / 100.0 AS DECIMAL(18,4))
                            WHEN {kind} = 1 AND v % 10 = 0 THEN CAST(-9.99 AS DECIMAL(18,4)) END AS amount
                FROM range({world.visits}) AS visits(v), range(7) AS rows(j) WHERE j <= hash({base} + 3) % 7
            """
            order = ("ts", "event_id")
            writer.put({"day": str(FIRST + number * DAY)}, query, order_by=order, fingerprint=f"{number:016x}")
    portraits = f"""
        SELECT 'u' || lpad(CAST(u AS VARCHAR), 7, '0') AS user_id,
               'channel' || CAST(hash(u) % 6 AS VARCHAR) AS channel,
               'country' || CAST(hash(u + 5) % 8 AS VARCHAR) AS country,
               TIMESTAMPTZ '2023-01-01 00:00:00+00' AS valid_from, CAST(NULL AS TIMESTAMPTZ) AS valid_to
        FROM range({new * world.days}) AS users(u)
    """
    with warehouse.writing("users") as writer:
        writer.put({}, portraits, order_by=["user_id"], fingerprint="users")


class ByHand:
    """The best query we could write that makes one day's cohorts from the raw log: one row for each user, then sums."""

    def __init__(self, warehouse: Warehouse, out: Path) -> None:
        self._root, self.out = warehouse.root, out
        spill = str(out / "spill")
        self.engine = duckdb.connect(config={"memory_limit": f"{MEMORY_GB}GB", "threads": 2, "temp_directory": spill})
        self.engine.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")

    def rows(self, start: date, end: date) -> str:
        """The raw rows of [start, end)."""
        days = [start + number * DAY for number in range((end - start).days)]
        files = [str(self._root / f"events/day={day}/data.parquet") for day in days]
        return f"read_parquet({files}, hive_partitioning = true, hive_types = {{'day': DATE}})"

    def close(self, day: date) -> None:
        """Write the day's tables, each synced and renamed into place."""
        starts = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}
        self.engine.execute(f"CREATE OR REPLACE TEMP TABLE users AS {self._users(day, starts)}")
        for grain, start in starts.items():
            self._write(self._cohorts(grain, start, day), f"cohorts_{grain}")
            self._write(self._unbounded(grain, day), f"unbounded_{grain}")

    def _users(self, day: date, starts: Mapping[str, date]) -> str:
        back = f"(DATE '{day}' - day)"
        bit = f"CASE WHEN {back} < 62 {{}} THEN CAST(1 AS BIGINT) << {back} ELSE 0 END"
        margin = "CAST(amount * CAST(0.25 AS DECIMAL(9,4)) AS DECIMAL(18,4))"
        sums = "".join(
            f", count(*) FILTER (day >= DATE '{start}') AS events_{grain}, "
            f"count(*) FILTER (amount > 0 AND day >= DATE '{start}') AS purchases_{grain}, "
            f"coalesce(sum(amount) FILTER (amount > 0 AND day >= DATE '{start}'), 0) AS gross_{grain}, "
            f"coalesce(-sum(amount) FILTER (amount < 0 AND day >= DATE '{start}'), 0) AS refunds_{grain}, "
            f"coalesce(sum({margin}) FILTER (day >= DATE '{start}'), 0) AS margin_{grain}"
            for grain, start in starts.items()
        )
        begun = "".join(
            f", count(*) FILTER (day >= DATE '{start}') AS sessions_{grain}" for grain, start in starts.items()
        )
        month = min(starts.values())
        lagged = "ts - lag(ts) OVER (PARTITION BY user_id ORDER BY ts) AS gap"
        gaps = f"SELECT user_id, day, {lagged} FROM {self.rows(max(month - DAY, FIRST), day + DAY)}"
        return f"""
            WITH log AS (SELECT user_id, min(day) AS first_day, max(day) AS last_day,
                                bit_or({bit.format("")}) AS active, bit_or({bit.format("AND amount > 0")}) AS paid{sums}
                         FROM {self.rows(FIRST, day + DAY)} GROUP BY user_id),
                 begun AS (SELECT user_id{begun} FROM ({gaps})
                           WHERE gap IS NULL OR gap > INTERVAL 30 MINUTE GROUP BY user_id)
            SELECT log.*, begun.* EXCLUDE (user_id), channel, country
            FROM log LEFT JOIN begun USING (user_id)
            LEFT JOIN read_parquet('{self._root}/users/data.parquet') AS users ON users.user_id = log.user_id
        """

    def _cohorts(self, grain: str, start: date, day: date) -> str:
        days = (day - start).days + 1
        length = {"day": 1, "week": 7}.get(grain, (start - (start - DAY).replace(day=1)).days)
        here, there = f"(active & {(1 << days) - 1}) <> 0", f"(active & {((1 << length) - 1) << days}) <> 0"
        rolling = " + ".join(f"CAST(((active >> {back}) & {(1 << 28) - 1}) <> 0 AS INTEGER)" for back in range(days))
        cohort = "first_day" if grain == "day" else f"CAST(date_trunc('{grain}', first_day) AS DATE)"
        return f"""
            SELECT {cohort} AS cohort, channel, country, count(*) AS size, count(*) FILTER ({here}) AS active,
                   count(*) FILTER ({here} AND first_day >= DATE '{start}') AS new,
                   count(*) FILTER ({here} AND {there}) AS "returning",
                   count(*) FILTER ({here} AND NOT {there} AND first_day < DATE '{start}') AS resurrected,
                   count(*) FILTER (NOT {here} AND {there}) AS dormant,
                   count(*) FILTER ((paid & {(1 << days) - 1}) <> 0) AS paying,
                   count(*) FILTER ((paid & {(1 << days) - 1}) <> 0 AND {here}) AS paying_active,
                   count(*) FILTER ((active & 127) <> 0) AS active_7d,
                   count(*) FILTER ((active & {(1 << 28) - 1}) <> 0) AS active_28d,
                   sum(bit_count(active & {(1 << days) - 1})) AS active_days, sum({rolling}) AS active_28d_days,
                   sum(events_{grain}) AS events, sum(coalesce(sessions_{grain}, 0)) AS sessions,
                   sum(purchases_{grain}) AS purchases, sum(gross_{grain}) AS gross, sum(refunds_{grain}) AS refunds,
                   sum(gross_{grain} - refunds_{grain}) AS revenue, sum(margin_{grain}) AS margin
            FROM users GROUP BY ALL
        """

    def _unbounded(self, grain: str, day: date) -> str:
        cohort = "first_day" if grain == "day" else f"CAST(date_trunc('{grain}', first_day) AS DATE)"
        counts = ", ".join(
            f'count(*) FILTER (last_day - first_day >= {age}) AS "{age}"' for age in BOARD.unbounded_ages
        )
        last = {"day": "cohort", "week": "cohort + 6"}.get(grain, "last_day(cohort)")
        wide = f"SELECT {cohort} AS cohort, channel, country, count(*) AS size, {counts} FROM users GROUP BY ALL"
        ages = ", ".join(f'"{age}"' for age in BOARD.unbounded_ages)
        return f"""
            SELECT cohort, channel, country, CAST(age AS INTEGER) AS age, n AS numerator, size AS denominator
            FROM (UNPIVOT ({wide}) ON {ages} INTO NAME age VALUE n)
            WHERE DATE '{day}' - ({last}) >= CAST(age AS INTEGER)
        """

    def _write(self, query: str, name: str) -> None:
        staged, target = self.out / f"{name}.staged", self.out / f"{name}.parquet"
        self.engine.execute(f"COPY ({query}) TO '{staged}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
        for path in (staged, staged.parent):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        staged.rename(target)


def same(warehouse: Warehouse, by_hand: ByHand, day: date) -> bool:
    """Whether all tables of a day that were made by hand have the rows of ours."""
    starts = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}
    equal = True
    for grain in PERIODS:
        place = {"grain": grain, "start": str(starts[grain])}
        for table, name in ((BOARD.cohorts_table, "cohorts"), (BOARD.unbounded_table, "unbounded")):
            theirs = f"read_parquet('{by_hand.out / f'{name}_{grain}.parquet'}')"
            names = ", ".join(f'"{column}"' for column in warehouse.engine.columns(f"SELECT * FROM {theirs}"))
            ours = f"SELECT {names} FROM {warehouse.relation(table, only=[place])}"
            equal &= not differ(warehouse, ours, f"SELECT {names} FROM {theirs}")
    return equal


def differ(warehouse: Warehouse, ours: str, theirs: str) -> int:
    """How many rows one of two queries has and the other has not."""
    rows = f"SELECT count(*) FROM (({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours}))"
    return int(warehouse.engine.rows(rows)[0][0])


def mornings(warehouse: Warehouse, by_hand: ByHand, world: World) -> dict[str, Any]:
    """The row of the mornings, all together."""
    first = world.days - world.mornings
    whole = measured(partial(backfill_board, warehouse, BOARD, end=FIRST + first * DAY))
    ours, hand, equal = Cost(0, 0, 0), Cost(0, 0, 0), True
    for number in range(first, world.days):
        day = FIRST + number * DAY
        ours += measured(partial(advance_board, warehouse, BOARD, day=day))
        hand += measured(partial(by_hand.close, day))
        equal &= same(warehouse, by_hand, day)
    one = ours.wall_s / world.mornings
    return {
        "what": "all board tables of a day",
        "ours_s": one,
        "by_hand_s": hand.wall_s / world.mornings,
        "ratio": hand.wall_s / ours.wall_s,
        "cpu_ratio": hand.cpu_s / ours.cpu_s,
        "of_all": (whole.wall_s + one) / one,
        "equal": equal,
    }


def triangles(warehouse: Warehouse, by_hand: ByHand, world: World) -> dict[str, Any]:
    """The triangle of active users and revenue by day and channel: read from our tables, and counted by hand."""
    end = FIRST + world.days * DAY
    by_day = f"SELECT user_id, day, sum(amount) AS spent FROM {by_hand.rows(FIRST, end)} GROUP BY user_id, day"
    firsts = f"SELECT *, min(day) OVER (PARTITION BY user_id) AS cohort FROM ({by_day})"
    query = f"""
        SELECT cohort, CAST(day - cohort AS INTEGER) AS age, channel, count(*) AS users,
               CAST(coalesce(sum(spent), 0) AS DECIMAL(38,4)) AS revenue
        FROM ({firsts}) JOIN read_parquet('{warehouse.root}/users/data.parquet') USING (user_id) GROUP BY ALL
    """

    def read() -> None:
        for name in ("cohort_users", "cohort_revenue"):
            metric_table(warehouse, BOARD, name, by=["channel"])

    ours = measured(read)
    hand = measured(lambda: by_hand.engine.execute(f"CREATE OR REPLACE TEMP TABLE triangle AS {query}"))
    by_hand.engine.execute(f"COPY triangle TO '{by_hand.out / 'triangle.parquet'}' (FORMAT parquet)")
    users = metric_relation(warehouse, BOARD, "cohort_users")
    revenue = metric_relation(warehouse, BOARD, "cohort_revenue")
    both = (
        f"SELECT *, 0 AS r FROM {users} UNION ALL BY NAME "
        f"SELECT * REPLACE (0 AS numerator), numerator AS r FROM {revenue}"
    )
    mine = (
        f"SELECT cohort, age, channel, sum(numerator) AS users, sum(r) AS revenue FROM ({both}) GROUP BY ALL "
        f"HAVING sum(numerator) > 0"
    )
    theirs = f"SELECT cohort, age, channel, users, revenue FROM read_parquet('{by_hand.out / 'triangle.parquet'}')"
    return _row("triangle by day and channel", ours, hand, equal=not differ(warehouse, mine, theirs))


def funnels(warehouse: Warehouse, by_hand: ByHand, world: World) -> dict[str, Any]:
    """A funnel of three steps by channel and country, for the days, weeks and month of the last one that is over.

    Both make it from raw rows, by day, week and month, as far as our tables have it.
    """
    board = BOARD.with_changes(funnels={"buy": FUNNEL})
    last = FIRST + (world.days - 1) * DAY
    start = (last.replace(day=1) - DAY).replace(day=1)
    ours = measured(partial(backfill_board, warehouse, board, start=start))
    places = warehouse.places(board.funnels_table)
    first = min(date.fromisoformat(place["start"]) for place in places)
    parts = [
        _funnel_by_hand(grain, [place["start"] for place in places if place["grain"] == grain]) for grain in PERIODS
    ]
    log = f"SELECT user_id, day, ts, event FROM {by_hand.rows(max(first, FIRST), last + DAY)}"
    query = f"""
        WITH log AS MATERIALIZED ({log} WHERE event IN ('view', 'cart', 'purchase')),
             steps AS ({" UNION ALL ".join(parts)})
        SELECT grain, start, channel, country, step, count(*) AS n
        FROM steps JOIN read_parquet('{warehouse.root}/users/data.parquet') USING (user_id) GROUP BY ALL
    """
    hand = measured(lambda: by_hand.engine.execute(f"CREATE OR REPLACE TEMP TABLE funnel AS {query}"))
    by_hand.engine.execute(f"COPY funnel TO '{by_hand.out / 'funnel.parquet'}' (FORMAT parquet)")
    mine = " UNION ALL ".join(
        f"SELECT '{grain}' AS grain, start, channel, country, step, CAST(numerator AS BIGINT) AS n "
        f"FROM {metric_relation(warehouse, board, 'funnel_buy', grain=grain)} WHERE numerator > 0"  # type: ignore[arg-type]
        for grain in PERIODS
    )
    theirs = f"SELECT * FROM read_parquet('{by_hand.out / 'funnel.parquet'}')"
    return _row(
        "funnel, made from raw rows", ours, hand, equal=not differ(warehouse, f"SELECT * FROM ({mine})", theirs)
    )


def _funnel_by_hand(grain: str, starts: list[str]) -> str:
    start = "day" if grain == "day" else f"CAST(date_trunc('{grain}', day) AS DATE)"
    these = ", ".join(f"DATE '{each}'" for each in starts)
    return f"""(
        WITH one AS MATERIALIZED (SELECT user_id, {start} AS start, min(ts) AS ts FROM log
                                  WHERE event = 'view' AND {start} IN ({these}) GROUP BY ALL),
             two AS MATERIALIZED (
                SELECT one.user_id, one.start, one.ts AS began, min(log.ts) AS ts FROM one JOIN log USING (user_id)
                WHERE event = 'cart' AND log.ts >= one.ts AND log.ts <= one.ts + INTERVAL 24 HOUR GROUP BY ALL),
             three AS (SELECT DISTINCT two.user_id, two.start FROM two JOIN log USING (user_id)
                       WHERE event = 'purchase' AND log.ts >= two.ts AND log.ts <= two.began + INTERVAL 24 HOUR)
        SELECT '{grain}' AS grain, user_id, start, 1 AS step FROM one
        UNION ALL SELECT '{grain}', user_id, start, 2 FROM two
        UNION ALL SELECT '{grain}', user_id, start, 3 FROM three)"""


def _row(what: str, ours: Cost, hand: Cost, *, equal: bool) -> dict[str, Any]:
    ratios = {"ratio": hand.wall_s / ours.wall_s, "cpu_ratio": hand.cpu_s / ours.cpu_s, "of_all": ""}
    return {"what": what, "ours_s": ours.wall_s, "by_hand_s": hand.wall_s, **ratios, "equal": equal}


def main() -> None:
    """Print the table; `--quick` has a log of 0.3 million events."""
    options = arguments(__doc__ or "")
    small, full = World(20_000, 40, 2_000, 2), World(1_000_000, 120, 104_000, 3)
    world = small if options.quick else full
    with tempfile.TemporaryDirectory() as folder:
        engine = EngineSpec(memory_gb=MEMORY_GB, threads=2)
        warehouse = Warehouse.create(Path(folder) / "warehouse", engine=engine)
        (out := Path(folder) / "by_hand").mkdir()
        write_world(warehouse, world)
        by_hand = ByHand(warehouse, out)
        rows = [work(warehouse, by_hand, world) for work in (mornings, triangles, funnels)]
        events = warehouse.engine.rows(f"SELECT count(*) FROM {warehouse.relation('events')}")[0][0]
    title = f"Growth metrics of {world.users:,} users, {events:,} events, {world.days} days"
    show(title, rows, to=options.json)


if __name__ == "__main__":
    main()
