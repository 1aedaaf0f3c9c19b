"""Small event logs, how they get into a warehouse, and the slow, obvious way to read a window from them."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import strategies as st

from sojourn.core import MONEY, UTC_US
from sojourn.rollups import AggregateSpec, RollupSpec
from sojourn.warehouse import Warehouse


class Event(NamedTuple):
    event_id: str
    user_id: str
    ts: datetime
    event: str
    amount: Decimal | None


SCHEMA: dict[str, pl.DataType] = {
    "event_id": pl.String(),
    "user_id": pl.String(),
    "ts": UTC_US,
    "event": pl.String(),
    "amount": MONEY,
}

# Every aggregate, with and without filter and expression.
EVERY = {
    "events": AggregateSpec(function="count"),
    "paid": AggregateSpec(function="count", expression="amount", where="event = 'pay'"),
    "spend": AggregateSpec(function="sum", expression="amount"),
    "back": AggregateSpec(function="sum", expression="-amount", where="amount < 0"),
    "least": AggregateSpec(function="min", expression="amount"),
    "most": AggregateSpec(function="max", expression="amount", where="event = 'pay'"),
    "typical": AggregateSpec(function="mean", expression="amount"),
    "days": AggregateSpec(function="active_days"),
    "pay_days": AggregateSpec(function="active_days", where="event = 'pay'"),
    "first_amount": AggregateSpec(function="first", expression="amount"),
    "last_event": AggregateSpec(function="last", expression="event"),
    "last_pay": AggregateSpec(function="last", expression="amount", where="event = 'pay'"),
    "since": AggregateSpec(function="recency"),
    "since_pay": AggregateSpec(function="recency", where="event = 'pay'"),
}


def rollup(**changes: Any) -> RollupSpec:
    """A rollup of every aggregate over 1, 3 and 7 days."""
    return RollupSpec(**{"name": "every", "aggregates": EVERY, "windows_days": (1, 3, 7), **changes})


def business_day(ts: datetime, zone: str) -> date:
    return ts.astimezone(ZoneInfo(zone)).date()


def put_events(warehouse: Warehouse, events: Iterable[Event]) -> None:
    """Write the log, one partition a business day, as an ingest would: one row per `event_id`."""
    days: dict[date, dict[str, Event]] = {}
    for event in events:
        days.setdefault(business_day(event.ts, warehouse.spec.zone), {})[event.event_id] = event
    stored = {each.partition["day"]: each.fingerprint for each in warehouse.partitions("events")}
    with warehouse.writing("events") as writer:
        for gone in set(stored) - {str(day) for day in days}:
            writer.drop({"day": gone})
        for day, rows in sorted(days.items()):
            frame = pl.DataFrame(list(rows.values()), schema=SCHEMA, orient="row").sort("user_id", "ts", "event_id")
            content = hashlib.sha256(frame.write_csv().encode()).hexdigest()[:16]
            if stored.get(str(day)) != content:
                order = ["user_id", "ts", "event_id"]
                writer.put({"day": str(day)}, frame, order_by=order, fingerprint=content)


def naive(events: Iterable[Event], *, zone: str, as_of: date, days: int) -> dict[str, dict[str, Any]]:
    """Every aggregate of `EVERY` per user over [as_of - days, as_of), read from the raw log, one event at a time."""
    once = {event.event_id: event for event in events}.values()
    seen: dict[str, list[Event]] = {}
    for event in once:
        if as_of - timedelta(days=days) <= business_day(event.ts, zone) < as_of:
            seen.setdefault(event.user_id, []).append(event)
    return {user: _values(sorted(rows, key=lambda e: (e.ts, e.event_id)), zone, as_of) for user, rows in seen.items()}


def _values(rows: list[Event], zone: str, as_of: date) -> dict[str, Any]:
    pays = [each for each in rows if each.event == "pay"]
    amounts = [each.amount for each in rows if each.amount is not None]
    paid = [each.amount for each in pays if each.amount is not None]
    last_day = max((business_day(each.ts, zone) for each in rows), default=None)
    last_pay_day = max((business_day(each.ts, zone) for each in pays), default=None)
    return {
        "events": len(rows),
        "paid": len(paid),
        "spend": sum(amounts),
        "back": -sum(amount for amount in amounts if amount < 0),
        "least": min(amounts, default=None),
        "most": max(paid, default=None),
        "typical": float(sum(amounts)) / len(amounts) if amounts else None,
        "days": len({business_day(each.ts, zone) for each in rows}),
        "pay_days": len({business_day(each.ts, zone) for each in pays}),
        "first_amount": amounts[0] if amounts else None,
        "last_event": rows[-1].event if rows else None,
        "last_pay": paid[-1] if paid else None,
        "since": (as_of - last_day).days if last_day else None,
        "since_pay": (as_of - last_pay_day).days if last_pay_day else None,
    }


NOTHING = _values([], "UTC", date(2024, 1, 1))


def amounts() -> st.SearchStrategy[Decimal | None]:
    return st.none() | st.integers(-50_000, 50_000).map(lambda cents: Decimal(cents) / 10_000)


def logs(start: datetime, *, days: int, min_size: int = 0) -> st.SearchStrategy[list[Event]]:
    """Up to 30 random events of three users in the `days` after an instant; ids are unique, times repeat."""
    minutes = st.integers(0, days * 24 * 12 - 1).map(lambda step: start + timedelta(minutes=5 * step))
    rows = st.tuples(st.sampled_from(["ann", "bob", "cat"]), minutes, st.sampled_from(["pay", "see"]), amounts())
    return st.lists(rows, min_size=min_size, max_size=30).map(
        lambda drawn: [Event(f"e{(7 * at) % 31:02}", *row) for at, row in enumerate(drawn)]
    )


def anchor(day: date, zone: str) -> Event:
    """One event at noon, so that history begins on this day."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return Event("anchor", "zoe", noon, "see", None)
