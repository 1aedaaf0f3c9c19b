"""Everything stored comes in, what is wrong with it comes out: files, fingerprints, gaps, counts, values made anew."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date

from sojourn.core import progress
from sojourn.rollups.conserved import verify_counts
from sojourn.rollups.findings import Check, VerifySpec, some, told
from sojourn.rollups.grains import ONE_DAY, Cell, closed
from sojourn.rollups.recomputed import verify_sample
from sojourn.rollups.rederived import verify_contents
from sojourn.rollups.spec import RollupSpec
from sojourn.rollups.standing import Standing, standing
from sojourn.warehouse import Warehouse

UNREADABLE = frozenset({"damaged", "unsealed"})
BACKFILL = "Build it: sojourn rollup backfill"


def verify_files(warehouse: Warehouse, tables: Sequence[str]) -> tuple[list[Check], set[str]]:
    """Every file of these tables is read to the last byte: one check a table, and the tables that cannot be relied on.

    A file in another's place, or one that is gone, does not keep others from being read.
    """
    checks, unreliable = [], set[str]()
    with progress("files", total=len(tables)) as done:
        for table in tables:
            looked, wrong = 0, []
            for partition, fault in warehouse.checked(table):
                looked += 1
                if fault is not None:
                    place = "/".join([table, *(f"{key}={value}" for key, value in partition.items())])
                    wrong.append(f"{place} {fault.told}")
                    unreliable |= {table} if fault.kind in UNREADABLE else set()
            checks.append(Check("files", table, looked, "partitions", told(wrong)))
            done(1)
    return checks, unreliable


def verify_rollup(
    warehouse: Warehouse, rollup: RollupSpec, *, spec: VerifySpec, unreliable: Collection[str] = ()
) -> list[Check]:
    """Every check of one rollup and its windows, but for files. Nothing is written.

    Tables that are `unreliable` are not read: the rollup is then skipped. Raises as `ledger` does.
    """
    if not warehouse.has(rollup.table):
        return [Check("fingerprints", rollup.table, 0, "partials", notes=("nothing is built yet",))]
    wide = [table for table in warehouse.tables() if table.startswith(f"{rollup.table}__")]
    broken = sorted({rollup.source, rollup.table, rollup.windows_table, rollup.rests_table, *wide} & set(unreliable))
    if broken:
        why = f"files of {some(broken)} are damaged: restore them, or remove their partitions, and verify again"
        return [Check("all else", rollup.table, 0, "partials", skipped=why)]
    found = standing(warehouse, rollup)
    steps: list[Callable[[], list[Check]]] = [
        lambda: [_fingerprints(found), *_windows(found)],
        lambda: [_gaps(found)],
        lambda: verify_counts(found, spec),
        lambda: verify_contents(found, spec),
        lambda: verify_sample(found, spec),
    ]
    checks = []
    with progress(f"checks of {rollup.table}", total=len(steps)) as done:
        for step in steps:
            checks += step()
            done(1)
    return checks


def _fingerprints(found: Standing) -> Check:
    ledger, spec = found.found, found.spec
    others = ledger.other_definitions()
    wrong = [
        f"{days} days were made by definition {mark}, not {ledger.definition.fingerprint}. "
        f"Replace them: sojourn rollup backfill --rebuild"
        for mark, days in others.items()
        if mark
    ]
    gone = ledger.to_drop(date.min, date.max)
    if gone:
        wrong.append(f"{_named(gone)}: table {spec.source!r} has no rows there any more. Drop it: {_mend(gone)}")
    known = [cell for cell in ledger.stored if cell not in gone]
    torn = [cell for cell in known if ledger.stored[cell] == ""]
    if torn:
        wrong.append(f"{_named(torn)}: {' and '.join(_torn(found))}. {BACKFILL}")
    mine = f"{ledger.definition.fingerprint}."
    stale = [cell for cell in known if ledger.stored[cell].startswith(mine) and not ledger.is_current(cell)]
    if stale:
        wrong.append(f"{_named(stale)}: made from other rows than table {spec.source!r} has now. {_mend(stale)}")
    return Check("fingerprints", spec.table, len(ledger.stored), "partials", tuple(wrong))


def _torn(found: Standing) -> Iterator[str]:
    """What is wrong between the tables of a rollup that should hold the same cells."""
    places = {
        table: {(each["grain"], each["start"]) for each in found.warehouse.places(table) if "grain" in each}
        for table in found.found.definition.tables()
    }
    every = {place for each in places.values() for place in each}
    lacking = [f"{table} lacks {some(sorted(every - each))}" for table, each in places.items() if every - each]
    yield from lacking or ["its tables were made from different rows"]


def _windows(found: Standing) -> list[Check]:
    table = found.spec.windows_table
    if not found.windows:
        return []
    stale = [as_of for as_of, is_current in found.windows.items() if not is_current]
    wrong = [
        f"as_of={as_of} is missing between its neighbours. Write it: sojourn rollup advance --day {as_of - ONE_DAY}"
        for as_of in missing_between(list(found.windows), days=found.found.every_day)
    ]
    notes = [f"{len(stale)} are seen from days whose history has changed since: as_of {some(stale)}"] if stale else []
    return [Check("fingerprints", table, len(found.windows), "days looked from", told(wrong), tuple(notes))]


def missing_between(as_ofs: Collection[date], *, days: Collection[date]) -> list[date]:
    """The days looked from that are missing between the day before and the day after, where the day before has rows.

    A longer gap may be that of a job which does not run every day.
    """
    closed_days = {as_of - ONE_DAY for as_of in as_ofs}
    return [
        day + ONE_DAY
        for day in sorted(days)
        if day not in closed_days and {day - ONE_DAY, day + ONE_DAY} <= closed_days
    ]


def _gaps(found: Standing) -> Check:
    ledger, (start, end) = found.found, found.span
    current = {cell.start for cell in found.current if cell.grain == "day"}
    lacking = [day for day in ledger.every_day if Cell("day", day) not in ledger.stored]
    inside = [day for day in lacking if start <= day < end]
    later = [day for day in lacking if not start <= day < end]
    over = closed(ledger.every_day, end=ledger.end, week_start=ledger.definition.first_weekday)
    mergeable = [
        cell for cell in over if cell not in ledger.stored and current >= set(ledger.days(cell.start, cell.end))
    ]
    wrong = []
    if inside:
        wrong.append(f"{_named([Cell('day', day) for day in inside])} without a partial. {BACKFILL}")
    if mergeable:
        wrong.append(f"{_named(mergeable)}: over, and not merged from the days. {BACKFILL}")
    holes = ledger.holes(ledger.first, ledger.end)
    notes = (
        [f"table {found.spec.source!r} has no rows on {len(holes)} days of its history: {some(holes)}"] if holes else []
    )
    if later:
        notes.append(f"{len(later)} days are not built yet: {some(later)}")
    return Check("gaps", found.spec.table, (ledger.end - ledger.first).days, "days", tuple(wrong), tuple(notes))


def _named(cells: Sequence[Cell]) -> str:
    in_order = sorted(cells, key=lambda cell: (cell.start, cell.grain))
    return some(f"{cell.grain} {cell.start}" for cell in in_order)


def _mend(cells: Sequence[Cell]) -> str:
    first, last = min(cell.start for cell in cells), max(cell.end for cell in cells)
    return f"sojourn rollup backfill --from {first} --to {last}"
