"""Distinct items over seven windows, and windows of 200,000 labels: partials beside DuckDB over the raw log.

Run it as `python -m benchmarks.rollup_sets`. Both read 20 M events of 500,000 users; an event is of one of 1,000 items.
Distinct items: on consecutive mornings, the number of different items in each of seven windows, written for every user;
the raw log is asked on every seventh morning only, as it takes long and always the same. Labels: three aggregates over
seven windows for 200,000 pairs of user and day, beside a range join; the days are one, five or 35.
"""

import random
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmarks.measure import arguments, show
from benchmarks.rollups import MEMORY_GB, NINE, Cost, World, day_of, measured, write_events
from sojourn.rollups import AggregateSpec, RollupSpec, advance, backfill, windows_at
from sojourn.warehouse import EngineSpec, Warehouse

WINDOWS_DAYS = (1, 3, 7, 14, 30, 60, 90)
ITEMS = RollupSpec(
    name="items",
    aggregates={"items": AggregateSpec(function="count_distinct", expression="item_id")},
    windows_days=WINDOWS_DAYS,
)
LABELS = RollupSpec(
    name="labels", aggregates={name: NINE[name] for name in ("events", "spend", "most")}, windows_days=WINDOWS_DAYS
)


def raw_log() -> duckdb.DuckDBPyConnection:
    """DuckDB as the other side uses it."""
    spill = tempfile.gettempdir()
    engine = duckdb.connect(config={"memory_limit": f"{MEMORY_GB}GB", "threads": 2, "temp_directory": spill})
    engine.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    return engine


def raw_days(warehouse: Warehouse, days: list[date]) -> str:
    """SQL to stand after FROM: the raw events of these days."""
    files = [str(warehouse.root / "events" / f"day={day}" / "data.parquet") for day in days]
    return f"read_parquet({files}, hive_partitioning = true, hive_types = {{'day': DATE}})"


def distinct_items(warehouse: Warehouse, world: World, out: Path) -> Mapping[str, Any]:
    """The row of the seven windows of distinct items."""
    engine, ours, theirs, equal = raw_log(), [], [], True
    backfill(warehouse, ITEMS, end=day_of(world.days - world.mornings))
    for number in range(world.days - world.mornings, world.days):
        as_of = day_of(number + 1)
        ours.append(measured(partial(advance, warehouse, ITEMS, day=day_of(number))))
        if (world.days - number) % 7 == 1:
            counted = ", ".join(
                f"count(DISTINCT item_id) FILTER (WHERE day >= DATE '{as_of}' - {days})" for days in WINDOWS_DAYS
            )
            rows = raw_days(warehouse, [as_of - timedelta(days=back) for back in range(90, 0, -1)])
            query = f"COPY (SELECT user_id, {counted} FROM {rows} GROUP BY user_id) TO '{out}' (FORMAT parquet)"
            theirs.append(measured(partial(engine.execute, query)))
            names = ", ".join(["user_id", *ITEMS.columns()])
            stored = warehouse.relation("windows_items", only=[{"as_of": str(as_of)}])
            differ = f"(SELECT {names} FROM {stored}) EXCEPT (SELECT * FROM '{out}')"
            equal &= warehouse.engine.rows(f"SELECT count(*) FROM ({differ})") == [(0,)]
    return _row(f"distinct items, {len(WINDOWS_DAYS)} windows, {len(ours)} mornings", ours, theirs, equal=equal)


def labels(warehouse: Warehouse, world: World, *, count: int) -> Iterator[Mapping[str, Any]]:
    """One row for each number of days that the labels lie on."""
    engine, chance = raw_log(), random.Random(0)
    backfill(warehouse, LABELS)
    rows = raw_days(warehouse, [day_of(number) for number in range(world.days)])
    first = world.days - world.mornings
    counted = ", ".join(
        f"count(event_id) FILTER (WHERE day >= as_of - {days}) AS events_{days}d, "
        f"coalesce(sum(amount) FILTER (WHERE day >= as_of - {days}), 0) AS spend_{days}d, "
        f"max(amount) FILTER (WHERE day >= as_of - {days}) AS most_{days}d"
        for days in WINDOWS_DAYS
    )
    joined = f"looks LEFT JOIN {rows} AS e ON looks.user_id = e.user_id AND e.day >= as_of - 90 AND e.day < as_of"
    query = f"SELECT looks.user_id, as_of, {counted} FROM {joined} GROUP BY looks.user_id, as_of"
    for days in (1, 5, min(35, world.mornings)):
        drawn = [
            (f"u{chance.randrange(world.users):07d}", day_of(first + chance.randrange(days) * (world.mornings // days)))
            for _ in range(count)
        ]
        looks = pl.DataFrame(drawn, schema=["user_id", "as_of"], orient="row").unique(maintain_order=True)
        engine.register("looks", looks)
        found: list[pl.DataFrame] = []
        ours = measured(lambda looks=looks, found=found: found.append(windows_at(warehouse, LABELS, looks)))  # type: ignore[misc]
        theirs = measured(lambda found=found: found.append(engine.sql(query).pl()))  # type: ignore[misc]
        names = ["user_id", "as_of", *LABELS.columns()]
        equal = _sorted(found[0], names).equals(_sorted(found[1], names))
        yield _row(f"{looks.height:,} labels on {days} days, 7 windows x 3", [ours], [theirs], equal=equal)


def _sorted(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return frame.select(names).with_columns(pl.selectors.decimal().cast(pl.Float64)).sort("user_id", "as_of")


def _row(what: str, ours: list[Cost], theirs: list[Cost], *, equal: bool) -> Mapping[str, Any]:
    mean = {
        name: (sum(c.wall_s for c in costs) / len(costs), sum(c.cpu_s for c in costs) / len(costs))
        for name, costs in (("ours", ours), ("theirs", theirs))
    }
    return {
        "case": what,
        "equal": equal,
        "ours_wall_s": mean["ours"][0],
        "raw_wall_s": mean["theirs"][0],
        "ratio_wall": mean["theirs"][0] / mean["ours"][0],
        "ratio_cpu": mean["theirs"][1] / mean["ours"][1],
    }


def main() -> None:
    """Build the log, run both cases, print one table."""
    options = arguments(__doc__ or "")
    world = World(10_000, 3_200, 125, 7) if options.quick else World(500_000, 160_000, 125, 35)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse.create(Path(folder) / "warehouse", engine=EngineSpec(memory_gb=MEMORY_GB, threads=2))
        write_events(warehouse, world)
        rows = [*labels(warehouse, world, count=2_000 if options.quick else 200_000)]
        rows.append(distinct_items(warehouse, world, Path(folder) / "raw.parquet"))
    show("Sets of windows beside DuckDB over the raw log", rows, to=options.json)


if __name__ == "__main__":
    main()
