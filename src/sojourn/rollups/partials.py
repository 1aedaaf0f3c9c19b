"""Events in, partials out: a stored state per key and day, week or month, found stale by fingerprint and rebuilt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from sojourn.core import BadInput, progress
from sojourn.rollups.algebra import FLOATS
from sojourn.rollups.definition import Definition
from sojourn.rollups.grains import Cell, fewest
from sojourn.rollups.ledger import Ledger, ledger
from sojourn.rollups.lifting import ELEMENT, batches, key_columns, lifted, state_column
from sojourn.rollups.spec import RollupSpec
from sojourn.warehouse import Warehouse, Writer


@dataclass(frozen=True)
class BackfillReport:
    """What a backfill did, for business days [start, end) of the source's history.

    `built` are the days whose partials were built, `current` how many were so already, `dropped` those that the source
    has no more. `compacted` are the weeks and months that were built from them. `holes` are days within history on
    which the source has no row at all.
    """

    table: str
    definition: str
    built: tuple[date, ...]
    current: int
    dropped: tuple[date, ...]
    compacted: tuple[Cell, ...] = ()
    holes: tuple[date, ...] = ()


def backfill(
    warehouse: Warehouse, spec: RollupSpec, *, start: date | None = None, end: date | None = None
) -> BackfillReport:
    """Build the partials of business days [start, end) that are missing or stale; skip those that are current.

    Days are built from the source, then the weeks and months that hold any of them and are over. Without `start` or
    `end` all history counts. A killed run is resumed by running it again. Raises `BadInput` when partials of another
    definition stand in the table: `rebuild` replaces those.
    """
    if start is not None and end is not None and start >= end:
        raise BadInput(f"No day lies from {start} up to, but without, {end}. Give an earlier start or a later end.")
    found = ledger(warehouse, spec, start=start or date.min, end=end or date.max)
    found.refuse_other_definitions()
    return build(warehouse, found, start or date.min, end or date.max)


def rebuild(warehouse: Warehouse, spec: RollupSpec) -> BackfillReport:
    """Replace every partial that another definition made, and build what is missing or stale, over all history."""
    return build(warehouse, ledger(warehouse, spec), date.min, date.max)


def refreshed(warehouse: Warehouse, spec: RollupSpec, *, start: date = date.min, end: date = date.max) -> Ledger:
    """The ledger of the days [start, end) after a `backfill` of them, which it raises as."""
    found = ledger(warehouse, spec, start=start, end=end)
    found.refuse_other_definitions()
    report = build(warehouse, found, start, end)
    return after(found, report)


def after(found: Ledger, report: BackfillReport) -> Ledger:
    """The ledger as it stands once what the report tells of is done."""
    built = [*(Cell("day", day) for day in report.built), *report.compacted]
    gone = {Cell("day", day) for day in report.dropped}
    kept = {cell: mark for cell, mark in found.stored.items() if cell not in gone}
    return replace(found, stored={**kept, **{cell: found.wanted(cell) for cell in built}})


def build(warehouse: Warehouse, found: Ledger, start: date, end: date) -> BackfillReport:
    """Bring the partials of the days [start, end) up to date, whatever made those that stand there."""
    spec, definition = found.definition.spec, found.definition
    cells, drop = found.to_build(start, end), found.to_drop(start, end)
    days = [cell.start for cell in cells if cell.grain == "day"]
    large = [cell for cell in cells if cell.grain != "day"]
    if cells or drop:
        with _Writing(warehouse, definition) as writing, progress(f"partials {spec.table}", total=len(cells)) as done:
            for cell in drop:
                writing.drop(cell)
            for batch in batches(days, found.rows):
                writing.lift(batch, found)
                done(len(batch))
            for cell in large:
                writing.compact(cell, found)
                done(1)
    return BackfillReport(
        spec.table,
        definition.fingerprint,
        built=tuple(days),
        current=len(found.days(start, end)) - len(days),
        dropped=tuple(cell.start for cell in drop if cell.grain == "day"),
        compacted=tuple(large),
        holes=tuple(found.holes(start, end)),
    )


class _Writing:
    """The one writer of all tables of a rollup, as long as the block runs."""

    def __init__(self, warehouse: Warehouse, definition: Definition) -> None:
        from contextlib import ExitStack

        self._warehouse = warehouse
        self._definition = definition
        self._stack = ExitStack()
        self._writers: dict[str, Writer] = {}
        self._compacted: set[Cell] = set()

    def __enter__(self) -> "_Writing":
        with self._stack:
            for table in self._definition.tables():
                self._writers[table] = self._stack.enter_context(self._warehouse.writing(table))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *fault: object) -> None:
        self._stack.close()

    def drop(self, cell: Cell) -> None:
        """Remove the cell from every table."""
        for writer in self._writers.values():
            writer.drop(cell.partition)

    def lift(self, days: Sequence[date], found: Ledger) -> None:
        """Build the partials of these days from the source."""
        with lifted(self._warehouse, self._definition, days) as query_of:
            for day in days:
                cell = Cell("day", day)
                for table in self._writers:
                    self._put(table, cell, query_of(table, day), found)

    def compact(self, cell: Cell, found: Ledger) -> None:
        """Build the partial of a week or month from those of its days, or from weeks where that changes no bit."""
        parts = fewest(
            cell.start,
            cell.end,
            days=found.every_day,
            has=lambda part: self._may_merge(part, cell, found),
            week_start=self._definition.first_weekday,
        )
        for table in self._writers:
            relation = self._warehouse.relation(table, only=[part.partition for part in parts])
            self._put(table, cell, merge_query(self._definition, table, relation), found)
        self._compacted.add(cell)

    def _put(self, table: str, cell: Cell, query: str, found: Ledger) -> None:
        order = [*self._definition.spec.keys, *(name for name in self._element(table))]
        self._writers[table].put(cell.partition, query, order_by=order, fingerprint=found.wanted(cell))

    def _element(self, table: str) -> list[str]:
        spec = self._definition.spec
        return [state_column(name, ELEMENT) for name in self._definition.long if spec.table_of(name) == table]

    def _may_merge(self, part: Cell, whole: Cell, found: Ledger) -> bool:
        # Sums of doubles depend on what is added first: always days, so that a rerun gives the same bits.
        doubles = any(each.kind in FLOATS for each in self._definition.aggregates.values())
        within = part.grain != whole.grain and whole.start <= part.start and part.end <= whole.end
        return not doubles and within and (part in self._compacted or (found.knows(part) and found.is_current(part)))


def merge_query(definition: Definition, table: str, relation: str) -> str:
    """SQL that merges the partials in a relation, no two of which share a day, into one."""
    merges = {name: algebra.gathering() for name, algebra in definition.wide.items()}
    if table != definition.spec.table:
        merges = {name: each.merge for name, each in definition.long.items() if definition.spec.table_of(name) == table}
    keys, merged = ", ".join(key_columns(definition, table)), ""
    for name, templates in merges.items():
        stored = {part: state_column(name, part) for part in templates}
        merged += "".join(f", {sql.format(**stored, only='')} AS {stored[part]}" for part, sql in templates.items())
    return f"SELECT {keys}{merged} FROM {relation} GROUP BY {keys}"
