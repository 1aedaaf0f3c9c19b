"""A small shop with portraits, and the slow, obvious way to its features."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl

from sojourn.core import UTC_US
from sojourn.features import FeatureSpec, LabelSpec
from sojourn.rollups import AggregateSpec, RollupSpec
from sojourn.warehouse import Warehouse
from tests.rollups.logs import Event, business_day

FIRST = date(2024, 4, 20)
AS_OF = date(2024, 5, 1)
PORTRAIT: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "valid_from": UTC_US,
    "valid_to": UTC_US,
    "country": pl.String(),
    "is_test": pl.Boolean(),
}
Version = tuple[str, datetime, datetime | None, str | None, bool | None]


def small_spec(**changes: Any) -> FeatureSpec:
    """Few aggregates over 1, 3 and 7 days, labels over 2 and 4: quick to compute, nothing left out in kind."""
    rollup = RollupSpec(
        name="small",
        aggregates={
            "events": AggregateSpec(function="count"),
            "active_days": AggregateSpec(function="active_days"),
            "purchase_days": AggregateSpec(function="active_days", where="event = 'pay'"),
            "spend": AggregateSpec(function="sum", expression="amount"),
            "largest": AggregateSpec(function="max", expression="amount", windows_days=(7,)),
            "last_event": AggregateSpec(function="last", expression="event", windows_days=(7,)),
        },
        windows_days=(1, 3, 7),
    )
    labels = LabelSpec(aggregates=("spend", "events"), horizons_days=(2, 4))
    return FeatureSpec(**{"rollup": rollup, "labels": labels, "history_days": 7, **changes})


def noon(day: int, month: int = 5) -> datetime:
    return datetime(2024, month, day, 12, tzinfo=UTC)


def put_users(
    warehouse: Warehouse, versions: Iterable[tuple[Any, ...]], schema: dict[str, pl.DataType] | None = None
) -> None:
    frame = pl.DataFrame(list(versions), schema=schema or PORTRAIT, orient="row")
    with warehouse.writing("users") as writer:
        told = str(frame.hash_rows().sort().to_list())
        writer.put({}, frame, order_by=["user_id", "valid_from"], fingerprint=f"users-{hash(told)}")


def frame_log(days: int = 16) -> list[Event]:
    """Ann pays 10 on odd days, bob looks in daily from the 5th day on, cat came once; days are counted from `FIRST`."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, 12, tzinfo=UTC)
    ann = [Event(f"a{n:02}", "ann", start + timedelta(days=n), "pay", Decimal(10)) for n in range(0, days, 2)]
    bob = [Event(f"b{n:02}", "bob", start + timedelta(days=n, hours=1), "see", None) for n in range(5, days)]
    return [*ann, *bob, Event("c00", "cat", start + timedelta(days=1), "pay", Decimal(7))]


def naive_habits(events: Iterable[Event], *, zone: str, as_of: date, pays_only: bool) -> dict[str, dict[str, Any]]:
    """Tenure, recency and gaps per user, one event at a time."""
    days: dict[str, set[date]] = {}
    for event in events:
        day = business_day(event.ts, zone)
        if day < as_of and (event.event == "pay" or not pays_only):
            days.setdefault(event.user_id, set()).add(day)
    return {user: _habits(sorted(seen), as_of) for user, seen in days.items()}


def _habits(days: list[date], as_of: date) -> dict[str, Any]:
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    mean = sum(gaps) / len(gaps) if gaps else None
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps) if mean is not None else None
    recency = (as_of - days[-1]).days
    return {
        "tenure_days": (as_of - days[0]).days,
        "recency_days": recency,
        "gap_mean_days": mean,
        "gap_std_days": variance**0.5 if variance is not None and len(gaps) > 1 else None,
        "gap_longest_days": max(gaps, default=None),
        "gap_last_days": gaps[-1] if gaps else None,
        "overdue": recency / mean if mean else None,
    }
