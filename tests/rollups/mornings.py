"""A log taken in morning by morning, with late rows, corrections and late portraits; and what each job wrote."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.core import MONEY, UTC_US
from sojourn.events import IngestSpec, ingest
from sojourn.rollups import AggregateSpec, RollupSpec
from sojourn.rollups.windows import day_start
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.rollups.logs import business_day

FIRST = date(2024, 2, 27)
MORNINGS = [date(2024, 4, 27) + timedelta(days=each) for each in range(6)]
LONELY = date(2024, 4, 28)  # a day whose only event is moved to another
AFTER_HOURS = 6
EVENTS: dict[str, pl.DataType] = {
    "event_id": pl.String(),
    "user_id": pl.String(),
    "ts": UTC_US,
    "arrived_at": UTC_US,
    "event": pl.String(),
    "amount": MONEY,
    "channel": pl.String(),
}
USERS: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "valid_from": UTC_US,
    "arrived_at": UTC_US,
    "country": pl.String(),
    "is_test": pl.Boolean(),
}
Row = tuple[Any, ...]


@dataclass(frozen=True)
class World:
    """Every version of every event and portrait; each has the time at which it arrives."""

    zone: str
    events: list[Row]
    users: list[Row]


def known_rollup(part: int) -> RollupSpec:
    """A third of all functions there are, over every kind of window."""
    few, long = {"windows_days": (1, 7)}, {"windows_days": (7, 40)}
    texts: dict[str, Any] = {"expression": "channel", **few}
    aggregates: dict[str, dict[str, Any]] = {
        "rows": {"function": "count"},
        "spend": {"function": "sum", "expression": "amount", "where": "event = 'pay'"},
        "rate": {"function": "sum", "expression": "CAST(amount AS DOUBLE) / 3"},
        "least": {"function": "min", "expression": "amount"},
        "most": {"function": "max", "expression": "amount"},
        "typical": {"function": "mean", "expression": "amount"},
        "spread": {"function": "std", "expression": "amount", **long},
        "variance": {"function": "variance", "expression": "amount", **few},
        "median": {"function": "quantile", "expression": "amount", "q": 0.5, **long},
        "first_amount": {"function": "first", "expression": "amount"},
        "last_event": {"function": "last", "expression": "event"},
        "last_three": {"function": "last_n", "expression": "event", "k": 3, **long},
        "longest": {"function": "longest", **texts},
        "favourite": {"function": "top_k", "k": 2, **texts},
        "channels": {"function": "count_distinct", "expression": "channel"},
        "amounts": {"function": "approx_count_distinct", "expression": "amount", **long},
        "by_channel": {"function": "count_by", "by": "channel", **few},
        "spend_by": {"function": "sum_by", "expression": "amount", "by": "channel", **long},
        "hours": {"function": "hour_histogram", **few},
        "weekdays": {"function": "weekday_histogram", **long},
        "days": {"function": "active_days"},
        "bitmap": {"function": "active_bitmap", **long},
        "streak": {"function": "streak", **long},
        "best_streak": {"function": "longest_streak", **long},
        "since": {"function": "recency"},
    }
    return RollupSpec(
        name="every",
        aggregates={name: AggregateSpec(**each) for name, each in list(aggregates.items())[part::3]},
        windows_days=(1, 3, 7, 40),
        windows=("week_to_date", "month_to_date", "last_week", "last_month", "all", "30h", "first_3d"),
    )


def world(seed: int, zone: str) -> World:
    """Some ten events a day of eight users: most arrive within hours, some days later; some come again changed."""
    chance = random.Random(seed)
    events: list[Row] = []
    days = [FIRST + timedelta(days=each) for each in range((MORNINGS[-1] - FIRST).days + 1)]
    for day in days:
        noon = day_start(day, zone) + timedelta(hours=12)
        if day != LONELY:
            events.append((f"anchor{day}", "zoe", noon, noon, "see", None, None))
            events += [row for number in range(chance.randint(0, 16)) for row in _event(chance, day, number, zone)]
    noon = day_start(LONELY, zone) + timedelta(hours=12)
    lonely = ("lonely", "late_user", noon, noon, "pay", Decimal(5), "web")
    moved = (*lonely[:2], noon - timedelta(days=3), noon + timedelta(days=2), *lonely[4:])
    return World(zone, [*events, lonely, moved], list(_portraits(chance, zone)))


def _event(chance: random.Random, day: date, number: int, zone: str) -> Iterator[Row]:
    """The versions of an event, in the order in which they arrive."""
    ts = day_start(day, zone) + timedelta(seconds=chance.randrange(23 * 3600))
    arrived = ts + timedelta(hours=chance.choice([0, 0, 0, 1, 5, 30, 100]), seconds=chance.randrange(1800))
    user = f"u{chance.randrange(8)}"
    yield (f"e{day}{number}", user, ts, arrived, *_content(chance))
    while chance.random() < 0.2:
        arrived += timedelta(hours=chance.randint(1, 90))
        if chance.random() < 0.4:
            earlier = ts - timedelta(hours=chance.randrange(60))
            user, ts = f"u{chance.randrange(9)}", ts if business_day(earlier, zone) == LONELY else earlier
        yield (f"e{day}{number}", user, ts, arrived, *_content(chance))


def _content(chance: random.Random) -> Row:
    amount = Decimal(chance.randint(-300, 3000)) / 100 if chance.random() < 0.8 else None
    return chance.choice(["pay", "see"]), amount, chance.choice(["web", "app", "shop", "partner", None])


def _portraits(chance: random.Random, zone: str) -> Iterator[Row]:
    for user in [*(f"u{number}" for number in range(8)), "late_user"]:
        for _ in range(chance.randint(0, 4)):
            begins = day_start(chance.choice(MORNINGS), zone) + timedelta(hours=chance.choice([-50, -1, 0, 1]))
            for _ in range(chance.randint(1, 2)):
                arrived = begins + timedelta(hours=chance.choice([0, 2, 20, 80]), seconds=chance.randrange(3600))
                yield user, begins, arrived, chance.choice(["NO", "IN", None]), chance.random() < 0.2


@dataclass(frozen=True)
class Lived:
    """A warehouse at the end of all mornings, and what was written on them."""

    warehouse: Warehouse
    written: pl.DataFrame


def live_through(folder: Path, world: World, job: Callable[[Warehouse, date], pl.DataFrame]) -> Lived:
    """Take in every morning what has arrived since the last, and keep what the job wrote then."""
    warehouse = Warehouse.create(folder / "w", WarehouseSpec(zone=world.zone), engine=EngineSpec(threads=1))
    instants = [day_start(morning, world.zone) + timedelta(hours=AFTER_HOURS) for morning in MORNINGS]
    ends = [*instants, instants[-1] + timedelta(days=40)]
    written = []
    for at, since in enumerate([None, *instants]):
        take_in(warehouse, world, folder, since=since, until=ends[at])
        if at < len(MORNINGS):
            written.append(job(warehouse, MORNINGS[at]))
    return Lived(warehouse, pl.concat(written))


def take_in(warehouse: Warehouse, world: World, folder: Path, *, since: datetime | None, until: datetime) -> None:
    """Ingest what arrived after one instant and up to another."""
    for table, rows, schema in (("events", world.events, EVENTS), ("users", world.users, USERS)):
        frame = pl.DataFrame(rows, schema=schema, orient="row").filter(pl.col("arrived_at") <= until)
        frame = frame if since is None else frame.filter(pl.col("arrived_at") > since)
        if frame.height:
            file = folder / f"{table}.parquet"
            frame.write_parquet(file)
            ingest(warehouse, IngestSpec(table=table, files=(str(file),)), as_of=until)
