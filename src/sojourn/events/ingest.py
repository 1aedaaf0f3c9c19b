"""From files or a query to a table of the warehouse: read, judged row by row, made free of duplicates, counted."""

from datetime import datetime

from sojourn.core import BadInput
from sojourn.events._identity import CONTESTED, FORMER, HITS, MATCHES, SETTLED, Identity
from sojourn.events._keyed import KEYED, KeyedMerge
from sojourn.events._lists import add_lists
from sojourn.events._people import rename_staged
from sojourn.events._rejected import FAULTS, check_share, notes_on_guests, store_faults
from sojourn.events._staging import cleared, read_into_stage, stored_types
from sojourn.events._tombstones import GONE, drop_forgotten
from sojourn.events._write_events import GATHERED, EventDays
from sojourn.events.report import IngestReport
from sojourn.events.spec import IngestSpec
from sojourn.warehouse import DuckDBEngine, Warehouse

TEMPORARY = (FAULTS, MATCHES, HITS, CONTESTED, FORMER, SETTLED, GATHERED, KEYED, GONE)


def ingest(warehouse: Warehouse, spec: IngestSpec, *, as_of: datetime) -> IngestReport:
    """Take the source's rows into the spec's table, and account for every one.

    read = kept + duplicate + rejected + forgotten, the last told only where it is not 0.

    `as_of` (with a zone) is when we learn of the rows: their `arrived_at` unless the source has one. Ingesting the same
    source again changes nothing, whatever `as_of`; the first arrival stays. Any order and any split of the same files
    into ingests gives the same table.

    An event without an id of the source's own is named by the hash of its content and its occurrence in its file. Of
    several versions of one id the latest to arrive stands; the earlier ones go to table `superseded`. Rows with a fault
    go to table `rejected` with the reason, the source and its line. Rows of users with a tombstone are dropped before
    anything is written, and an id that a declared mapping calls an alias becomes its user's once the row has its name.

    Raises `BadSpec` or `MissingColumn` for a mapping that does not fit, `UnreadableSource`, `EmptyInput` or `BadInput`
    for faults of the whole source, `MissingExtra` for a list whose library is not installed, `TooManyRejected` when
    more rows are bad than the spec allows, and `Locked` when another process writes the table. Nothing is written then.
    """
    if as_of.tzinfo is None:
        raise BadInput(f"as_of = {as_of} has no zone. Give one: as_of.replace(tzinfo=UTC)")
    if not isinstance(warehouse.engine, DuckDBEngine):
        raise BadInput(
            "ingest reads with DuckDB. Open the warehouse with it: Warehouse.open(root), without an EngineSpec."
        )
    history = "superseded" if spec.table == "events" else f"superseded_{spec.table}"
    with (
        warehouse.writing(spec.table) as writer,
        warehouse.writing(history) as history_writer,
        cleared(warehouse.engine, TEMPORARY),
    ):
        staged, forgotten = drop_forgotten(warehouse, read_into_stage(warehouse, spec, as_of=as_of), table=spec.table)
        rename_staged(warehouse, table=spec.table)
        check_share(warehouse.engine, staged.faults, spec=spec, source=staged.source, columns=staged.columns.ours)
        lists = add_lists(warehouse.engine, spec, view=staged.plan.view)
        guests = notes_on_guests(warehouse.engine, staged.faults, table=spec.table)
        if staged.faults.rejected:
            store_faults(warehouse, staged.source)
        kinds = staged.plan.columns | lists
        stored = stored_types(warehouse, spec.table)
        if spec.table == "events":
            identity = Identity(warehouse, kinds, stored, own_ids="event_id" in staged.columns.ours, made=lists)
            done = EventDays(identity).store(writer, history_writer)
        else:
            snapshot = spec.table == "users" and "valid_from" not in staged.columns.ours
            done = KeyedMerge(warehouse, spec.table, kinds, stored, snapshot=snapshot).store(writer, history_writer)
    return IngestReport(
        table=spec.table,
        sources=staged.source.files,
        read=staged.faults.read,
        kept=done.kept,
        duplicate=done.duplicate,
        rejected=staged.faults.rejected,
        corrections=done.corrections,
        forgotten=forgotten,
        reasons=staged.faults.reasons,
        columns={name: each.shown for name, each in (staged.columns.ours | staged.columns.extras).items()} | spec.lists,
        notes=(*staged.notes, *guests, *done.notes),
        written=done.written,
        unchanged=done.unchanged,
    )
