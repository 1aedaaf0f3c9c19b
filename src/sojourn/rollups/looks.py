"""Windows for chosen keys on chosen days: what a training set asks, whose every row has a day of its own."""

from dataclasses import replace
from datetime import date

import polars as pl

from sojourn.core import BadInput, need_columns
from sojourn.rollups.cover import Cover, cover_of
from sojourn.rollups.known import Known, known_within_history
from sojourn.rollups.ledger import Ledger, ledger
from sojourn.rollups.reading import Windows, or_nothing, same_key
from sojourn.rollups.spec import RollupSpec
from sojourn.warehouse import Warehouse

PLACE = "_place"


def windows_at(
    warehouse: Warehouse, spec: RollupSpec, looks: pl.DataFrame, *, known_after_hours: float | None = None
) -> pl.DataFrame:
    """The declared windows for each row of `looks`, which has the keys and `as_of` (Date): the same rows and columns in
    the same order, with `<aggregate>_<window>` added.

    Counts, sums and active days of nothing are 0, every other value of nothing is null, also for keys that the source
    has never had. `known_after_hours` is `window_table`'s. Raises `MissingColumn` and `BadInput` for looks without keys
    or days, and as `window_table` does.
    """
    where = f"rollups.windows_at with rollup {spec.name!r}"
    need_columns(looks, [*spec.keys, "as_of"], where=where)
    if looks.schema["as_of"] != pl.Date or looks["as_of"].has_nulls():
        raise BadInput(
            f"{where} needs a day in each row of 'as_of', and it is {looks.schema['as_of']} with "
            f"{looks['as_of'].null_count()} nulls. Cast it: looks.with_columns(pl.col('as_of').cast(pl.Date))"
        )
    as_ofs = looks["as_of"].unique().sort().to_list()
    found = ledger(warehouse, spec)
    known = known_within_history(warehouse, found, as_ofs, after_hours=known_after_hours)
    cover = _cheapest_cover(warehouse, found, as_ofs, known)
    found.need_current([cell for cell in cover.used if cell.grain == "day"])
    with warehouse.engine.table(looks.with_row_index(PLACE)) as name:
        return warehouse.engine.frame(_query(warehouse, found, cover, looks, name))


def _query(warehouse: Warehouse, found: Ledger, cover: Cover, looks: pl.DataFrame, name: str) -> str:
    definition = found.definition
    keys = ", ".join([*definition.keys, "as_of"])
    windows = Windows(warehouse, definition, cover, definition.reading, looks="looks").query()
    values = [
        f"{or_nothing(f'found.{aggregate}_{window.name}', definition.aggregates[aggregate].of_nothing)} "
        f"AS {aggregate}_{window.name}"
        for aggregate, each in definition.reading.items()
        for window in each
    ]
    asked = ", ".join([*(f"l.{definition.sql.quote(column)}" for column in looks.columns), *values])
    same = f"{same_key(definition, 'l', 'found')} AND l.as_of = found.as_of"
    return (
        f"WITH looks AS (SELECT DISTINCT {keys} FROM {name}), found AS ({windows}) "
        f"SELECT {asked} FROM {name} AS l LEFT JOIN found ON {same} ORDER BY l.{PLACE}"
    )


def _cheapest_cover(warehouse: Warehouse, found: Ledger, as_ofs: list[date], known: Known | None) -> Cover:
    """The fewest partials for each day, or days alone: where many days are looked from, these share more of them."""
    covers = [
        cover_of(warehouse, each, as_ofs, found.definition.windows, known=known and replace(known, found=each))
        for each in (found, replace(found, stored={c: mark for c, mark in found.stored.items() if c.grain == "day"}))
    ]
    table = found.definition.spec.table
    return min(
        covers,
        key=lambda cover: sum(info.rows for cell in cover.used if (info := warehouse.partition(table, cell.partition))),
    )
