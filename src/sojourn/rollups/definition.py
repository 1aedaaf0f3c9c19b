"""A rollup's definition bound to a source: its expressions checked, its types found, its fingerprint taken."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sojourn.core import BadInput, MissingTable, SojournError, fingerprint, missing_columns
from sojourn.rollups.aggregates import aggregate, is_number
from sojourn.rollups.algebra import Aggregate
from sojourn.rollups.expressions import Expression, bound_types, check_pure, explain, parse
from sojourn.rollups.spec import AggregateSpec, RollupSpec
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import Engine

# Raised when the meaning of a stored state changes, so that partials made before are known to be old.
STATES = "1"


@dataclass(frozen=True)
class Definition:
    """What a rollup means over one source: its aggregates, bound to the types of their values.

    `columns` are the source's columns that are read, with their SQL types.
    """

    spec: RollupSpec
    aggregates: Mapping[str, Aggregate]
    columns: Mapping[str, str]
    zone: str
    week_start: str

    @cached_property
    def fingerprint(self) -> str:
        """Shared by equal partials: keys, aggregates, types, zone and week start count; the windows read do not."""
        keys = {key: self.columns[key] for key in self.spec.keys}
        meaning = {
            name: [each.function, each.expression, each.where, self.aggregates[name].kind]
            for name, each in self.spec.aggregates.items()
        }
        said = json.dumps([self.zone, self.week_start, self.spec.source, keys, meaning])
        return fingerprint("rollup", STATES, said)


def define(warehouse: Warehouse, spec: RollupSpec) -> Definition:
    """The definition of this rollup over the warehouse's source.

    Raises `MissingTable` without the source, `MissingColumn` for keys or columns that it lacks, and `BadInput` for an
    expression or a filter that is not SQL over one row, names an unknown function, or has a type that does not suit.
    """
    if not warehouse.has(spec.source):
        raise MissingTable(
            f"Rollup {spec.name!r} reads table {spec.source!r}; the warehouse {warehouse.root} has "
            f"{warehouse.tables() or 'none'}. Ingest it first: sojourn ingest --warehouse {warehouse.root} FILE"
        )
    found = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(spec.source)}")
    reading = {name: _parsed(spec, name, found) for name in spec.aggregates}
    kinds = _kinds(warehouse.engine, spec, reading, found)
    bound = {name: aggregate(each.function)(kind=kinds[name]) for name, each in spec.aggregates.items()}
    named = {name for parsed in reading.values() for each in parsed for name in each.columns}
    real = {name.lower(): name for name in found}
    read = {*spec.keys, "day", *(column for each in bound.values() for column in each.needs_columns)}
    missing = sorted(read - set(found))
    if missing:
        raise missing_columns(_where(spec), missing=missing, found=list(found))
    read |= {real[name.lower()] for name in named if name.lower() in real}
    columns = {name: kind for name, kind in found.items() if name in read}
    return Definition(spec, bound, columns, zone=warehouse.spec.zone, week_start=warehouse.spec.week_start)


def value_sql(spec: AggregateSpec) -> str:
    """The value that an aggregate reads of one row: NULL where its filter does not hold.

    >>> value_sql(AggregateSpec(function="sum", expression="amount", where="event = 'pay'"))
    "CASE WHEN (event = 'pay') THEN (amount) END"
    """
    expression = f"({spec.expression or 1})"
    return expression if spec.where is None else f"CASE WHEN ({spec.where}) THEN {expression} END"


def _where(spec: RollupSpec, name: str | None = None) -> str:
    return f"Rollup {spec.name!r} over table {spec.source!r}" + ("" if name is None else f", aggregate {name!r}")


def _parsed(spec: RollupSpec, name: str, found: Mapping[str, str]) -> list[Expression]:
    each, where = spec.aggregates[name], _where(spec, name)
    parsed = [parse(text, where=where) for text in (each.expression, each.where) if text is not None]
    for expression in parsed:
        check_pure(expression, found=found, where=where)
    return parsed


def _kinds(
    engine: Engine, spec: RollupSpec, reading: Mapping[str, list[Expression]], found: Mapping[str, str]
) -> dict[str, str]:
    values = {name: value_sql(each) for name, each in spec.aggregates.items()}
    filters = {f"{name}__where": f"({each.where})" for name, each in spec.aggregates.items() if each.where is not None}
    try:
        kinds = bound_types(engine, values | filters, found=found)
    except SojournError:
        for name, value in values.items():
            explain(engine, value, reading=reading[name], found=found, where=_where(spec, name))
        raise
    for name, each in spec.aggregates.items():
        _check_kinds(each, kinds[name], kinds.get(f"{name}__where", "BOOLEAN"), where=_where(spec, name))
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
