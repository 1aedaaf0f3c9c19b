"""Small logs of an app with ads, and everything that acquisition says of them once more, in the slowest obvious way."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
from hypothesis import strategies as st

from sojourn.core import MONEY, UTC_US
from sojourn.metrics import AcquisitionSpec, AttributionSpec, TouchRule
from sojourn.warehouse import Warehouse

START = date(2025, 3, 1)
ADS = TouchRule(name="ads", where="event = 'ad'", channel="network", campaign="creative")
SCHEMA: dict[str, Any] = {
    "event_id": pl.String,
    "user_id": pl.String,
    "ts": UTC_US,
    "arrived_at": UTC_US,
    "event": pl.String,
    "item_id": pl.String,
    "amount": MONEY,
    "network": pl.String,
    "creative": pl.String,
    "currency": pl.String,
}
Event = dict[str, Any]


def event(user: str, kind: str, hours: int, **more: Any) -> Event:
    ts = datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(hours=hours)
    return {"user_id": user, "event": kind, "ts": ts, "arrived_at": ts, **more}


def rows(days: int = 9, size: int = 40) -> st.SearchStrategy[list[Event]]:
    """Logs of four users: ads of two networks (or of none that is known), launches, payments and refunds."""
    hours = st.integers(0, days * 24 - 1)
    who = st.sampled_from(["ann", "bob", "cem", "dia"])
    ad = st.builds(
        lambda u, h, n, c: event(u, "ad", h, network=n, creative=c),
        who,
        hours,
        st.sampled_from(["north", "south", None]),
        st.sampled_from(["cat", None]),
    )
    launch = st.builds(lambda u, h: event(u, "launch", h), who, hours)
    paid = st.builds(
        lambda u, h, a: event(u, "pay", h, amount=Decimal(a) / 100),
        who,
        hours,
        st.integers(-900, 2500).filter(bool),
    )
    return st.lists(st.one_of(ad, launch, paid), min_size=1, max_size=size).map(numbered)


def numbered(events: Sequence[Event]) -> list[Event]:
    return [{**each, "event_id": f"e{n:03d}"} for n, each in enumerate(events)]


def put_log(warehouse: Warehouse, events: Sequence[Event]) -> None:
    """Write the events as the warehouse's log, one partition a day; days without any are dropped."""
    days: dict[str, list[Event]] = defaultdict(list)
    for each in events:
        days[each["ts"].date().isoformat()].append({name: each.get(name) for name in SCHEMA})
    with warehouse.writing("events") as writer:
        for place in warehouse.places("events"):
            if place["day"] not in days:
                writer.drop(place)
        for day, found in days.items():
            frame = pl.DataFrame(found, schema=SCHEMA)
            writer.put({"day": day}, frame, order_by=["event_id"], fingerprint=str(sorted(map(repr, found))))


def put_costs(warehouse: Warehouse, costs: Sequence[tuple[date, str | None, str | None, str, str | None]]) -> None:
    schema = {"day": pl.Date, "channel": pl.String, "campaign": pl.String, "amount": pl.String, "currency": pl.String}
    frame = pl.DataFrame(costs, schema=schema, orient="row").with_columns(pl.col("amount").cast(MONEY))
    with warehouse.writing("costs") as writer:
        writer.put({}, frame, order_by=list(schema), fingerprint=repr(costs))


def put_users(warehouse: Warehouse, users: Sequence[dict[str, Any]]) -> None:
    schema: dict[str, Any] = {"user_id": pl.String, "valid_from": UTC_US, "channel": pl.String, "campaign": pl.String}
    frame = pl.DataFrame(
        [{name: each.get(name) for name in (*schema, "is_test")} for each in users],
        schema={**schema, "is_test": pl.Boolean},
    )
    with warehouse.writing("users") as writer:
        writer.put({}, frame, order_by=list(schema), fingerprint=repr(users))


def board(**attribution: Any) -> AcquisitionSpec:
    """A board that owes acquisitions to ads, with a seventieth part of margin in a hundred."""
    said = {"touches": (ADS,), "model": "last", "active": "event = 'launch'", **attribution}
    return AcquisitionSpec(
        attribution=AttributionSpec(**said),
        margin_share=0.7,
        customer_days=3,
        horizon_days=10,
        allow=("north", "south"),
    )


@dataclass(frozen=True)
class Acquired:
    user: str
    day: date
    at: datetime
    number: int
    channel: str
    campaign: str
    touch_at: datetime | None


def acquired(events: Sequence[Event], spec: AttributionSpec) -> list[Acquired]:
    """Every acquisition by ads, user by user and event by event."""
    found = []
    for user in sorted({each["user_id"] for each in events}):
        own = sorted((e for e in events if e["user_id"] == user), key=lambda e: (e["ts"], e["event_id"]))
        last_day: date | None = None
        previous: Acquired | None = None
        for each in own:
            if each["event"] != "launch":
                continue
            day = each["ts"].date()
            gap = spec.reinstall_gap_days
            is_start = last_day is None or (gap is not None and (day - last_day).days >= gap)
            last_day = day
            if is_start:
                number = 1 if previous is None else previous.number + 1
                previous = owed(own, each, number=number, previous=previous, spec=spec)
                found.append(previous)
    return sorted(found, key=lambda a: (a.user, a.number))


def owed(
    own: Sequence[Event], start: Event, *, number: int, previous: Acquired | None, spec: AttributionSpec
) -> Acquired:
    at = start["ts"]
    touches = []
    for each in own:
        if each["event"] != "ad" or each.get("network") is None or each["ts"] > at:
            continue
        if previous is not None and each["ts"] <= previous.at:
            continue
        if spec.lookback_days is not None and each["ts"] < at - timedelta(days=spec.lookback_days):
            continue
        touches.append(each)
    if not touches:
        return Acquired(start["user_id"], at.date(), at, number, spec.organic, "(none)", None)
    touch = touches[0] if spec.model == "first" else touches[-1]
    return Acquired(
        start["user_id"], at.date(), at, number, touch["network"], touch.get("creative") or "(none)", touch["ts"]
    )


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP)


def value_rows(events: Sequence[Event], spec: AcquisitionSpec) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What every cohort did on every day: by (day, acquired_on, channel, campaign), of nobody's cohort too."""
    starts = acquired(events, spec.attribution)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    who: dict[tuple[Any, ...], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    customers: set[tuple[str, date]] = set()
    for each in sorted(events, key=lambda e: e["ts"]):
        day, user = each["ts"].date(), each["user_id"]
        own = [a for a in starts if a.user == user and a.day <= day]
        key = (day, own[-1].day, own[-1].channel, own[-1].campaign) if own else (day, None, None, None)
        names = ("gross", "refunds", "revenue", "margin")
        cell = found.setdefault(key, dict.fromkeys(names, Decimal(0)))
        amount = each.get("amount") or Decimal(0)
        cell["gross"] += max(amount, Decimal(0))
        cell["refunds"] += min(amount, Decimal(0))
        cell["revenue"] += amount
        cell["margin"] += cents(amount * Decimal(str(spec.margin_share)))
        if each["event"] == "launch":
            who[key]["active"].add(user)
        if amount > 0:
            who[key]["paying"].add(user)
            if own and (user, own[-1].day) not in customers:
                customers.add((user, own[-1].day))
                who[key]["new_customers"].add(user)
    for key, cell in found.items():
        cell.update({name: len(who[key][name]) for name in ("active", "paying", "new_customers")})
    return found
