"""What had arrived by an instant: the days whose partial is what it was then, and the rows of the others as they stood.

A row had arrived by t when `arrived_at <= t`; of an event that was corrected since, the version with
`arrived_at <= t < superseded_at` stood. A row that doesn't say when it arrived counts as always known.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property

from sojourn.core import BadInput
from sojourn.rollups.definition import Definition
from sojourn.rollups.grains import ONE_DAY, Cell
from sojourn.rollups.history import need_history
from sojourn.rollups.ledger import Ledger
from sojourn.rollups.lifting import key_columns, queries, state_columns
from sojourn.rollups.windows import Window, day_start
from sojourn.warehouse import Warehouse

EVENTS = "events"
SUPERSEDED = "superseded"
ARRIVED = "arrived_at"
ENDED = "superseded_at"
INSTANT = "TIMESTAMP WITH TIME ZONE"
AS_OF = "_as_of"


@dataclass(frozen=True)
class Look:
    """What had arrived `at` an instant: `clean` days are today what they were then, `mended` days are something else.

    Days of which nothing had arrived are neither.
    """

    at: datetime
    clean: frozenset[date]
    mended: frozenset[date]

    @cached_property
    def days(self) -> list[date]:
        """The days of which anything had arrived, in order."""
        return sorted(self.clean | self.mended)


@dataclass(frozen=True)
class Known:
    """A source as it was known when one looked from each of some days; made by `known_at`."""

    warehouse: Warehouse
    found: Ledger
    looks: Mapping[date, Look]

    @property
    def first(self) -> date:
        """The first day of history that was known from any of the days."""
        return min(look.days[0] for look in self.looks.values())

    def cells(self, as_of: date, start: date, end: date) -> list[Cell]:
        """The fewest partials for the days in [start, end) that are what they were."""
        return self.found.cover(start, end, of=self.looks[as_of].clean)

    def mended(self, as_of: date, start: date, end: date) -> list[date]:
        """The days in [start, end) that were something else than they are, in order."""
        return sorted(day for day in self.looks[as_of].mended if start <= day < end)

    def days(self, as_of: date, start: date, end: date) -> list[date]:
        """The days in [start, end) of which anything had arrived, in order."""
        return [day for day in self.looks[as_of].days if start <= day < end]

    def need_history(self, windows: Sequence[Window]) -> None:
        """Raise `BadInput` unless these windows lay within history as it was known, seen from each day."""
        for as_of, look in self.looks.items():
            self._need_yesterday(as_of, look)
            # A day before that has no row to this day was no gap in what was known.
            there = sorted({*look.days, as_of - ONE_DAY})
            need_history(
                replace(self.found, every_day=there), [as_of], windows, told=f", as known at {_shown(look.at)}"
            )

    def rows(self, wanted: Mapping[date, Collection[date]]) -> str:
        """SQL to stand after FROM: the rows of these days as they stood when one looked from each day, and `_as_of`."""
        sql = self.found.definition.sql
        looks = sql.values(
            [
                f"(DATE '{as_of}', {sql.instant(self.looks[as_of].at)}, DATE '{day}')"
                for as_of, days in wanted.items()
                for day in sorted(days)
            ]
        )
        asked = {day for days in wanted.values() for day in days}
        stood = {self.found.definition.spec.source: f"coalesce(r.{ARRIVED} <= l._at, true)"}
        if self.found.definition.spec.source == EVENTS:
            stood[SUPERSEDED] = f"{stood[EVENTS]} AND l._at < r.{ENDED}"
        parts = [
            f"SELECT {self._columns('r')}, l.{AS_OF} FROM {rows} AS r JOIN ({looks}) AS l({AS_OF}, _at, _day) "
            f"ON r.day = l._day AND {condition}"
            for table, condition in stood.items()
            for rows in self._stored(table, asked)
        ]
        return f"({' UNION ALL '.join(parts)})"

    def day_states(self, table: str) -> str:
        """SQL to stand after FROM: the state of each day before each `as_of`, as known then: `as_of`, `start`, the
        columns of a day's partial.
        """
        before = {as_of: [day for day in look.clean if day < as_of] for as_of, look in self.looks.items()}
        days = sorted({day for each in before.values() for day in each})
        mended = {as_of: self.mended(as_of, date.min, as_of) for as_of in self.looks}
        columns = ", ".join([*key_columns(self._definition, table), *state_columns(self._definition, table)])
        parts = [f"SELECT as_of, start, {columns} FROM ({self._clean_states(table, days)})"] if days else []
        if any(mended.values()):
            lifted = queries(self._definition, self.rows(mended), by=[AS_OF])[table]
            parts.append(f"SELECT {AS_OF} AS as_of, day AS start, {columns} FROM ({lifted})")
        return f"({' UNION ALL '.join(parts)})"

    def _clean_states(self, table: str, days: Sequence[date]) -> str:
        sql, looks = self._definition.sql, self.looks
        partials = self.warehouse.relation(table, only=[Cell("day", day).partition for day in days])
        other = [
            f"(DATE '{as_of}', DATE '{day}')"
            for as_of, look in looks.items()
            for day in days
            if day < as_of and day not in look.clean
        ]
        unlike = sql.values(other or ["(CAST(NULL AS DATE), CAST(NULL AS DATE))"])
        seen_from = sql.values([f"(DATE '{as_of}')" for as_of in looks])
        was_unlike = f"SELECT 1 FROM ({unlike}) AS o(_as_of, _day) WHERE o._as_of = l.as_of AND o._day = p.start"
        return (
            f"SELECT l.as_of, p.* FROM {partials} AS p JOIN ({seen_from}) AS l(as_of) ON p.start < l.as_of "
            f"WHERE NOT EXISTS ({was_unlike})"
        )

    def _stored(self, table: str, days: Collection[date]) -> Iterator[str]:
        """The rows of a table's days, with every column that is read; nothing where it has none of them."""
        there = [each for each in self.warehouse.places(table) if date.fromisoformat(each["day"]) in days]
        if there:
            relation = self.warehouse.relation(table, only=there)
            columns = {
                **self._definition.columns,
                ARRIVED: INSTANT,
                **({ENDED: INSTANT} if table == SUPERSEDED else {}),
            }
            yield self._definition.sql.with_columns(relation, columns, columns_of=self.warehouse.engine.columns)

    def _columns(self, relation: str) -> str:
        return ", ".join(f"{relation}.{self._definition.sql.quote(name)}" for name in self._definition.columns)

    def _need_yesterday(self, as_of: date, look: Look) -> None:
        since = look.days[-1] + ONE_DAY
        if self.found.days(since, as_of):
            raise BadInput(
                f"Of table {self._definition.spec.source!r} nothing from {since} on had arrived by {_shown(look.at)}, "
                f"when one looks from {as_of}. Look from another day, or later after its start: "
                f"known_after_hours (--known-after)."
            )

    @property
    def _definition(self) -> Definition:
        return self.found.definition


def known_at(warehouse: Warehouse, found: Ledger, as_ofs: Sequence[date], *, after_hours: float) -> Known:
    """The rollup's source as it was known so many hours after the start of each day, in the warehouse's zone.

    Raises `BadInput` when the source doesn't say when its rows arrived, when nothing before a day had arrived, and for
    a negative delay.
    """
    spec = found.definition.spec
    if not as_ofs:
        raise BadInput("No day to look from is given. Name at least one as_of, such as date(2024, 5, 1).")
    if after_hours < 0:
        raise BadInput(f"known_after_hours = {after_hours:g}: a day is looked from after it has begun; use 0 or more.")
    _need_arrivals(warehouse, spec.source)
    zone, delay = found.definition.zone, timedelta(hours=after_hours)
    instants = {as_of: day_start(as_of, zone) + delay for as_of in sorted(set(as_ofs))}
    # What had arrived of the day itself, or of one that is ahead by the clock, tells where history ended then.
    days = found.days(date.min, max(instants) + 2 * ONE_DAY)
    arrivals, standing = _arrivals(warehouse, spec.source, days), _standing(warehouse, found, instants)
    looks = {as_of: _look(at, arrivals, standing[as_of]) for as_of, at in instants.items()}
    for as_of, look in looks.items():
        if not any(day < as_of for day in look.days):
            raise BadInput(
                f"Nothing of table {spec.source!r} from before {as_of} had arrived by {_shown(look.at)}: it was taken "
                f"in later. Look from a later day, or leave known_after_hours (--known-after) out."
            )
    return Known(warehouse, found, looks)


def known_within_history(
    warehouse: Warehouse, found: Ledger, as_ofs: Sequence[date], *, after_hours: float | None
) -> Known | None:
    """What was known from each day, where that counts, once the declared windows are sure to lie within history."""
    if after_hours is None:
        need_history(found, as_ofs, found.definition.windows)
        return None
    known = known_at(warehouse, found, as_ofs, after_hours=after_hours)
    known.need_history(found.definition.windows)
    return known


Arrivals = Mapping[date, tuple[datetime | None, datetime | None]]


def _look(at: datetime, arrivals: Arrivals, standing: Collection[date]) -> Look:
    whole = {day for day, (_, last) in arrivals.items() if last is None or last <= at}
    some = {day for day, (first, _) in arrivals.items() if first is None or first <= at}
    clean = frozenset(whole.difference(standing))
    return Look(at, clean, mended=frozenset(some.union(standing) - clean))


def _arrivals(warehouse: Warehouse, source: str, days: Sequence[date]) -> Arrivals:
    """When the first and the last row of each day arrived; None where a row doesn't say."""
    if not days:
        return {}
    rows = warehouse.relation(source, only=[{"day": str(day)} for day in days])
    first = f"CASE WHEN count(*) = count({ARRIVED}) THEN min({ARRIVED}) END"
    found = warehouse.engine.frame(
        f"SELECT day, {first} AS first_at, max({ARRIVED}) AS last_at FROM {rows} GROUP BY day"
    )
    return {day: (first, last) for day, first, last in found.iter_rows()}


def _standing(warehouse: Warehouse, found: Ledger, instants: Mapping[date, datetime]) -> dict[date, set[date]]:
    """The days on which a version stood that was superseded since, as seen from each day."""
    standing: dict[date, set[date]] = {as_of: set() for as_of in instants}
    last = str(max(instants) + 2 * ONE_DAY)
    places = [each for each in warehouse.places(SUPERSEDED) if each.get("day", last) < last]
    if found.definition.spec.source == EVENTS and places:
        sql = found.definition.sql
        looks = sql.values([f"(DATE '{as_of}', {sql.instant(at)})" for as_of, at in instants.items()])
        stood = f"coalesce(s.{ARRIVED} <= l._at, true) AND l._at < s.{ENDED}"
        rows = warehouse.engine.frame(
            f"SELECT l.as_of, s.day FROM {warehouse.relation(SUPERSEDED, only=places)} AS s "
            f"JOIN ({looks}) AS l(as_of, _at) ON {stood} GROUP BY l.as_of, s.day"
        )
        for as_of, day in rows.iter_rows():
            standing[as_of].add(day)
    return standing


def _need_arrivals(warehouse: Warehouse, source: str) -> None:
    description = warehouse.registered(source)
    if description is not None:
        columns = description.columns
        told = ARRIVED in columns and columns[ARRIVED] != columns.get("ts")
    else:
        last = warehouse.places(source)[-1:]
        told = ARRIVED in warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(source, only=last)}")
    if not told:
        raise BadInput(
            f"Table {source!r} doesn't say when its rows arrived, so what was known of it cannot be told. "
            f"Map {ARRIVED} where it is taken in (--map {ARRIVED}=COLUMN), or leave known_after_hours "
            f"(--known-after) out."
        )


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
