"""Every kind of window over every aggregate equals its twin, which reads the raw log one event at a time."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from sojourn.core import MONEY, UTC_US
from sojourn.rollups import AggregateSpec, ElementSql, RollupSpec, aggregate, backfill, window_table
from sojourn.rollups.dialect import DuckDBSql
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.rollups.test_aggregates import same

Event = dict[str, Any]
Read = Callable[[Event], Any]
ONE_DAY = timedelta(days=1)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SCHEMA: dict[str, Any] = {
    "event_id": pl.String,
    "user_id": pl.String,
    "shop": pl.Int64,
    "ts": UTC_US,
    "event": pl.String,
    "amount": MONEY,
    "score": pl.Float64,
    "tags": pl.List(pl.String),
}
WINDOWS = ("week_to_date", "month_to_date", "last_week", "last_month", "last_quarter", "all", "24h", "50h", "first_7d")
PAY: Read = lambda e: e["event"] == "pay"  # noqa: E731
AMOUNT, EVENT, TAGS, SCORE = (lambda e, column=column: e[column] for column in ("amount", "event", "tags", "score"))
SHORT = {"windows_days": (1, 30), "windows": ("week_to_date", "last_week", "last_month", "50h")}


@dataclass(frozen=True)
class Asked:
    """An aggregate in SQL, and what it reads of an event in Python."""

    spec: AggregateSpec
    kind: str = "INTEGER"
    value: Read = lambda _: 1
    where: Read = lambda _: True
    by: Read = lambda _: None


def asked(function: str, kind: str = "INTEGER", value: Read | None = None, /, **settings: Any) -> Asked:
    """An aggregate over a column of the log, perhaps of payments alone."""
    names = {id(read): name for name, read in zip(("amount", "event", "tags", "score"), COLUMNS, strict=True)}
    spec = AggregateSpec(function=function, expression=None if value is None else names[id(value)], **settings)
    where = PAY if "where" in settings else lambda _: True
    by = EVENT if "by" in settings else lambda _: None
    return Asked(spec, kind, value or (lambda _: 1), where, by)


COLUMNS = (AMOUNT, EVENT, TAGS, SCORE)
DECIMAL = "DECIMAL(18,4)"
EVERY = {
    "events": asked("count"),
    "paid": asked("count", where="event = 'pay'"),
    "spend": asked("sum", DECIMAL, AMOUNT),
    "scores": asked("sum", "DOUBLE", SCORE),
    "least": asked("min", "VARCHAR", EVENT),
    "most": asked("max", DECIMAL, AMOUNT, where="event = 'pay'"),
    "typical": asked("mean", DECIMAL, AMOUNT),
    "spread": asked("variance", DECIMAL, AMOUNT),
    "deviation": asked("std", DECIMAL, AMOUNT, where="event = 'pay'"),
    "median": asked("quantile", DECIMAL, AMOUNT, q=0.5),
    "high": asked("quantile", "DOUBLE", SCORE, q=0.9),
    "first_amount": asked("first", DECIMAL, AMOUNT),
    "last_pay": asked("last", DECIMAL, AMOUNT, where="event = 'pay'"),
    "last_events": asked("last_n", "VARCHAR", EVENT, k=3),
    "longest_tag": asked("longest", "VARCHAR[]", TAGS),
    "top_tag": asked("top_k", "VARCHAR[]", TAGS),
    "top_events": asked("top_k", "VARCHAR", EVENT, k=2),
    "prices": asked("count_distinct", DECIMAL, AMOUNT),
    "about_tags": asked("approx_count_distinct", "VARCHAR[]", TAGS, where="event = 'pay'"),
    "by_event": asked("count_by", by="event"),
    "spend_by_event": asked("sum_by", DECIMAL, AMOUNT, by="event"),
    "hours": asked("hour_histogram"),
    "weekdays": asked("weekday_histogram", where="event = 'pay'"),
    "days": asked("active_days"),
    "bitmap": asked("active_bitmap", **SHORT),
    "streak": asked("streak"),
    "streak_of_pay": asked("streak", where="event = 'pay'"),
    "longest_streak": asked("longest_streak"),
    "since_pay": asked("recency", where="event = 'pay'"),
}


def rollup(**changes: Any) -> RollupSpec:
    specs = {name: each.spec for name, each in EVERY.items()}
    return RollupSpec(**{"aggregates": specs, "windows_days": (1, 7, 30), "windows": WINDOWS, **changes})


def log(seed: int, first: date, zone: str, days: int) -> list[Event]:
    """150 events of two users and of nobody on some 25 days, most of them in runs near the end."""
    rng, start = random.Random(seed), datetime.combine(first, time(12), ZoneInfo(zone))
    ago = [*range(4), *rng.sample(range(4, 12), 4), *rng.sample(range(12, 70), 10), *rng.sample(range(70, days), 6)]
    found = []
    for at in range(150):
        back = rng.choice([rng.choice(ago), rng.choice(ago[:8])])
        ts = start + timedelta(days=days - 1 - back if at else 0, minutes=5 * rng.randrange(-144, 144) if at else 0)
        found.append(
            {
                "event_id": f"e{7 * at % 151:03}",
                "user_id": rng.choice(["ann", "ann", "bob", None]) if at else "ann",
                "shop": rng.choice([1, 2, None]),
                "ts": ts.astimezone(UTC),
                "event": rng.choice(["pay", "see", "öffnen", "\U0001f600", None]),
                "amount": rng.choice([None, Decimal(rng.randrange(-50_000, 50_000)).scaleb(-4), Decimal("1.5000")]),
                "score": rng.choice([None, rng.lognormvariate(0, 2), -0.25, 0.0]),
                "tags": rng.choice([None, [], [None], ["a", "bb", "a"], ["\uffee", "\U0001f600"], ["zz", "ää"]]),
            }
        )
    return found


def day_of(event: Event, zone: str) -> date:
    day: date = event["ts"].astimezone(ZoneInfo(zone)).date()
    return day


def put(warehouse: Warehouse, events: Iterable[Event]) -> None:
    """Write the log, one partition a business day."""
    days: dict[date, list[Event]] = {}
    for event in events:
        days.setdefault(day_of(event, warehouse.spec.zone), []).append(event)
    with warehouse.writing("events") as writer:
        for day, rows in sorted(days.items()):
            frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("event_id")
            mark = sha256(repr(frame.rows()).encode()).hexdigest()[:16]
            writer.put({"day": str(day)}, frame, order_by=["event_id"], fingerprint=mark)


def span(window: str, as_of: date, week_start: int) -> tuple[date, date]:
    """The days [start, end) of a window over days, found one day at a time."""
    if window[:-1].isdigit():
        return as_of - int(window[:-1]) * ONE_DAY, as_of
    size = window.removeprefix("last_").removesuffix("_to_date")
    begins = {
        "week": lambda day: day.weekday() == week_start,
        "month": lambda day: day.day == 1,
        "quarter": lambda day: day.day == 1 and day.month in (1, 4, 7, 10),
    }[size]
    start = next(day for day in backwards(as_of) if begins(day))
    if window.endswith("to_date"):
        return start, as_of
    return next(day for day in backwards(start - ONE_DAY) if begins(day)), start


def backwards(day: date) -> Iterator[date]:
    while True:
        yield day
        day -= ONE_DAY


def in_window(window: str, as_of: date, events: list[Event], zone: str, week_start: int) -> tuple[list[Event], date]:
    """The events of one key in a window, and the day after the window's last."""
    past = [event for event in events if day_of(event, zone) < as_of]
    if window == "all":
        return past, as_of
    if window.startswith("first_"):
        first = min((day_of(event, zone) for event in events), default=as_of)
        return [event for event in past if day_of(event, zone) < first + 7 * ONE_DAY], as_of
    if window.endswith("h") and window != "last_month":
        midnight = datetime.combine(as_of, time(0), ZoneInfo(zone)).astimezone(UTC)
        return [event for event in past if event["ts"] >= midnight - timedelta(hours=int(window[:-1]))], as_of
    start, end = span(window, as_of, week_start)
    return [event for event in past if start <= day_of(event, zone) < end], end


def value_of(each: Asked, events: list[Event], *, as_of: date, end: date, zone: str, week_start: int) -> Any:
    """The aggregate over these events, in Python."""
    by_kind = "VARCHAR" if each.spec.by else None
    bound = aggregate(each.spec.function)(
        kind=each.kind, by_kind=by_kind, k=each.spec.k, q=each.spec.q, zone=zone, week_start=week_start
    )
    rows = [
        {**e, "day": day_of(e, zone), "value": each.value(e) if each.where(e) else None, "by": each.by(e)}
        for e in events
    ]
    seen_from = end if isinstance(bound.sql(DuckDBSql()), ElementSql) else as_of
    return bound.finish(bound.lift(rows), seen_from)


def assert_equals_twin(
    table: pl.DataFrame, events: list[Event], spec: RollupSpec, as_ofs: list[date], zone: str, week_start: int
) -> None:
    """Every value of every key, window and day equals its twin's."""
    keys: dict[tuple[Any, ...], list[Event]] = {}
    for event in events:
        keys.setdefault(tuple(event[key] for key in spec.keys), []).append(event)
    found = {(row["as_of"], *(row[key] for key in spec.keys)): row for row in table.iter_rows(named=True)}
    there = {(d, *key) for d in as_ofs for key, rows in keys.items() if any(day_of(e, zone) < d for e in rows)}
    assert set(found) == there
    for as_of, *key in sorted(there, key=str):
        for name, windows in spec.reading().items():
            for window in windows:
                rows, end = in_window(window.name, as_of, keys[tuple(key)], zone, week_start)
                wanted = value_of(EVERY[name], rows, as_of=as_of, end=end, zone=zone, week_start=week_start)
                got = found[as_of, *key][f"{name}_{window.name}"]
                assert same(got, wanted), f"{name}_{window.name} of {key} as of {as_of}: {got!r} for {wanted!r}"


PLACES: Mapping[str, tuple[str, str, date]] = {
    "New York springs forward": ("America/New_York", "sunday", date(2024, 3, 12)),
    "New York falls back": ("America/New_York", "wednesday", date(2024, 11, 5)),
    "Kolkata is half an hour off": ("Asia/Kolkata", "monday", date(2024, 3, 1)),
    "Apia skips 2011-12-30": ("Pacific/Apia", "saturday", date(2012, 1, 2)),
    "London before 1970": ("Europe/London", "tuesday", date(1968, 3, 31)),
}
SPARKS = ("last_month", "50h", "first_7d")
QUICK = ("New York springs forward", "London before 1970")


@pytest.mark.parametrize(
    "place", [*QUICK, *(pytest.param(p, marks=pytest.mark.slow) for p in PLACES if p not in QUICK)]
)
def test_every_window_equals_its_twin(place, tmp_path):
    zone, week_start, last = PLACES[place]
    keys = ("shop", "user_id") if week_start == "sunday" else ("user_id",)
    as_ofs = [last - 31 * ONE_DAY, last - ONE_DAY, last]
    events = log(len(place), last - 240 * ONE_DAY, zone, 240)
    settings = WarehouseSpec(zone=zone, week_start=week_start)
    warehouse = Warehouse.create(tmp_path / "w", settings, engine=EngineSpec(threads=1))
    put(warehouse, events)
    spec = rollup(keys=keys)
    backfill(warehouse, spec)
    table = window_table(warehouse, spec, as_ofs=as_ofs)
    assert_equals_twin(table, events, spec, as_ofs, zone, WEEKDAYS.index(week_start))


@pytest.mark.slow
def test_spark_reads_what_duckdb_wrote_and_gives_the_same_windows(tmp_path: Path, spark: EngineSpec):
    zone, week_start, last = PLACES["New York springs forward"]
    some = ("spend", "spread", "scores", "last_events", "top_events", "high", "by_event", "hours", "days", "streak")
    spec = rollup(aggregates={name: EVERY[name].spec for name in some}, windows_days=(7,), windows=SPARKS)
    events = log(1, last - 240 * ONE_DAY, zone, 240)
    warehouse = Warehouse.create(tmp_path / "w", WarehouseSpec(zone=zone, week_start=week_start))
    put(warehouse, events)
    backfill(warehouse, spec)
    table = window_table(Warehouse.open(tmp_path / "w", engine=spark), spec, as_ofs=[last])
    assert_equals_twin(table, events, spec, [last], zone, WEEKDAYS.index(week_start))
