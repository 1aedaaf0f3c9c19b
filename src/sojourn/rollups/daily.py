"""A day's work: that day's partial, then every window as seen from the morning after, Parquet to Parquet."""

from dataclasses import dataclass
from datetime import date, timedelta

from sojourn.core import BadInput, fingerprint
from sojourn.rollups.partials import ONE_DAY, BackfillReport, Ledger, backfill, ledger
from sojourn.rollups.reading import window_query
from sojourn.rollups.spec import RollupSpec
from sojourn.rollups.windows import declared, need_history, past
from sojourn.warehouse import Warehouse


@dataclass(frozen=True)
class AdvanceReport:
    """What an advance did: the partials, and the partition of windows as of the day after, with its rows.

    `written` is false where the windows were current already.
    """

    partials: BackfillReport
    table: str
    as_of: date
    rows: int
    written: bool


def advance(warehouse: Warehouse, spec: RollupSpec, *, day: date) -> AdvanceReport:
    """Close a business day: build its partial, and write the table `windows_<name>` for `as_of` = the day after.

    Partials that are missing or stale within the longest window are built too, so that a day missed earlier leaves no
    hole. Running it again changes nothing. Raises `BadInput` when the source has no row on that day, and when history
    is shorter than the longest window.
    """
    as_of = day + ONE_DAY
    longest = max(spec.every_window())
    found = ledger(warehouse, spec)
    if day not in found.source:
        raise BadInput(
            f"Table {spec.source!r} has no row on business day {day}; its days end with {found.end - ONE_DAY}. "
            f"Ingest that day's events first, or name a day that has some."
        )
    need_history(found, [as_of], [past(longest)])
    built = backfill(warehouse, spec, start=as_of - timedelta(days=longest), end=as_of)
    return _write_windows(warehouse, ledger(warehouse, spec), built, as_of=as_of)


def _write_windows(warehouse: Warehouse, found: Ledger, built: BackfillReport, *, as_of: date) -> AdvanceReport:
    spec = found.definition.spec
    table, partition = f"windows_{spec.name}", {"as_of": str(as_of)}
    days = found.days(as_of - timedelta(days=max(spec.every_window())), as_of)
    wanted = fingerprint("windows", ",".join(spec.columns()), *(f"{day} {found.stored[day]}" for day in days))
    query = window_query(warehouse, found, as_ofs=[as_of], reading=declared(spec))
    with warehouse.writing(table) as writer:
        if warehouse.fingerprint_of(table, partition) == wanted:
            [info] = [each for each in warehouse.partitions(table) if each.partition == partition]
            return AdvanceReport(built, table, as_of, rows=info.rows, written=False)
        rows = f"SELECT * EXCLUDE (as_of) FROM ({query})"
        info = writer.put(partition, rows, order_by=spec.keys, fingerprint=wanted)
    return AdvanceReport(built, table, as_of, rows=info.rows, written=True)
