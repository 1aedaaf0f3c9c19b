"""Stored partitions in, those out that differ from what the engine makes of their input anew."""

from collections.abc import Sequence
from datetime import date
from typing import TypeVar

import numpy as np

from sojourn.rollups.daily import covered_query
from sojourn.rollups.findings import Check, VerifySpec, told
from sojourn.rollups.grains import Cell, month_of
from sojourn.rollups.lifting import batches, key_columns, queries, source_rows, state_column, state_columns
from sojourn.rollups.partials import merge_query
from sojourn.rollups.rests import rest_query, rests_fingerprint
from sojourn.rollups.sliding import falling_back
from sojourn.rollups.standing import Standing
from sojourn.warehouse import Warehouse

T = TypeVar("T")
FLOATING = frozenset({"DOUBLE", "FLOAT"})


def verify_contents(found: Standing, spec: VerifySpec) -> list[Check]:
    """Days are lifted from the source again, weeks and months merged from days, windows read from partials."""
    chance = np.random.default_rng(spec.seed)
    cells = [
        cell
        for grain in ("day", "week", "month")
        for cell in drawn([each for each in found.whole if each.grain == grain], spec.partitions, chance)
    ]
    as_ofs = drawn(found.current_windows, spec.partitions, chance)
    checks = [_partials(found, table, cells) for table in found.found.definition.tables()]
    checks += [_windows(found, as_ofs)] if found.windows else []
    return [*checks, *([_rests(found)] if found.warehouse.has(found.spec.rests_table) else [])]


def drawn(things: Sequence[T], count: int | None, chance: np.random.Generator) -> list[T]:
    """So many of these, drawn at random, the last among them; all where `count` is None."""
    if count is None or len(things) <= count:
        return list(things)
    chosen = chance.choice(len(things) - 1, size=count - 1, replace=False)
    return [things[at] for at in sorted(map(int, chosen))] + [things[-1]]


def _partials(found: Standing, table: str, cells: Sequence[Cell]) -> Check:
    columns = state_columns(found.found.definition, table)
    wrong = []
    for cell in _suspected(found, table, cells):
        stored = found.warehouse.relation(table, only=[cell.partition])
        derived = _lifted(found, table, [cell]) if cell.grain == "day" else _merged(found, table, cell)
        keys = key_columns(found.found.definition, table)
        faults = differences(found.warehouse, stored, derived=derived, keys=keys, columns=columns)
        wrong += [f"{cell.grain} {cell.start} {fault}" for fault in faults]
    return Check("made anew", table, len(cells), "partials", told(wrong))


def _suspected(found: Standing, table: str, cells: Sequence[Cell]) -> list[Cell]:
    """The cells but for days that were looked at together, and nothing differed.

    Starting a query costs more than a small day's rows do: all of them at once, and one by one only to say which.
    """
    definition = found.found.definition
    keys, columns = ["day", *key_columns(definition, table)], state_columns(definition, table)
    suspected = [cell for cell in cells if cell.grain != "day"]
    for batch in batches([cell.start for cell in cells if cell.grain == "day"], found.found.rows):
        days = [Cell("day", day) for day in batch]
        relation = found.warehouse.relation(table, only=[cell.partition for cell in days])
        stored = f"(SELECT *, start AS day FROM {relation}) AS stored"
        derived = _lifted(found, table, days)
        if differences(found.warehouse, stored, derived=derived, keys=keys, columns=columns):
            suspected += days
    order = {cell: at for at, cell in enumerate(cells)}
    return sorted(suspected, key=order.__getitem__)


def _lifted(found: Standing, table: str, days: Sequence[Cell]) -> str:
    rows = source_rows(found.warehouse, found.found.definition, [cell.start for cell in days])
    return queries(found.found.definition, rows)[table]


def _merged(found: Standing, table: str, cell: Cell) -> str:
    days = [Cell("day", day).partition for day in found.found.days(cell.start, cell.end)]
    relation = found.warehouse.relation(table, only=days)
    return merge_query(found.found.definition, table, relation)


def _windows(found: Standing, as_ofs: Sequence[date]) -> Check:
    warehouse, ledger = found.warehouse, found.found
    keys, table = ledger.definition.keys, found.spec.windows_table
    wrong = []
    for as_of in as_ofs:
        query = covered_query(warehouse, ledger, as_of)
        kinds = warehouse.engine.columns(query)
        # A sum of doubles inside a list depends on which partials stood there: `recomputed` allows for that.
        exact = [name for name, kind in kinds.items() if kind in FLOATING or "DOUBLE" not in kind]
        columns = [name for name in map(ledger.definition.sql.quote, exact) if name not in keys]
        stored = warehouse.relation(table, only=[{"as_of": str(as_of)}])
        faults = differences(warehouse, stored, derived=query, keys=keys, columns=columns)
        wrong += [f"as_of={as_of} {fault}" for fault in faults]
    return Check("made anew", table, len(as_ofs), "days looked from", told(wrong))


def _rests(found: Standing) -> Check:
    """What sliding windows fall back on; a stale partition is none of a window's, as it is made again before use."""
    warehouse, ledger, table = found.warehouse, found.found, found.spec.rests_table
    definition = ledger.definition
    names = falling_back(definition)
    algebras = {name: definition.wide[name] for name in names}
    parts = [state_column(name, part) for name, algebra in algebras.items() for part in algebra.gathering()]
    have = {cell.start for cell in found.current if cell.grain == "day"}
    looked, wrong = 0, []
    for info in warehouse.partitions(table):
        since = date.fromisoformat(info.fingerprint.partition(".")[0])
        needed = ledger.days(since, Cell("month", month_of(since)).end)
        if info.fingerprint != rests_fingerprint(ledger, algebras, since) or not have.issuperset(needed):
            continue
        looked += 1
        query = rest_query(warehouse, ledger, algebras, since)
        stored = warehouse.relation(table, only=[info.partition])
        faults = differences(warehouse, stored, derived=query, keys=["day", *definition.keys], columns=parts)
        wrong += [f"month {info.partition['start']} {fault}" for fault in faults]
    return Check("made anew", table, looked, "partitions", told(wrong))


def differences(
    warehouse: Warehouse, stored: str, *, derived: str, keys: Sequence[str], columns: Sequence[str]
) -> list[str]:
    """How a stored relation differs from the query that should give the same rows, in words; nothing where it does not.

    Both have each key once. Columns whose type is a double may differ by 1e-12 of their size.
    """
    kinds = warehouse.engine.columns(f"SELECT * FROM {stored}")
    lacking = [name for name in (*keys, *columns) if name.strip('"`') not in kinds]
    if lacking:
        return [f"lacks column {lacking[0]}"]
    names = ", ".join([*keys, *columns])
    same = " AND ".join(f"a.{key} IS NOT DISTINCT FROM b.{key}" for key in keys)
    unequal = [_unequal(name, kinds[name.strip('"`')]) for name in columns]
    differs = " OR ".join(["a._there IS NULL", "b._there IS NULL", *unequal])
    named = " || ', ' || ".join(f"coalesce(CAST(coalesce(a.{key}, b.{key}) AS STRING), 'none')" for key in keys)
    found = (
        f"WITH a AS (SELECT {names}, 1 AS _there FROM {stored}), "
        f"b AS (SELECT {names}, 1 AS _there FROM ({derived}) AS derived) "
        f"SELECT count(*), min({named}), (SELECT count(*) FROM a), (SELECT count(*) FROM b) "
        f"FROM a FULL JOIN b ON {same} WHERE {differs}"
    )
    [(different, first, there, wanted)] = warehouse.engine.rows(found)
    if different:
        return [f"differs in {different:,} rows from what its input gives, the first of key {first}"]
    return [f"has {there:,} rows, and its input gives {wanted:,}"] if there != wanted else []


def _unequal(name: str, kind: str) -> str:
    if kind not in FLOATING:
        return f"a.{name} IS DISTINCT FROM b.{name}"
    near = f"abs(a.{name} - b.{name}) <= 1e-12 * greatest(abs(a.{name}), abs(b.{name}), 1e0)"
    return f"NOT coalesce(a.{name} IS NOT DISTINCT FROM b.{name} OR {near}, false)"
