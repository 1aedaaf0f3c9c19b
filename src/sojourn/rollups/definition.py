"""A rollup's definition bound to a source: its expressions checked, its types found, its fingerprint taken."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sojourn.core import BadInput, MissingTable, SojournError, fingerprint, missing_columns
from sojourn.rollups.aggregates import Count
from sojourn.rollups.algebra import Aggregate, ElementSql, Sql
from sojourn.rollups.catalogue import aggregate
from sojourn.rollups.dialect import Dialect, dialect_of
from sojourn.rollups.expressions import Expression, bound_types, check_on, check_pure, explain, parse
from sojourn.rollups.grains import WEEKDAYS
from sojourn.rollups.spec import AggregateSpec, RollupSpec
from sojourn.rollups.types import is_number, not_single
from sojourn.rollups.windows import HourWindow, Reading, Window
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import Engine

# Raised when the meaning of a stored state changes, so that partials made before are known to be old.
STATES = "3"
PRESENCE = "_rows"


@dataclass(frozen=True)
class Definition:
    """What a rollup means over one source: its aggregates, bound to the types of their values.

    `columns` are the source's columns that are read, with their SQL types as DuckDB spells them. `days_in_order` says
    that all instants of a day come before those of the next: not so where rows have zones or days of their own.
    """

    spec: RollupSpec
    aggregates: Mapping[str, Aggregate]
    columns: Mapping[str, str]
    zone: str
    week_start: str
    sql: Dialect
    days_in_order: bool

    @cached_property
    def fingerprint(self) -> str:
        """Shared by equal partials: keys, aggregates, types, zone and week start count; the windows read do not."""
        keys = {key: self.columns[key] for key in self.spec.keys}
        meaning = {name: self._meaning(name) for name in self.spec.aggregates}
        said = json.dumps(
            [self.zone, self.week_start, self.spec.source, keys, meaning, *([] if self.days_in_order else ["whole"])]
        )
        return fingerprint("rollup", STATES, said)

    @cached_property
    def wide(self) -> dict[str, Sql]:
        """The aggregates whose state is a few columns beside the key, in SQL; one of them counts all rows of a key."""
        found = {name: each.sql(self.sql) for name, each in self.aggregates.items()}
        wide = {name: algebra for name, algebra in found.items() if isinstance(algebra, Sql)}
        if not self.days_in_order:
            wide = {name: whole(each) if self.aggregates[name].by_instant else each for name, each in wide.items()}
        counted = Count().sql(self.sql)
        return wide if self.presence in wide else {**wide, self.presence: counted}

    @cached_property
    def presence(self) -> str:
        """The aggregate that counts all rows of a key: one of the spec's, or else a hidden one."""
        everything = AggregateSpec(function="count")
        whole = {"windows_days": None, "windows": None}
        found = (name for name, each in self.spec.aggregates.items() if each.model_copy(update=whole) == everything)
        return next(found, PRESENCE)

    @cached_property
    def long(self) -> dict[str, ElementSql]:
        """The aggregates whose state is a row per key and element, in SQL."""
        found = {name: each.sql(self.sql) for name, each in self.aggregates.items()}
        return {name: algebra for name, algebra in found.items() if isinstance(algebra, ElementSql)}

    @property
    def first_weekday(self) -> int:
        """The first day of a week; 0 is Monday."""
        return WEEKDAYS.index(self.week_start)

    @property
    def reading(self) -> Reading:
        """The windows that the spec declares for each aggregate."""
        return self.spec.reading(week_start=self.week_start)

    @property
    def windows(self) -> list[Window]:
        """Every window that the spec declares for any aggregate, once."""
        return list(dict.fromkeys(window for each in self.reading.values() for window in each))

    @property
    def keys(self) -> list[str]:
        """The key columns as identifiers."""
        return [self.sql.quote(key) for key in self.spec.keys]

    def value(self, name: str) -> str:
        """SQL for the value that an aggregate reads of one row: NULL where its filter does not hold."""
        if name == PRESENCE:
            return "1"
        value = value_sql(self.spec.aggregates[name])
        return value if self.sql.name == "DuckDB" else f"CAST({value} AS {self.sql.kind(self.aggregates[name].kind)})"

    def tables(self) -> list[str]:
        """The tables of partials: one for all wide states, and one for each aggregate of elements."""
        return [self.spec.table, *(self.spec.table_of(name) for name in self.long)]

    def _meaning(self, name: str) -> list[str | int | None]:
        each, bound = self.spec.aggregates[name], self.aggregates[name]
        meaning: list[str | int | None] = [each.function, each.expression, each.where, bound.kind]
        # Of its settings only those count that change what is stored: how many are kept, and by what they are told
        # apart.
        if name in self.wide and each.k is not None:
            meaning.append(each.k)
        return [*meaning, each.by, bound.by_kind] if each.by is not None else meaning


def define(warehouse: Warehouse, spec: RollupSpec, *, last: Mapping[str, str] | None = None) -> Definition:
    """The definition of this rollup over the warehouse's source, of which `last` is the last partition, where known.

    Raises `MissingTable` without the source, `MissingColumn` for keys or columns that it lacks, and `BadInput` for an
    expression or a filter that is not SQL over one row, names an unknown function, or has a type that does not suit.
    """
    if not warehouse.has(spec.source):
        raise MissingTable(
            f"Rollup {spec.name!r} reads table {spec.source!r}; the warehouse {warehouse.root} has "
            f"{warehouse.tables() or 'none'}. Ingest it first: sojourn ingest --warehouse {warehouse.root} FILE"
        )
    found = _columns(warehouse, spec, last)
    reading = {name: _parsed(spec, name, found) for name in spec.aggregates}
    kinds = _kinds(warehouse.engine, spec, reading, found)
    bound = {name: _bound(warehouse, each, kinds, name) for name, each in spec.aggregates.items()}
    real = {name.lower(): name for name in found}
    read = _needed(spec, bound)
    missing = sorted(read - set(found))
    if missing:
        raise missing_columns(_where(spec), missing=missing, found=list(found))
    named = {name.lower() for parsed in reading.values() for each in parsed for name in each.columns}
    read |= {real[name] for name in named if name in real}
    columns = {name: kind for name, kind in found.items() if name in read}
    sql = dialect_of(warehouse.engine)
    in_order = warehouse.registered(spec.source) is None and "zone" not in found
    return Definition(
        spec,
        bound,
        columns,
        zone=warehouse.spec.zone,
        week_start=warehouse.spec.week_start,
        sql=sql,
        days_in_order=in_order,
    )


def whole(algebra: Sql) -> Sql:
    """The same algebra with states kept as they were lifted: whichever day comes first, the instant decides."""
    opened = {part: f"({sql})" for part, sql in algebra.reading().items()}
    return Sql(algebra.lift, algebra.merge, algebra.finish.format(**opened))


def value_sql(spec: AggregateSpec) -> str:
    """The value that an aggregate reads of one row: NULL where its filter does not hold.

    >>> value_sql(AggregateSpec(function="sum", expression="amount", where="event = 'pay'"))
    "CASE WHEN (event = 'pay') THEN (amount) END"
    """
    expression = f"({spec.expression or 1})"
    return expression if spec.where is None else f"CASE WHEN ({spec.where}) THEN {expression} END"


def _columns(warehouse: Warehouse, spec: RollupSpec, last: Mapping[str, str] | None) -> dict[str, str]:
    """The source's columns: those of its last day where they hold all that is named, as older days cost a look each."""
    named = {*spec.keys, "day"}
    for name, each in spec.aggregates.items():
        named |= set(aggregate(each.function).needs_columns)
        texts = [text for text in (each.expression, each.where, each.by) if text is not None]
        named |= {column for text in texts for column in parse(text, where=_where(spec, name)).columns}
    if warehouse.registered(spec.source) is None:
        last = last or warehouse.places(spec.source)[-1]
        newest = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(spec.source, only=[last])}")
        if {name.lower() for name in named} <= {name.lower() for name in newest}:
            return newest
    return warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(spec.source)}")


def _needed(spec: RollupSpec, bound: Mapping[str, Aggregate]) -> set[str]:
    hours = any(isinstance(window, HourWindow) for each in spec.reading().values() for window in each)
    return {*spec.keys, "day", *(("ts",) if hours else ()), *(c for each in bound.values() for c in each.needs_columns)}


def _bound(warehouse: Warehouse, spec: AggregateSpec, kinds: Mapping[str, str], name: str) -> Aggregate:
    return aggregate(spec.function)(
        kind=kinds[name],
        by_kind=kinds.get(f"{name}__by"),
        k=spec.k,
        q=spec.q,
        zone=warehouse.spec.zone,
        week_start=WEEKDAYS.index(warehouse.spec.week_start),
    )


def _where(spec: RollupSpec, name: str | None = None) -> str:
    return f"Rollup {spec.name!r} over table {spec.source!r}" + ("" if name is None else f", aggregate {name!r}")


def _parsed(spec: RollupSpec, name: str, found: Mapping[str, str]) -> list[Expression]:
    each, where = spec.aggregates[name], _where(spec, name)
    parsed = [parse(text, where=where) for text in (each.expression, each.where, each.by) if text is not None]
    for expression in parsed:
        check_pure(expression, found=found, where=where)
    return parsed


def _kinds(
    engine: Engine, spec: RollupSpec, reading: Mapping[str, list[Expression]], found: Mapping[str, str]
) -> dict[str, str]:
    values = {name: value_sql(each) for name, each in spec.aggregates.items()}
    filters = {f"{name}__where": f"({each.where})" for name, each in spec.aggregates.items() if each.where is not None}
    groups = {f"{name}__by": f"({each.by})" for name, each in spec.aggregates.items() if each.by is not None}
    try:
        kinds = bound_types(values | filters | groups, found=found)
    except SojournError:
        for name, value in (values | groups).items():
            said = name.removesuffix("__by")
            explain(value, reading=reading[said], found=found, where=_where(spec, said))
        raise
    for name, each in spec.aggregates.items():
        _check_kinds(each, kinds[name], kinds.get(f"{name}__where", "BOOLEAN"), where=_where(spec, name))
        needed = not_single(kinds.get(f"{name}__by", "VARCHAR"))
        if needed is not None:
            raise BadInput(
                f"{_where(spec, name)}: a category is {needed}, and {each.by!r} is {kinds[f'{name}__by']}. "
                f"Cast it: by = 'CAST({each.by} AS VARCHAR)'"
            )
        check_on(engine, values[name], texts=reading[name], found=found, where=_where(spec, name))
    return kinds


def _check_kinds(spec: AggregateSpec, kind: str, filter_kind: str, *, where: str) -> None:
    if filter_kind != "BOOLEAN":
        raise BadInput(
            f"{where}: the filter {spec.where!r} is {filter_kind}, neither true nor false. "
            f"Compare it with something: {spec.where} = ..."
        )
    if aggregate(spec.function).needs_number and not is_number(kind):
        raise BadInput(
            f"{where}: {spec.function!r} needs a number, and {spec.expression!r} is {kind}. "
            f"Cast it: expression = 'CAST({spec.expression} AS DECIMAL(18,4))'"
        )
    needed = aggregate(spec.function).refuses(kind)
    if needed is not None:
        raise BadInput(
            f"{where}: {spec.function!r} needs {needed}, and {spec.expression!r} is {kind}. "
            f"Cast it: expression = 'CAST({spec.expression} AS ...)'"
        )
