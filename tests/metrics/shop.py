"""A log of three users small enough to count by hand, in a week of May that begins on Monday the 6th."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal

from sojourn.metrics import BoardSpec
from sojourn.warehouse import Warehouse
from tests.metrics.naive import Event, put_events

MONDAY = date(2024, 5, 6)
BOARD = BoardSpec(active="event <> 'pay'", event_dims={"city": "city"}, unbounded_ages=(1, 3, 7), brackets=((1, 2),))


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 5, day, hour, minute, tzinfo=UTC)


def row(user: str, ts: datetime, event: str = "see", amount: str | None = None, city: str | None = "oslo") -> Event:
    return Event(f"{user}-{event}-{ts:%d%H%M}", user, ts, event, None if amount is None else Decimal(amount), city)


LOG = [
    row("ann", at(6, 10)),
    row("ann", at(6, 10, 20)),
    row("ann", at(6, 10, 51)),
    row("ann", at(7, 9)),
    row("ann", at(7, 9, 30), "pay", "10"),
    row("bob", at(7, 23, 50), city="rome"),
    row("bob", at(8, 0, 10), city="oslo"),
    row("cat", at(8, 12), city=None),
    row("cat", at(8, 12, 5), "pay", "-4"),
    row("ann", at(13, 8)),
]


def put(warehouse: Warehouse, events: Iterable[Event] = LOG) -> Warehouse:
    put_events(warehouse, events)
    return warehouse
