"""A board as declared comes in; the mark that its tables carry, and a sentence where they carry another, go out."""

from collections.abc import Sequence

from sojourn.core import BadInput, fingerprint
from sojourn.metrics.catalogue import metrics_of
from sojourn.metrics.spec import TEST_ACCOUNTS, BoardSpec
from sojourn.warehouse import Warehouse

# Raised when the meaning of a stored table changes, so that what was made before is known to be old.
TABLES = "2"
IN_VALUES = ("total", "states", "bracket")


def portrait_columns(warehouse: Warehouse, table: str) -> dict[str, str]:
    """The columns of a table of portraits with their types."""
    return warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(table)}")


def flag_of(warehouse: Warehouse, board: BoardSpec) -> str | None:
    """The column of the portraits that marks test accounts; None where there is none, or none is to be read."""
    mark = board.test_accounts
    if mark is None or not warehouse.has(board.portraits):
        return None
    return mark if mark in portrait_columns(warehouse, board.portraits) else None


def is_named(board: BoardSpec) -> bool:
    """Whether the column that marks test accounts was asked for by a name of its own, and so has to be there."""
    return board.test_accounts not in (None, TEST_ACCOUNTS)


def board_mark(warehouse: Warehouse, board: BoardSpec) -> str:
    """A fingerprint of all that a board's figures mean: its declaration, the zone, the start of weeks.

    Which metrics and funnels it publishes is not in it, nor how many states are kept.
    """
    said = board.model_dump_json(exclude={"metrics", "funnels", "keep_states", "name"})
    where = warehouse.spec
    return fingerprint("metrics", TABLES, said, str(flag_of(warehouse, board)), where.zone, where.week_start)


def table_mark(board: BoardSpec, table: str) -> str:
    """A fingerprint of what else one of the board's tables depends on: the metrics or the funnels that lie in it."""
    if table == board.values_table:
        held = (each for each in metrics_of(board).values() if each.shape in IN_VALUES)
        return fingerprint("values", *(metric.fingerprint for metric in held))
    if table == board.funnels_table:
        return fingerprint("funnels", *(f"{name} {board.funnels[name].fingerprint}" for name in sorted(board.funnels)))
    return fingerprint(table)


def refuse_other(warehouse: Warehouse, board: BoardSpec, *, table: str, places: Sequence[dict[str, str]]) -> None:
    """Raise `BadInput` when any of these partitions was made by another definition of the board than this one."""
    told = fault_of(warehouse, board, table=table, places=places)
    if told is not None:
        raise BadInput(told)


def built_otherwise(warehouse: Warehouse, board: BoardSpec) -> str | None:
    """The sentence that tells of a table of the board whose latest figures another definition made; None where none is.

    For pages, which show it above figures that are not what the settings say now. Only the latest partition of each
    table and grain is looked at.
    """
    for table in (board.values_table, board.cohorts_table, board.unbounded_table, board.funnels_table):
        latest = {place["grain"]: place for place in warehouse.places(table)}
        told = fault_of(warehouse, board, table=table, places=list(latest.values()))
        if told is not None:
            return told
    return None


def fault_of(warehouse: Warehouse, board: BoardSpec, *, table: str, places: Sequence[dict[str, str]]) -> str | None:
    """What is wrong with the definition that made these partitions of a table, as a sentence; None when nothing is."""
    mine, beside = board_mark(warehouse, board), table_mark(board, table)
    made = [str(warehouse.fingerprint_of(table, place)).split(".") for place in places]
    others = [place for place, mark in zip(places, made, strict=True) if mark[0] != mine]
    mend = "sojourn metrics backfill --rebuild"
    if not others:
        others = [place for place, mark in zip(places, made, strict=True) if mark[1:2] != [beside]]
        mend = "sojourn metrics backfill"
    if not others:
        return None
    first = others[0]
    return (
        f"Board {board.name!r}: table {table!r} was built with another definition than [metrics.boards.{board.name}] "
        f"declares now ({len(others):,} of {len(places):,} partitions asked for, the first {first['grain']} "
        f"{first['start']}). Build it anew: {mend}"
    )
