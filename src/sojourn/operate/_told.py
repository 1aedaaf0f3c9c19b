"""The accounts of runs come in, with ids of users who were forgotten in their sentences; they come out without."""

import re
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from sojourn.core import fingerprint
from sojourn.operate._derived import Change
from sojourn.operate._local import on_duckdb
from sojourn.warehouse import Warehouse

# Tables that tell in sentences, in this column.
TABLES, COLUMN = ("runs", "alerts"), "told"
# As in `sojourn.events.find_users`: a shorter id within a text could be any word or number.
LONG = 8
AT_ONCE = 500
INSTEAD = "(forgotten)"


def erase_told(warehouse: Warehouse, ids: Sequence[str]) -> list[Change]:
    """Put a word in the place of these ids in every sentence of `runs` and `alerts`.

    A long id goes wherever it stands between signs that are no letters or digits; a shorter one where it is quoted or
    is all there is. Only partitions that name one are written again.
    """
    store = on_duckdb(warehouse)
    return [change for table in TABLES if store.has(table) for change in _erase(store, table, list(patterns(ids)))]


def patterns(ids: Iterable[str]) -> Iterator["re.Pattern[str]"]:
    """What finds these ids in a sentence, many at a time."""
    unique = sorted({each for each in ids if each}, key=lambda each: (-len(each), each))
    for start in range(0, len(unique), AT_ONCE):
        part = unique[start : start + AT_ONCE]
        every = "|".join(map(re.escape, part))
        long = "|".join(re.escape(each) for each in part if len(each) >= LONG)
        within = rf"|(?<!\w)(?:{long})(?!\w)" if long else ""
        yield re.compile(rf"""(?<=['"`])(?:{every})(?=['"`])|\A(?:{every})\Z{within}""")


def without(text: str, found: Iterable["re.Pattern[str]"]) -> str:
    """The sentence with a word in the place of each id.

    >>> without("channel is something else: 'c017' (2)", patterns(["c017"]))
    "channel is something else: '(forgotten)' (2)"
    """
    for pattern in found:
        text = pattern.sub(INSTEAD, text)
    return text


def _erase(store: Warehouse, table: str, found: Sequence["re.Pattern[str]"]) -> list[Change]:
    rows = partitions = 0
    with store.writing(table) as writer:
        for info in store.partitions(table):
            old = store.frame(table, only=[info.partition]).drop(list(info.partition))
            texts = [None if text is None else without(text, found) for text in old[COLUMN].to_list()]
            new = old.with_columns(pl.Series(COLUMN, texts, dtype=pl.String))
            changed = int((old[COLUMN] != new[COLUMN]).sum())
            if changed:
                mark = fingerprint("erased", info.fingerprint, *map(str, new.rows()))
                writer.put(info.partition, new, order_by=_order(new), fingerprint=mark)
                rows, partitions = rows + changed, partitions + 1
    return [Change(table, rows, partitions, "sentences without the ids")] if rows else []


def _order(rows: pl.DataFrame) -> list[str]:
    return ["attempt", "step_number"] if "attempt" in rows.columns else ["source", "name"]
