"""Events that a team already has as Hive-partitioned Parquet: read as the event table where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sojourn.core import BadInput, BadSpec, EngineError
from sojourn.events._mapping import map_columns
from sojourn.events._reading import Reading
from sojourn.events._sources import SAMPLE_ROWS, Look, reason_of
from sojourn.events._stage import CANONICAL, INSTANTS
from sojourn.events._types import cast
from sojourn.events.spec import IngestSpec
from sojourn.warehouse import DuckDBEngine, InPlace, Warehouse
from sojourn.warehouse.engine import literal

INSTANT = "TIMESTAMP WITH TIME ZONE"
ROW_ID = "md5(filename || ':' || CAST(file_row_number AS STRING))"
PLACES = ("filename", "file_row_number")


@dataclass(frozen=True)
class Registration:
    """A registered source, its `days` and `rows`, what each column is made from, and every guess."""

    source: InPlace
    days: int
    rows: int
    columns: Mapping[str, str]
    notes: tuple[str, ...]


def register_events(warehouse: Warehouse, spec: IngestSpec, *, folder: str, partition: str = "day") -> Registration:
    """Read table `events` from the Parquet under `folder/<partition>=YYYY-MM-DD/`; nothing is copied.

    `spec` gives `columns`, mapped as for `ingest`, `keep`, and the `time_zone` of times that carry none. The business
    day is the partition's value: the team's own word, whatever the warehouse's zone. A row without an id is named by
    its file and its place there. `arrived_at` is `ts` unless mapped. No row is judged: duplicates stay, and an amount
    that is no number is NULL. Registering again replaces the description.

    Raises `UnreadableSource` for a folder without such partitions, `MissingColumn` or `BadSpec` for a mapping that does
    not fit and for lists of texts, and `BadInput` for times that are no timestamps, or when the table already holds
    ingested events.
    """
    if spec.table != "events" or spec.files or spec.query is not None:
        raise BadSpec("Only events are read in place, and from one folder. Leave out files, query and table.")
    if spec.texts:
        raise BadSpec(
            "Lists of words, emoji and tags are made when a source is taken in; one read in place stays as it is. "
            f"Leave texts (--text) out, or take the files in: sojourn ingest {folder}"
        )
    if not isinstance(warehouse.engine, DuckDBEngine):
        raise BadInput("Sources are registered with DuckDB. Open the warehouse with it: Warehouse.open(root).")
    raw = InPlace(folder=str(Path(folder).absolute()), partition=partition, columns={"user_id": "NULL"})
    files = [str(file) for file in raw.files(None)]
    scan = warehouse.engine.scan(files, hive_types={partition: "DATE"}, located=True)
    found = [name for name in warehouse.engine.columns(f"SELECT * FROM {scan}") if name not in PLACES]
    sample = f"(SELECT * FROM {scan} LIMIT {SAMPLE_ROWS})"
    mapped = map_columns(spec, found, look=Look(warehouse.engine, sample, sample))
    readings = {name: each for name, each in {**mapped.ours, **mapped.extras}.items() if each.uses != (partition,)}
    columns = {name: _as_ours(warehouse, scan, name, each, zone=spec.time_zone) for name, each in readings.items()}
    source = raw.with_changes(columns=_complete(columns))
    warehouse.register("events", source)
    days = warehouse.partitions("events")
    shown = {name: each.shown for name, each in readings.items()}
    notes = (*mapped.notes, *_zone_notes(columns, readings, spec))
    return Registration(source, len(days), sum(day.rows for day in days), shown, notes)


def _as_ours(warehouse: Warehouse, scan: str, name: str, reading: Reading, *, zone: str | None) -> str:
    try:
        kind = warehouse.engine.columns(f"SELECT ({reading.sql}) AS x FROM {scan}")["x"]
    except EngineError as fault:
        raise BadSpec(f"columns.{name} = {reading.sql!r} cannot be computed: {reason_of(fault)}.") from fault
    target = "VARCHAR" if name == "zone" else CANONICAL["events"].get(name, kind)
    if name in INSTANTS and kind != INSTANT:
        if not kind.startswith(("TIMESTAMP", "DATE")):
            raise BadInput(
                f"{name} is made from {reading.shown!r}, which is {kind} and no timestamp. Say how it is read: "
                f'--map {name}="to_timestamp({reading.shown})" for epochs in seconds.'
            )
        return f"timezone({literal(zone or 'UTC')}, CAST({reading.sql} AS TIMESTAMP))"
    # Spark knows STRING, not VARCHAR without a length.
    return cast(reading.sql, source=kind, to=target).replace("AS VARCHAR)", "AS STRING)")


def _zone_notes(columns: Mapping[str, str], readings: Mapping[str, Reading], spec: IngestSpec) -> list[str]:
    naive = [name for name in INSTANTS if name in readings and columns[name] != readings[name].sql]
    told = f"{spec.time_zone}, as declared" if spec.time_zone else "UTC, since no zone is declared (--time-zone)"
    return [f"Times in {name} without a zone are read in {told}." for name in naive]


def _complete(columns: Mapping[str, str]) -> dict[str, str]:
    """Every column of the event table: those that the source lacks are made up, or NULL."""
    made = {name: f"CAST(NULL AS {kind})".replace("VARCHAR", "STRING") for name, kind in CANONICAL["events"].items()}
    return {**made, "event_id": ROW_ID, "arrived_at": columns["ts"], **columns}
