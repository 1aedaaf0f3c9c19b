"""Rows of the source in, states out: the one place where raw events are read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date

from sojourn.core import BadInput, EngineError
from sojourn.rollups.definition import Definition
from sojourn.warehouse import Warehouse

BATCH_ROWS = 200_000
LIFTED = "_lifted_partials"
ELEMENT = "element"


def state_column(aggregate: str, part: str) -> str:
    """The column of a partial that holds one part of an aggregate's state, or its element."""
    return f"{aggregate}__{part}"


def lift_query(definition: Definition, relation: str, *, by: Sequence[str] = ()) -> str:
    """SQL for the wide state of every key and day in a relation: `day`, the keys, then `<aggregate>__<part>`.

    `by` are further columns of the relation that tell states apart; they come first.
    """
    keys = ", ".join((*by, "day", *definition.keys))
    lifted, kept = [], []
    for name, algebra in definition.wide.items():
        made = {part: f"_{state_column(name, part)}" for part in algebra.lift}
        value = definition.value(name)
        lifted += [f"{sql.format(value=value, only='')} AS {made[part]}" for part, sql in algebra.lift.items()]
        kept += [f"{sql.format(**made)} AS {state_column(name, part)}" for part, sql in algebra.reading().items()]
    states = f"SELECT {keys}, {', '.join(lifted)} FROM {relation} GROUP BY {keys}"
    return f"SELECT {keys}, {', '.join(kept)} FROM ({states})"


def lift_elements_query(definition: Definition, name: str, relation: str, *, by: Sequence[str] = ()) -> str:
    """SQL for the state of every key, day and element: `day`, the keys, `<aggregate>__element`, its parts."""
    algebra, spec, sql = definition.long[name], definition.spec.aggregates[name], definition.sql
    keys = ", ".join((*by, "day", *definition.keys))
    needed = ", ts" if "ts" in definition.columns and "ts" not in definition.spec.keys else ""
    category = "" if spec.by is None else f", ({spec.by}) AS _by"
    rows = f"(SELECT {keys}{needed}, {definition.value(name)} AS _value{category} FROM {relation})"
    value, items = ("item", sql.items("_value")) if algebra.lists else ("_value", "")
    element = algebra.element.format(value=value, by="_by")
    parts = "".join(
        f", {template.format(value=value, by='_by', only='')} AS {state_column(name, part)}"
        for part, template in algebra.lift.items()
    )
    found = f"(SELECT *, {element} AS _element FROM {rows} _rows{items})"
    return (
        f"SELECT {keys}, _element AS {state_column(name, ELEMENT)}{parts} FROM {found} "
        f"WHERE _element IS NOT NULL GROUP BY {keys}, _element"
    )


def queries(definition: Definition, relation: str, *, by: Sequence[str] = ()) -> dict[str, str]:
    """The query that lifts each table of partials from a relation of rows."""
    spec = definition.spec
    return {
        spec.table: lift_query(definition, relation, by=by),
        **{spec.table_of(name): lift_elements_query(definition, name, relation, by=by) for name in definition.long},
    }


def batches(days: Sequence[date], rows: Mapping[date, int]) -> Iterator[list[date]]:
    """The days in order, in batches of at most `BATCH_ROWS` rows, or one day where a day has more.

    Starting a query costs more than a small day's rows do: 365 days of 4,000 rows took 7 s one by one, 3.5 s so.
    """
    batch: list[date] = []
    for day in days:
        if batch and sum(rows[each] for each in batch) + rows[day] > BATCH_ROWS:
            yield batch
            batch = []
        batch.append(day)
    if batch:
        yield batch


@contextmanager
def lifted(warehouse: Warehouse, definition: Definition, days: Sequence[date]) -> Iterator[Callable[[str, date], str]]:
    """How to ask for one table's states of one day, without the column `day`, while the block runs.

    Raises `BadInput` naming the days when an expression cannot be computed for some row.
    """
    spec, sql = definition.spec, definition.sql
    asked = queries(definition, source_rows(warehouse, definition, days))
    names = {table: f"{LIFTED}_{number}" for number, table in enumerate(asked)}
    try:
        if len(days) == 1:
            yield lambda table, day: _of_day(definition, table, f"({asked[table]})", day)
            return
        for table, query in asked.items():
            warehouse.engine.run(sql.let_go(names[table]))
            warehouse.engine.run(sql.keep(names[table], query))
        yield lambda table, day: _of_day(definition, table, names[table], day)
        for name in names.values():
            warehouse.engine.run(sql.let_go(name))
    except EngineError as fault:
        told = f"day {days[0]}" if len(days) == 1 else f"days {days[0]} to {days[-1]}"
        raise BadInput(f"Rollup {spec.name!r} cannot be built for {told}: {fault}") from fault


def source_rows(warehouse: Warehouse, definition: Definition, days: Sequence[date]) -> str:
    """SQL to stand after FROM: the source's rows of these days, with every column that the definition reads.

    A day's file may lack a column that came later; it is NULL there, as it is when the whole table is read.
    """
    relation = warehouse.relation(definition.spec.source, only=[{"day": str(day)} for day in days])
    return definition.sql.with_columns(relation, definition.columns, columns_of=warehouse.engine.columns)


def _of_day(definition: Definition, table: str, lifted: str, day: date) -> str:
    # Grouped once more, though each row stands there once: a table's statistics leak into the bytes that DuckDB writes
    # (how it encodes the absence of nulls), and so would depend on the other days of the batch.
    keys, states = key_columns(definition, table), state_columns(definition, table)
    if lifted.startswith("("):
        return f"SELECT {', '.join([*keys, *states])} FROM {lifted} WHERE day = DATE '{day}'"
    taken = ", ".join([*keys, *(f"any_value({column}) AS {column}" for column in states)])
    return f"SELECT {taken} FROM {lifted} WHERE day = DATE '{day}' GROUP BY {', '.join(keys)}"


def key_columns(definition: Definition, table: str) -> list[str]:
    """What tells the rows of one partial of this table apart: the keys, and the element where it has elements."""
    names = [name for name in definition.long if definition.spec.table_of(name) == table]
    return [*definition.keys, *(state_column(name, ELEMENT) for name in names)]


def state_columns(definition: Definition, table: str) -> list[str]:
    """The parts of the states in this table."""
    if table == definition.spec.table:
        return [state_column(name, part) for name, algebra in definition.wide.items() for part in algebra.reading()]
    [name] = [name for name in definition.long if definition.spec.table_of(name) == table]
    return [state_column(name, part) for part in definition.long[name].lift]
