"""Rows of the source in, states out: the one place where raw events are read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date

from sojourn.core import BadInput, EngineError
from sojourn.rollups.definition import Definition, value_sql
from sojourn.rollups.dialect import Dialect, DuckDBSql
from sojourn.warehouse import Warehouse

BATCH_ROWS = 200_000
LIFTED = "_lifted_partials"


def state_column(aggregate: str, part: str) -> str:
    """The column of a partial that holds one part of an aggregate's state."""
    return f"{aggregate}__{part}"


def lift_query(definition: Definition, relation: str, *, sql: Dialect) -> str:
    """SQL for the state of every key and day in a relation: `day`, the keys, then `<aggregate>__<part>`."""
    keys = ", ".join(("day", *(sql.quote(key) for key in definition.spec.keys)))
    states = ", ".join(
        f"{template.format(value=value_sql(definition.spec.aggregates[name]), only='')} AS {state_column(name, part)}"
        for name, each in definition.aggregates.items()
        for part, template in each.sql(sql).lift.items()
    )
    return f"SELECT {keys}, {states} FROM {_with_every_column(definition, relation, sql=sql)} GROUP BY {keys}"


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
def lifted(warehouse: Warehouse, definition: Definition, days: Sequence[date]) -> Iterator[Callable[[date], str]]:
    """How to ask for one day's states, without the column `day`, while the block runs.

    Raises `BadInput` naming the days when an expression cannot be computed for some row.
    """
    spec, sql = definition.spec, DuckDBSql()
    relation = warehouse.relation(spec.source, only=[{"day": str(day)} for day in days])
    query = lift_query(definition, relation, sql=sql)
    try:
        if len(days) == 1:
            yield lambda day: f"SELECT * EXCLUDE (day) FROM ({query}) WHERE day = DATE '{day}'"
            return
        warehouse.engine.run(f"CREATE OR REPLACE TEMP TABLE {LIFTED} AS {query}")
        yield lambda day: _one_day(definition, day, sql=sql)
        warehouse.engine.run(f"DROP TABLE {LIFTED}")
    except EngineError as fault:
        told = f"day {days[0]}" if len(days) == 1 else f"days {days[0]} to {days[-1]}"
        raise BadInput(f"Rollup {spec.name!r} cannot be built for {told}: {fault}") from fault


def _one_day(definition: Definition, day: date, *, sql: Dialect) -> str:
    # Grouped once more, though each key stands there once: a table's statistics leak into the bytes that DuckDB writes
    # (how it encodes the absence of nulls), and so would depend on the other days of the batch.
    keys = ", ".join(sql.quote(key) for key in definition.spec.keys)
    columns = [state_column(name, part) for name, each in definition.aggregates.items() for part in each.sql(sql).lift]
    states = ", ".join(f"any_value({column}) AS {column}" for column in columns)
    return f"SELECT {keys}, {states} FROM {LIFTED} WHERE day = DATE '{day}' GROUP BY {keys}"


def _with_every_column(definition: Definition, relation: str, *, sql: Dialect) -> str:
    # A day's file may lack a column that came later; it is NULL there, as it is when the whole table is read.
    columns = ", ".join(f"CAST(NULL AS {kind}) AS {sql.quote(name)}" for name, kind in definition.columns.items())
    return f"(SELECT {columns} WHERE false UNION ALL BY NAME SELECT * FROM {relation})"
