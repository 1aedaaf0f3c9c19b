"""Small logs with portraits beside them, and every metric counted the slow, obvious way: one set of users at a time."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import strategies as st

from sojourn.core import MONEY, UTC_US
from sojourn.metrics import BoardSpec, metric_relation, metrics_of
from sojourn.warehouse import Warehouse

DAY = timedelta(days=1)
START = date(2024, 2, 24)
BOARD = BoardSpec(
    active="event <> 'push'",
    exclude="user_id = 'bot'",
    test_accounts="is_test",
    portrait_dims=("channel",),
    event_dims={"city": "city"},
    margin_share=0.25,
    session_gap_minutes=45,
    brackets=((1, 2), (3, 5)),
    unbounded_ages=(1, 2, 4),
    unbounded_wait_days=3,
    funnels={"buy": {"steps": [{"name": "look", "where": "event = 'see'"}, {"name": "pay", "where": "amount > 0"}]}},
)


class Event(NamedTuple):
    """A row of the log. A random log also has rows of nobody, whose `user_id` is None: the twin drops them at once."""

    event_id: str
    user_id: str
    ts: datetime
    event: str
    amount: Decimal | None
    city: str | None


class Portrait(NamedTuple):
    user_id: str
    channel: str | None
    is_test: bool | None
    valid_from: datetime
    valid_to: datetime | None


SCHEMA: dict[str, Any] = {
    "event_id": pl.String(),
    "user_id": pl.String(),
    "ts": UTC_US,
    "event": pl.String(),
    "amount": MONEY,
    "city": pl.String(),
}
PORTRAITS: dict[str, Any] = {
    "user_id": pl.String(),
    "channel": pl.String(),
    "is_test": pl.Boolean(),
    "valid_from": UTC_US,
    "valid_to": UTC_US,
}


def business_day(ts: datetime, zone: str) -> date:
    return ts.astimezone(ZoneInfo(zone)).date()


def day_end(day: date, zone: str) -> datetime:
    after = day + DAY
    return datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def put_events(warehouse: Warehouse, events: Iterable[Event], *, table: str = "events") -> None:
    """Write the log, one partition a business day, as an ingest would: one row per `event_id`."""
    days: dict[str, dict[str, Event]] = {}
    for event in events:
        days.setdefault(str(business_day(event.ts, warehouse.spec.zone)), {})[event.event_id] = event
    stored = {each.partition["day"]: each.fingerprint for each in warehouse.partitions(table)}
    with warehouse.writing(table) as writer:
        for gone in set(stored) - set(days):
            writer.drop({"day": gone})
        for day, rows in sorted(days.items()):
            frame = pl.DataFrame(list(rows.values()), schema=SCHEMA, orient="row").sort("event_id")
            content = hashlib.sha256(frame.write_csv().encode()).hexdigest()[:16]
            if stored.get(day) != content:
                writer.put({"day": day}, frame, order_by=["event_id"], fingerprint=content)


def put_portraits(warehouse: Warehouse, portraits: Iterable[Portrait]) -> None:
    frame = pl.DataFrame(list(portraits), schema=PORTRAITS, orient="row")
    with warehouse.writing("users") as writer:
        writer.put({}, frame, order_by=["user_id", "valid_from"], fingerprint=str(frame.hash_rows().sum()))


def logs(*, days: int, zone: str) -> st.SearchStrategy[list[Event]]:
    """Up to 40 events of a few users and a bot in so many days, the first of them at noon of the first day."""
    begin = datetime(START.year, START.month, START.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    minutes = st.integers(0, days * 24 * 4 - 1).map(lambda step: begin + timedelta(minutes=15 * step))
    amount = st.none() | st.integers(-20_000, 60_000).map(lambda cents: Decimal(cents) / 10_000)
    who: st.SearchStrategy[Any] = st.sampled_from(["ann", "bob", "cat", "dan", "bot", "tester", None])
    row = st.tuples(
        who, minutes, st.sampled_from(["see", "see", "go", "push"]), amount, st.sampled_from(["x", "y", None])
    )
    anchor = Event("a", "zoe", begin + timedelta(hours=12), "see", None, "x")
    return st.lists(row, max_size=40).map(
        lambda drawn: [anchor, *(Event(f"e{(7 * at) % 41:02}", *row) for at, row in enumerate(drawn))]
    )


def portraits(zone: str) -> list[Portrait]:
    """Ann's channel changes, bob's begins later, the tester is one, others have none."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    change = day_end(START + DAY, zone)
    return [
        Portrait("ann", "ads", None, begin, change),
        Portrait("ann", "friend", False, change, None),
        Portrait("bob", "ads", False, day_end(START + 3 * DAY, zone), None),
        Portrait("cat", None, False, begin, None),
        Portrait("tester", "ads", True, begin, None),
    ]


Cell = tuple[str, str, date, tuple[str, ...], tuple[Any, ...]]
Figures = tuple[Decimal, Decimal | None, bool]


def stored(warehouse: Warehouse, board: BoardSpec) -> dict[Cell, Figures]:
    """Every metric of the board in all its finest rows, but for rows of nothing."""
    found: dict[Cell, Figures] = {}
    for name, metric in metrics_of(board).items():
        for grain in metric.grains:
            if not _published(warehouse, board, metric.shape, grain):
                continue
            for row in warehouse.engine.rows(f"SELECT * FROM {metric_relation(warehouse, board, name, grain=grain)}"):
                start, rest, (value, numerator, denominator, mature) = row[0], row[1:-4], row[-4:]
                dims, beside = rest[: len(board.dims)], rest[len(board.dims) :]
                exact = numerator / denominator if metric.kind == "ratio" and denominator else None
                if metric.kind == "ratio":
                    assert (value is None) == (not denominator)
                    assert exact is None or abs(value - float(exact)) <= 1e-12 * abs(value)
                else:
                    assert value == float(numerator)
                if numerator or denominator:
                    assert (name, grain, start, dims, beside) not in found
                    found[(name, grain, start, dims, beside)] = (numerator, denominator, mature)
    return found


def _published(warehouse: Warehouse, board: BoardSpec, shape: str, grain: str) -> bool:
    table = {"unbounded": board.unbounded_table, "funnel": board.funnels_table}.get(shape, board.values_table)
    return any(place["grain"] == grain for place in warehouse.places(table))


class Naive:
    """The log up to and with business day `last`, read one user at a time."""

    def __init__(
        self, events: Iterable[Event], people: Iterable[Portrait], board: BoardSpec, *, zone: str, last: date
    ) -> None:
        self.board, self.zone, self.last = board, zone, last
        once = {event.event_id: event for event in events}.values()
        every = [event for event in once if business_day(event.ts, zone) <= last]
        self.first = min(business_day(event.ts, zone) for event in every)
        self.bots = [event for event in every if event.user_id == "bot"]
        self.rows = [event for event in every if event.user_id not in ("bot", None)]
        self.active = [event for event in self.rows if event.event != "push"]
        self.days: dict[str, set[date]] = defaultdict(set)
        for event in self.active:
            self.days[event.user_id].add(self.day(event))
        self.born = {user: min(days) for user, days in self.days.items()}
        self.people = list(people)
        self.users = {user: self._dims(user) for user in {event.user_id for event in self.rows}}

    def day(self, event: Event) -> date:
        return business_day(event.ts, self.zone)

    def _portrait(self, user: str) -> Portrait | None:
        end = day_end(self.born[user], self.zone)
        valid = [p for p in self.people if p.user_id == user and p.valid_from < end]
        valid = [p for p in valid if p.valid_to is None or p.valid_to >= end]
        return max(valid, key=lambda p: p.valid_from, default=None)

    def left_out(self, user: str) -> bool:
        portrait = self._portrait(user) if user in self.born else None
        return bool(portrait and portrait.is_test)

    def _dims(self, user: str) -> tuple[str, str]:
        if user not in self.born:
            return ("unknown", "unknown")
        portrait = self._portrait(user)
        that_day = [e for e in self.active if e.user_id == user and self.day(e) == self.born[user]]
        cities = [e.city for e in sorted(that_day, key=lambda e: (e.ts, e.event_id)) if e.city is not None]
        return ((portrait and portrait.channel) or "unknown", cities[0] if cities else "unknown")

    def start_of(self, day: date, grain: str) -> date:
        if grain == "month":
            return day.replace(day=1)
        return day - timedelta(days=day.weekday()) if grain == "week" else day

    def end_of(self, start: date, grain: str) -> date:
        if grain == "month":
            return (start + timedelta(days=32)).replace(day=1)
        return start + (7 * DAY if grain == "week" else DAY)

    def age(self, cohort: date, start: date, grain: str) -> int:
        if grain == "month":
            return (start.year - cohort.year) * 12 + start.month - cohort.month
        return (start - cohort).days // (7 if grain == "week" else 1)

    def calendar(self) -> Iterator[date]:
        day = self.first
        while day <= self.last:
            yield day
            day += DAY

    def sessions(self) -> Counter[tuple[str, date]]:
        """How many sessions of each user begin on each day."""
        found: Counter[tuple[str, date]] = Counter()
        before: dict[str, datetime] = {}
        for event in sorted(self.active, key=lambda e: e.ts):
            gap = timedelta(minutes=self.board.session_gap_minutes or 0)
            if event.user_id not in before or event.ts - before[event.user_id] > gap:
                found[event.user_id, self.day(event)] += 1
            before[event.user_id] = event.ts
        return found

    def cells(self) -> dict[Cell, Figures]:
        """Every metric of every period, but for rows of nothing."""
        found: dict[Cell, list[Any]] = {}

        def add(name: str, grain: str, start: date, user: str | None, beside: tuple[Any, ...], *what: Any) -> None:
            numerator, denominator, mature = what
            dims = ("unknown", "unknown") if user is None else self.users[user]
            cell = found.setdefault((name, grain, start, dims, beside), [Decimal(0), None, mature])
            cell[0] += numerator
            if denominator is not None:
                cell[1] = (cell[1] or 0) + denominator

        for grain in ("day", "week", "month"):
            for start in sorted({self.start_of(day, grain) for day in self.calendar()}):
                self._period(add, grain, start)
        self._brackets(add)
        self._unbounded(add)
        self._funnels(add)
        return {cell: (num, den, mature) for cell, (num, den, mature) in found.items() if num or den}

    def _period(self, add: Any, grain: str, start: date) -> None:
        end = min(self.end_of(start, grain), self.last + DAY)
        mature = self.end_of(start, grain) <= self.last + DAY and start >= self.first
        days = [start + number * DAY for number in range((end - start).days)]
        before = self.start_of(start - DAY, grain)
        sessions = self.sessions()
        for event in self.bots:
            if self.day(event) in days:
                add("excluded_events", grain, start, None, ("excluded_rule",), 1, None, mature)
        for user in self.users:
            rows = [e for e in self.rows if e.user_id == user and self.day(e) in days]
            born = self.born.get(user, date.max)
            known = born <= days[-1]
            self._money(add, None, grain, start, [e for e in rows if self.day(e) < born], mature)
            if known and self.left_out(user):
                acts = sum(e.event != "push" for e in rows)
                add("excluded_events", grain, start, None, ("excluded_test",), acts, None, mature)
                continue
            # A payer is told by what is known at the period's end, money by what was known on its day.
            payer = any((e.amount or 0) > 0 for e in rows)
            add("paying_users", grain, start, user if known else None, (), payer, None, mature)
            add("arppu", grain, start, user if known else None, (), 0, int(payer), mature)
            if known:
                self._money(add, user, grain, start, [e for e in rows if self.day(e) >= born], mature)
                begun = sum(sessions[user, day] for day in days)
                self._user(add, user, grain, start, days=days, before=before, mature=mature, begun=begun, rows=rows)

    def _money(self, add: Any, user: str | None, grain: str, start: date, rows: list[Event], mature: bool) -> None:
        amounts = [e.amount for e in rows if e.amount is not None]
        gross, refunds = sum(a for a in amounts if a > 0), -sum(a for a in amounts if a < 0)
        margin = sum((a * Decimal("0.25")).quantize(Decimal("0.0001"), rounding="ROUND_HALF_UP") for a in amounts)
        figures = {
            "revenue": gross - refunds, "gross_revenue": gross, "refunds": refunds, "margin": margin,
            "purchases": sum(a > 0 for a in amounts),
        }  # fmt: skip
        for name, figure in figures.items():
            add(name, grain, start, user, (), figure, None, mature)
        for name in ("arpu", "arppu"):
            add(name, grain, start, user, (), gross - refunds, 0, mature)
        if user is not None:
            cohort = self.start_of(self.born[user], grain)
            at = (cohort, self.age(cohort, start, grain))
            add("cohort_revenue", grain, start, user, at, gross - refunds, 1, mature)
            add("cohort_margin", grain, start, user, at, margin, 1, mature)

    def _user(
        self, add: Any, user: str, grain: str, start: date, *, days: list[date], before: date, mature: bool, begun: int,
        rows: list[Event],
    ) -> None:  # fmt: skip
        here = bool(self.days[user] & set(days))
        there = any(before <= day < start for day in self.days[user])
        new = here and self.born[user] >= start
        payer = any((e.amount or 0) > 0 for e in rows)
        window = {n: sum(bool(self._within(user, day, n)) for day in days) for n in (1, 28)}
        whole = (days[0] - self.first).days
        total = {
            "active_users": here,
            "new_users": new,
            "sessions": begun,
            "events": sum(e.event != "push" for e in rows),
        }
        for name, figure in total.items():
            add(name, grain, start, user, (), figure, None, mature)
        add("sessions_per_user", grain, start, user, (), begun, int(here), mature)
        add("arpu", grain, start, user, (), 0, int(here), mature)
        add("paying_share", grain, start, user, (), payer and here, int(here), mature)
        add("stickiness", grain, start, user, (), window[1], window[28], mature and whole >= 27)
        states = {
            "new": new, "returning": here and not new and there, "resurrected": here and not new and not there,
            "dormant": there and not here,
        }  # fmt: skip
        for state, is_so in states.items():
            add("lifecycle", grain, start, user, (state,), is_so, None, mature)
        if grain == "day":
            add("active_7d", grain, start, user, (), bool(self._within(user, start, 7)), None, whole >= 6)
            add("active_28d", grain, start, user, (), bool(self._within(user, start, 28)), None, whole >= 27)
        cohort = self.start_of(self.born[user], grain)
        at = (cohort, self.age(cohort, start, grain))
        add("retention", grain, start, user, at, here, 1, mature)
        add("cohort_users", grain, start, user, at, here, 1, mature)

    def _within(self, user: str, day: date, days: int) -> list[date]:
        return [each for each in self.days[user] if day - days * DAY < each <= day]

    def _brackets(self, add: Any) -> None:
        for user, born in self.born.items():
            for low, high in self.board.brackets:
                start = born + high * DAY
                if start <= self.last and not self.left_out(user):
                    back = any(born + low * DAY <= day <= start for day in self.days[user])
                    add("bracket_retention", "day", start, user, (born, low, f"{low}-{high}"), back, 1, True)

    def _unbounded(self, add: Any) -> None:
        for grain in ("day", "week", "month"):
            for user, born in self.born.items():
                cohort = self.start_of(born, grain)
                reached = (self.last - (self.end_of(cohort, grain) - DAY)).days
                for age in self.board.unbounded_ages:
                    if reached >= age and not self.left_out(user):
                        back = max(self.days[user]) >= born + age * DAY
                        mature = reached >= age + self.board.unbounded_wait_days
                        at = self.start_of(self.last, grain)
                        add("unbounded_retention", grain, at, user, (cohort, age), back, 1, mature)

    def _funnels(self, add: Any) -> None:
        limit = timedelta(hours=24)
        for grain in ("day", "week", "month"):
            for start in sorted({self.start_of(day, grain) for day in self.calendar()}):
                end = self.end_of(start, grain)
                over = end - DAY + 2 * DAY <= self.last
                if grain != "day" and not over:
                    continue
                seen = min(end - DAY + 2 * DAY, self.last)
                for user in self.users:
                    self._attempt(add, user, grain, start, end=end, seen=seen, limit=limit, over=over)

    def _attempt(
        self, add: Any, user: str, grain: str, start: date, *, end: date, seen: date, limit: timedelta, over: bool
    ) -> None:
        rows = sorted((e for e in self.rows if e.user_id == user), key=lambda e: (e.ts, e.event_id))
        looks = [e for e in rows if e.event == "see" and start <= self.day(e) < end]
        known = user in self.born and self.born[user] <= seen
        if not looks or (known and self.left_out(user)):
            return
        look = looks[0]
        pays = [e for e in rows if (e.amount or 0) > 0 and look.ts <= e.ts <= look.ts + limit and e != look]
        mature = over and start >= self.first
        add("funnel_buy", grain, start, user if known else None, (1, "look"), 1, 1, mature)
        add("funnel_buy", grain, start, user if known else None, (2, "pay"), bool(pays), 1, mature)
