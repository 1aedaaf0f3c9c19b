"""The source read into the stage: once as guessed, and again where a guess failed further down."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from sojourn.core import EmptyInput
from sojourn.events._lists import TEMPORARY_LISTS, check_texts, notes_on_lists
from sojourn.events._mapping import ColumnMap, map_columns
from sojourn.events._rejected import UNDECODABLE, Faults, collect_faults
from sojourn.events._sources import BROKEN, Look, Source, named_in_errors, open_source
from sojourn.events._stage import CANONICAL, ROWS, SAMPLE, STAGE, Plan, Staging
from sojourn.events.spec import IngestSpec
from sojourn.warehouse import Engine, Warehouse


@dataclass(frozen=True)
class Staged:
    """A source whose rows lie in the stage, judged; `notes` tells what was guessed or assumed."""

    source: Source
    columns: ColumnMap
    plan: Plan
    faults: Faults
    notes: tuple[str, ...]


def read_into_stage(warehouse: Warehouse, spec: IngestSpec, *, as_of: datetime) -> Staged:
    """Fill the stage. Raises what `ingest` raises for mappings and for faults of the whole source."""
    source = open_source(warehouse.engine, spec)
    staged = _read(warehouse, spec, source, as_of=as_of)
    if UNDECODABLE in staged.faults.reasons and source.broken:
        source = open_source(warehouse.engine, spec, encoding="latin-1")
        staged = _read(warehouse, spec, source, as_of=as_of)
    wrong = {name for reason, name in staged.plan.inferred.items() if reason in staged.faults.reasons}
    if not wrong:
        return staged
    staged = _read(warehouse, spec, source, as_of=as_of, as_text=frozenset(wrong))
    notes = [
        f"Column {name!r} begins with values of one type and goes on with others; it is kept as text."
        for name in sorted(wrong)
    ]
    return replace(staged, notes=(*staged.notes, *notes))


@contextmanager
def cleared(engine: Engine, tables: Sequence[str]) -> Iterator[None]:
    """Drop the stage and these temporary tables when the block ends, however it ends."""
    try:
        yield
    finally:
        engine.run(f"DROP VIEW IF EXISTS {ROWS}")
        _drop(engine, (STAGE, SAMPLE, *BROKEN, *TEMPORARY_LISTS, *tables))


def _read(
    warehouse: Warehouse, spec: IngestSpec, source: Source, *, as_of: datetime, as_text: frozenset[str] = frozenset()
) -> Staged:
    engine = warehouse.engine
    with named_in_errors(source.files):
        engine.run(f"CREATE OR REPLACE TEMP TABLE {SAMPLE} AS {source.sample}")
    if not engine.rows(f"SELECT 1 FROM {SAMPLE} LIMIT 1"):
        raise EmptyInput(f"{source.name} holds no rows that can be read. Give a source with rows below its header.")
    columns = map_columns(spec, list(source.columns), engine=engine)
    stored = stored_types(warehouse, spec.table)
    staging = Staging(
        spec=spec,
        source=source,
        columns=columns,
        look=Look(engine, SAMPLE, source.relation),
        as_of=as_of,
        day_zone=warehouse.spec.zone,
        stored=stored,
        as_text=as_text,
    )
    plan = staging.plan()
    check_texts(spec, staged=plan.columns, further=list(columns.extras), stored=stored)
    _drop(engine, BROKEN)
    with named_in_errors(source.files):
        engine.run(f"CREATE OR REPLACE TEMP TABLE {STAGE} AS {plan.table}")
    engine.run(f"CREATE OR REPLACE TEMP VIEW {ROWS} AS {plan.view}")
    faults = collect_faults(engine, source, table=spec.table)
    notes = (*source.notes, *columns.notes, *plan.notes, *notes_on_lists(spec, staged=plan.columns, stored=stored))
    return Staged(source, columns, plan, faults, notes)


def stored_types(warehouse: Warehouse, table: str) -> dict[str, str]:
    """The types of the further columns that the table has already; none when there is no table."""
    if not warehouse.has(table):
        return {}
    found = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(table)}")
    ours = {*CANONICAL[table], "day", "valid_to"}
    return {name: kind for name, kind in found.items() if name not in ours}


def _drop(engine: Engine, tables: Sequence[str]) -> None:
    for table in tables:
        engine.run(f"DROP TABLE IF EXISTS {table}")
