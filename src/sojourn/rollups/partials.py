"""Events in, day partials out: one stored state per key and business day, found stale by fingerprint and rebuilt."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

from sojourn.core import BadInput, EmptyInput, progress
from sojourn.rollups.definition import Definition, define
from sojourn.rollups.lifting import batches, lifted
from sojourn.rollups.spec import RollupSpec
from sojourn.warehouse import Warehouse

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Ledger:
    """Which days a source has, and which partials stand beside them, by fingerprint.

    A partial's fingerprint is `<definition>.<input>`: what was asked, and the fingerprint of the day it was made from.
    """

    definition: Definition
    source: Mapping[date, str]
    stored: Mapping[date, str]
    rows: Mapping[date, int]

    @cached_property
    def first(self) -> date:
        """The first day of the source's history."""
        return min(self.source)

    @cached_property
    def end(self) -> date:
        """The day after the last day of the source's history."""
        return max(self.source) + ONE_DAY

    def wanted(self, day: date) -> str:
        """The fingerprint that the partial of this day should have."""
        return f"{self.definition.fingerprint}.{self.source[day]}"

    def days(self, start: date, end: date) -> list[date]:
        """The days in [start, end) on which the source has rows, in order."""
        return sorted(day for day in self.source if start <= day < end)

    def to_build(self, start: date, end: date) -> list[date]:
        """The days in [start, end) whose partial is missing or was made from something else."""
        return [day for day in self.days(start, end) if self.stored.get(day) != self.wanted(day)]

    def to_drop(self, start: date, end: date) -> list[date]:
        """The days in [start, end) with a partial but no longer any row in the source."""
        return sorted(day for day in self.stored if start <= day < end and day not in self.source)

    def other_definitions(self) -> dict[str, int]:
        """The fingerprints of other definitions that made stored partials, with the number of days of each."""
        made = [fingerprint.partition(".")[0] for fingerprint in self.stored.values()]
        return {each: made.count(each) for each in sorted(set(made)) if each != self.definition.fingerprint}

    def refuse_other_definitions(self) -> None:
        """Raise `BadInput` with every fingerprint and the mends when partials of another definition are stored."""
        others = self.other_definitions()
        if others:
            told = ", ".join(f"{each} ({days} days)" for each, days in others.items())
            raise BadInput(
                f"Table {self.definition.spec.table!r} holds partials of another definition: {told}, and this one is "
                f"{self.definition.fingerprint}. Give the new rollup another name, or replace the old partials: "
                f"sojourn rollup backfill --rebuild"
            )


@dataclass(frozen=True)
class BackfillReport:
    """What a backfill did: days built, days found current, days dropped because the source has them no more."""

    table: str
    definition: str
    built: tuple[date, ...]
    current: int
    dropped: tuple[date, ...]


def ledger(warehouse: Warehouse, spec: RollupSpec) -> Ledger:
    """How the partials of this rollup stand. Raises as `define` does, and `EmptyInput` for a source without days."""
    definition = define(warehouse, spec)
    days = {
        date.fromisoformat(each.partition["day"]): each
        for each in warehouse.partitions(spec.source)
        if "day" in each.partition
    }
    if not days:
        raise EmptyInput(f"Table {spec.source!r} has no partition by day. Ingest events first: sojourn ingest FILE")
    stored = {
        date.fromisoformat(each.partition["start"]): each.fingerprint
        for each in warehouse.partitions(spec.table)
        if each.partition.get("grain") == "day"
    }
    source = {day: each.fingerprint for day, each in days.items()}
    return Ledger(definition, source, stored, rows={day: each.rows for day, each in days.items()})


def backfill(
    warehouse: Warehouse, spec: RollupSpec, *, start: date | None = None, end: date | None = None
) -> BackfillReport:
    """Build the day partials of business days [start, end) that are missing or stale; skip those that are current.

    Without `start` or `end` all history counts. A killed run is resumed by running it again.
    Raises `BadInput` when partials of another definition stand in the table: `rebuild` replaces those.
    """
    found = ledger(warehouse, spec)
    found.refuse_other_definitions()
    return _build(warehouse, found, start or date.min, end or date.max)


def rebuild(warehouse: Warehouse, spec: RollupSpec) -> BackfillReport:
    """Replace every partial that another definition made, and build what is missing or stale, over all history."""
    return _build(warehouse, ledger(warehouse, spec), date.min, date.max)


def refreshed(warehouse: Warehouse, spec: RollupSpec) -> Ledger:
    """The ledger after a `backfill` of all history, which it raises as."""
    found = ledger(warehouse, spec)
    found.refuse_other_definitions()
    _build(warehouse, found, date.min, date.max)
    return replace(found, stored={day: found.wanted(day) for day in found.source})


def _build(warehouse: Warehouse, found: Ledger, start: date, end: date) -> BackfillReport:
    spec, definition = found.definition.spec, found.definition
    build, drop = found.to_build(start, end), found.to_drop(start, end)
    if not build and not drop:
        return BackfillReport(spec.table, definition.fingerprint, (), len(found.days(start, end)), ())
    with warehouse.writing(spec.table) as writer, progress(f"partials {spec.table}", total=len(build)) as advance:
        for day in drop:
            writer.drop(_cell(day))
        for days in batches(build, found.rows):
            with lifted(warehouse, definition, days) as query_of:
                for day in days:
                    writer.put(_cell(day), query_of(day), order_by=spec.keys, fingerprint=found.wanted(day))
            advance(len(days))
    current = len(found.days(start, end)) - len(build)
    return BackfillReport(spec.table, definition.fingerprint, tuple(build), current, tuple(drop))


def _cell(day: date) -> dict[str, str]:
    return {"grain": "day", "start": day.isoformat()}
