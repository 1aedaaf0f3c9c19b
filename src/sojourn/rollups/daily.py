"""A day's work: its partial, the weeks and months that it closes, and every window as seen from the morning after."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from sojourn.core import BadInput, fingerprint
from sojourn.rollups.cover import cover_of
from sojourn.rollups.grains import ONE_DAY, Cell
from sojourn.rollups.history import need_history
from sojourn.rollups.ledger import Ledger, ledger
from sojourn.rollups.partials import BackfillReport, after, build
from sojourn.rollups.reading import Windows
from sojourn.rollups.sliding import Sliding, carried, sliding
from sojourn.rollups.spec import RollupSpec
from sojourn.rollups.windows import reach
from sojourn.warehouse import Warehouse

How = Literal["current", "covered", "slid"]


@dataclass(frozen=True)
class AdvanceReport:
    """What an advance did: the partials, and the partition of windows as of the day after, with its rows.

    `how` says where the windows came from: they were `current` already, were read from the partials that cover them, or
    slid on from those of the day before.
    """

    partials: BackfillReport
    table: str
    as_of: date
    rows: int
    how: How

    @property
    def written(self) -> bool:
        """False where the windows were current already."""
        return self.how != "current"


def advance(warehouse: Warehouse, spec: RollupSpec, *, day: date) -> AdvanceReport:
    """Close a business day: build its partial, and write the table `windows_<name>` for `as_of` = the day after.

    Weeks and months that the day closes are merged from their days. Partials that are missing or stale within the
    longest window are built too, so that a day missed earlier leaves no hole. Running it again changes nothing. Raises
    `BadInput` when the source has no row on that day, and when history is shorter than the longest window.
    """
    need_real(day)
    as_of = day + ONE_DAY
    start, _ = reach(spec.windows_at(warehouse.spec.week_start), as_of)
    found = ledger(warehouse, spec, start=max(start, date.min + ONE_DAY) - ONE_DAY, end=as_of)
    found.refuse_other_definitions()
    if day not in found.source:
        raise BadInput(
            f"Table {spec.source!r} has no row on business day {day}; its days end with {found.end - ONE_DAY}. "
            f"Ingest that day's events first, or name a day that has some."
        )
    need_history(found, [as_of], found.definition.windows)
    built = build(warehouse, found, start, as_of)
    return _write_windows(warehouse, after(found, built), built, as_of=as_of)


def need_real(day: date) -> None:
    """Raise `BadInput` for a day so early or so late that windows seen from it would leave the calendar."""
    if not 1000 <= day.year <= 9000:
        raise BadInput(f"Day {day} lies beyond any log. Name a day that has events.")


def _write_windows(warehouse: Warehouse, found: Ledger, built: BackfillReport, *, as_of: date) -> AdvanceReport:
    spec = found.definition.spec
    table, partition = spec.windows_table, {"as_of": str(as_of)}
    wanted = windows_fingerprint(found, as_of)
    with warehouse.writing(table) as writer:
        stored = warehouse.partition(table, partition)
        if stored is not None and stored.fingerprint == wanted:
            return AdvanceReport(built, table, as_of, rows=stored.rows, how="current")
        query, how = _windows_query(warehouse, found, as_of)
        info = writer.put(partition, query, order_by=spec.keys, fingerprint=wanted)
    return AdvanceReport(built, table, as_of, rows=info.rows, how=how)


def windows_fingerprint(found: Ledger, as_of: date) -> str:
    """The fingerprint of the windows as of a day: what they mean, and all that the source holds for them."""
    start, end = reach(found.definition.windows, as_of)
    asked = ",".join(found.definition.spec.columns())
    return fingerprint("windows", found.definition.fingerprint, asked, str(as_of), found.input_of(start, end))


def _windows_query(warehouse: Warehouse, found: Ledger, as_of: date) -> tuple[str, How]:
    definition = found.definition
    if carried(definition, as_of) and can_slide(warehouse, found, as_of):
        return Sliding(warehouse, found, as_of, definition.spec.windows_table).query(), "slid"
    return covered_query(warehouse, found, as_of), "covered"


def covered_query(warehouse: Warehouse, found: Ledger, as_of: date) -> str:
    """SQL for the windows as of a day, with the states that they carry, from the partials that cover them."""
    definition, states = found.definition, carried(found.definition, as_of)
    windows_carried = [window for windows in states.values() for window in windows]
    cover = cover_of(warehouse, found, [as_of], list(dict.fromkeys([*definition.windows, *windows_carried])))
    found.need_current([cell for cell in cover.used if cell.grain == "day"])
    windows = Windows(warehouse, definition, cover, definition.reading, carried=states)
    return f"SELECT {', '.join(windows.names())} FROM ({windows.query()})"


def can_slide(warehouse: Warehouse, found: Ledger, as_of: date) -> bool:
    """Whether the windows of the day before stand, whole and made from what the source holds now.

    So must the partials of the days that leave them.
    """
    before = as_of - ONE_DAY
    start, _ = reach(found.definition.windows, before)
    if before <= found.first or before not in found.source or not found.knows(Cell("day", max(start, found.first))):
        return False
    if not all(found.is_current(cell) for cell in _leaving(found, before)):
        return False
    stored = warehouse.fingerprint_of(found.definition.spec.windows_table, {"as_of": str(before)})
    return stored == windows_fingerprint(found, before)


def _leaving(found: Ledger, before: date) -> list[Cell]:
    """The days that leave a window when it moves on: they lie outside of it, so `advance` has not built them."""
    windows = {window for each in sliding(found.definition).values() for window in each}
    days = {window.span(before)[0] for window in windows if window.start_days is not None}
    return [Cell("day", day) for day in sorted(days) if day in found.source]
