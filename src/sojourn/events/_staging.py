"""The source read into the stage: once as guessed, and again where a guess failed further down."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sojourn.core import EmptyInput
from sojourn.events._lists import TEMPORARY_LISTS, check_texts, notes_on_lists
from sojourn.events._mapping import ColumnMap, map_columns
from sojourn.events._meaning import meaning
from sojourn.events._rejected import UNDECODABLE, Faults, collect_faults
from sojourn.events._sources import BROKEN, WINDOWS, Look, Source, named_in_errors, open_source
from sojourn.events._stage import CANONICAL, ROWS, SAMPLE, STAGE, Plan, Staging
from sojourn.events.spec import IngestSpec
from sojourn.warehouse import Engine, Warehouse
from sojourn.warehouse.engine import identifier


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
    with TemporaryDirectory(prefix="sojourn-") as folder:
        return _read_until_it_fits(warehouse, spec, as_of=as_of, aside=Path(folder))


def _read_until_it_fits(warehouse: Warehouse, spec: IngestSpec, *, as_of: datetime, aside: Path) -> Staged:
    source = open_source(warehouse.engine, spec, aside=aside)
    staged = _read(warehouse, spec, source, as_of=as_of)
    if UNDECODABLE in staged.faults.reasons and source.broken:
        source = open_source(warehouse.engine, spec, aside=aside, encoding=WINDOWS)
        staged = _read(warehouse, spec, source, as_of=as_of)
    later = _later_words(warehouse.engine, staged)
    if later:
        staged = _read(warehouse, spec, source, as_of=as_of, later=later)
    wrong = {name for reason, name in staged.plan.inferred.items() if reason in staged.faults.reasons}
    if not wrong:
        return staged
    staged = _read(warehouse, spec, source, as_of=as_of, as_text=frozenset(wrong), later=later)
    notes = [
        f"Column {name!r} begins with values of one type and goes on with others; it is kept as text."
        for name in sorted(wrong)
    ]
    return replace(staged, notes=(*staged.notes, *notes))


def _later_words(engine: Engine, staged: Staged) -> dict[str, frozenset[str]]:
    """Words of rows that are no sales, yet have an amount above 0, since no row of the sample had them; by column."""
    named = {
        reading.uses[0]: name
        for name, reading in {**staged.columns.extras, **staged.columns.ours}.items()
        if reading.plain
    }
    found = {}
    for column, seen in staged.columns.seen.items():
        if column in named:
            word = f"CAST({identifier(named[column])} AS VARCHAR)"
            rows = engine.rows(f"SELECT DISTINCT {word} AS w FROM {ROWS} WHERE amount > 0 AND w IS NOT NULL")
            found[column] = frozenset(w for (w,) in rows if w not in seen and meaning(w) not in (None, "bought"))
    return {column: words for column, words in found.items() if words}


@contextmanager
def cleared(engine: Engine, tables: Sequence[str]) -> Iterator[None]:
    """Drop the stage and these temporary tables when the block ends, however it ends."""
    try:
        yield
    finally:
        engine.run(f"DROP VIEW IF EXISTS {ROWS}")
        _drop(engine, (STAGE, SAMPLE, *BROKEN, *TEMPORARY_LISTS, *tables))


def _read(
    warehouse: Warehouse,
    spec: IngestSpec,
    source: Source,
    *,
    as_of: datetime,
    as_text: frozenset[str] = frozenset(),
    later: Mapping[str, frozenset[str]] | None = None,
) -> Staged:
    engine = warehouse.engine
    with named_in_errors(source.files):
        engine.run(f"CREATE OR REPLACE TEMP TABLE {SAMPLE} AS {source.sample}")
    if not engine.rows(f"SELECT 1 FROM {SAMPLE} LIMIT 1"):
        raise EmptyInput(f"{source.name} holds no rows that can be read. Give a source with rows below its header.")
    look = Look(engine, SAMPLE, source.relation)
    columns = map_columns(spec, list(source.columns), look=look, later=later)
    stored = stored_types(warehouse, spec.table)
    staging = Staging(
        spec=spec,
        source=source,
        columns=columns,
        look=look,
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
