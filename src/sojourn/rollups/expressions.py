"""The user's own SQL, checked at the door: one expression over one row, whose columns and functions exist."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

from sojourn.core import BadInput, EngineError, SojournError, missing_columns
from sojourn.rollups.dialect import dialect_of
from sojourn.warehouse import DuckDBEngine, Engine, EngineSpec
from sojourn.warehouse.engine import identifier, literal

# Standard SQL writes these without brackets, so the parser takes them for columns.
CLOCKS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
BEYOND_A_ROW = frozenset({"SUBQUERY", "WINDOW", "STAR"})


@dataclass(frozen=True)
class Expression:
    """A SQL expression as the parser sees it: the columns and functions it names."""

    text: str
    columns: frozenset[str]
    functions: frozenset[str]


def parse(text: str, *, where: str) -> Expression:
    """The expression, if it is one and looks at one row only. Raises `BadInput` otherwise.

    >>> sorted(parse("event = 'pay' AND amount > 3", where="example").columns)
    ['amount', 'event']
    """
    tree = _tree(text)
    if tree["error"]:
        raise BadInput(f"{where}: {text!r} is not SQL ({tree['error_message']}). Write it as after WHERE in a query.")
    nodes = list(_nodes(tree))
    if not _is_one_expression(tree) or any(node.get("class") in BEYOND_A_ROW for node in nodes):
        raise BadInput(
            f"{where}: {text!r} is not one expression over one row. Write it as after WHERE, "
            "without queries and windows."
        )
    columns = {node["column_names"][0] for node in nodes if node.get("class") == "COLUMN_REF"}
    functions = {node["function_name"] for node in nodes if node.get("class") == "FUNCTION"}
    return Expression(text, frozenset(columns), frozenset(functions))


def check_pure(expression: Expression, *, found: Mapping[str, str], where: str) -> None:
    """Raise `BadInput` when the expression reads the clock, chance or the session: it must mean the same tomorrow."""
    columns = {name.lower() for name in expression.columns} - {name.lower() for name in found}
    asked = sorted(({name.lower() for name in expression.functions} & _unsteady_functions()) | (columns & CLOCKS))
    if asked:
        raise BadInput(
            f"{where}: {expression.text!r} asks for {asked[0]}, whose answer changes from run to run. "
            "A rollup must mean the same tomorrow: use columns of the row."
        )


def bound_types(values: Mapping[str, str], *, found: Mapping[str, str]) -> dict[str, str]:
    """The SQL types of these values over a table with the columns `found`, as DuckDB has them; nothing is read.

    Raises DuckDB's own error when any of them does not bind: `explain` says why. Whatever engine computes the values
    later, their types are these.
    """
    return dict(_bound(tuple(values.items()), tuple(found.items())))


@lru_cache(maxsize=500)
def _bound(values: tuple[tuple[str, str], ...], found: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return _parser().columns(_over_nothing(values, found, quote=identifier, kind=lambda kind: kind))


def _over_nothing(
    values: Iterable[tuple[str, str]],
    found: Iterable[tuple[str, str]],
    *,
    quote: Callable[[str], str],
    kind: Callable[[str], str],
) -> str:
    table = ", ".join(f"CAST(NULL AS {kind(said)}) AS {quote(name)}" for name, said in found)
    # any_value refuses aggregates and windows inside its argument.
    taken = ", ".join(f"any_value({value}) AS {name}" for name, value in values)
    return f"SELECT {taken} FROM (SELECT {table})"


def explain(value: str, *, reading: Sequence[Expression], found: Mapping[str, str], where: str) -> None:
    """Raise what is wrong with one value; nothing happens when it binds.

    `MissingColumn` comes with the nearest names, `BadInput` for an unknown function or types that do not go together.
    """
    try:
        bound_types({"v": value}, found=found)
    except SojournError as fault:
        known = {name.lower() for name in found}
        missing = sorted({name for each in reading for name in each.columns if name.lower() not in known})
        if missing:
            raise missing_columns(where, missing=missing, found=list(found)) from fault
        _check_functions(reading, where=where)
        texts, words = " with ".join(repr(each.text) for each in reading), str(fault).splitlines()[0].rstrip(".")
        raise BadInput(f"{where}: {texts} cannot be used ({words}). Mend it, then run it again.") from fault


def check_on(engine: Engine, value: str, *, texts: Sequence[Expression], found: Mapping[str, str], where: str) -> None:
    """Raise `BadInput` when the engine that will compute the value, other than DuckDB, does not understand it."""
    sql = dialect_of(engine)
    if sql.name == "DuckDB":
        return
    named = {name.lower() for each in texts for name in each.columns}
    read = [(name, kind) for name, kind in found.items() if name.lower() in named] or [("_", "INTEGER")]
    try:
        engine.columns(_over_nothing([("v", value)], read, quote=sql.quote, kind=sql.kind))
    except EngineError as fault:
        said, words = " with ".join(repr(each.text) for each in texts), str(fault).splitlines()[0].rstrip(".")
        raise BadInput(
            f"{where}: {said} means something to DuckDB and nothing to {sql.name} ({words}). "
            "Write it with what both have."
        ) from fault


def _check_functions(reading: Sequence[Expression], *, where: str) -> None:
    known = {name for (name,) in _parser().rows("SELECT DISTINCT function_name FROM duckdb_functions()")}
    for each in reading:
        for function in sorted(each.functions - known):
            near = get_close_matches(function, known, n=2, cutoff=0.6)
            mend = f" Did you mean {' or '.join(near)}?" if near else " Use a function that the engine has."
            raise BadInput(f"{where}: {each.text!r} calls {function}(), which DuckDB does not have.{mend}")


@cache
def _parser() -> DuckDBEngine:
    # Whatever engine runs the query, DuckDB's parser reads the text.
    return DuckDBEngine(EngineSpec(threads=1))


@cache
def _tree(text: str) -> dict[str, Any]:
    [(told,)] = _parser().rows(f"SELECT json_serialize_sql({literal(f'SELECT {text}')})")
    tree: dict[str, Any] = json.loads(told)
    return tree


@cache
def _unsteady_functions() -> frozenset[str]:
    unsteady = "function_type = 'scalar' AND stability <> 'CONSISTENT'"
    return frozenset(
        name for (name,) in _parser().rows(f"SELECT function_name FROM duckdb_functions() WHERE {unsteady}")
    )


def _is_one_expression(tree: Mapping[str, Any]) -> bool:
    select = tree["statements"][0]["node"]
    if len(tree["statements"]) != 1 or select["type"] != "SELECT_NODE" or len(select["select_list"]) != 1:
        return False
    rest = ("modifiers", "where_clause", "group_expressions", "having", "sample", "qualify")
    return select["from_table"]["type"] == "EMPTY" and not any(select[part] for part in rest)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for each in tree.values():
            yield from _nodes(each)
    elif isinstance(tree, list):
        for each in tree:
            yield from _nodes(each)
