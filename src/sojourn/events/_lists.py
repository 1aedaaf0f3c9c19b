"""The list columns of the stage: made once for each distinct text, then joined to the rows that have it.

What SQL can make, it makes; the other texts go through Python, a batch at a time.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import polars as pl

from sojourn.core import BadSpec, MissingColumn, progress
from sojourn.events import _texts
from sojourn.events._stage import ROWS, STAGE
from sojourn.events.spec import LISTS, IngestSpec, list_column
from sojourn.warehouse import Engine
from sojourn.warehouse.engine import identifier

LIST = "VARCHAR[]"
TEXTS = "_texts"
MADE = "_made"
JOINED = "_joined"
TEMPORARY_LISTS = (TEXTS, MADE, JOINED)
TEXTS_AT_ONCE = 50_000

# The texts that SQL alone does not do.
_HARD = {
    "words": _texts.holds_chinese("t"),
    "emoji": _texts.may_hold_emoji("t"),
    "tags": f"regexp_matches(t, '[{_texts.SIGNS}]')",
}
_EASY = {"words": _texts.pieces("t"), "emoji": f"CAST([] AS {LIST})", "tags": f"CAST([] AS {LIST})"}


def made_from(columns: Mapping[str, str]) -> dict[str, str]:
    """Those of the columns (name to type) that are, by name and type, lists of another one; and that one."""
    pairs = {list_column(text, name): text for text, kind in columns.items() if kind == "VARCHAR" for name in LISTS}
    return {column: text for column, text in pairs.items() if columns.get(column) == LIST}


def check_texts(
    spec: IngestSpec, *, staged: Mapping[str, str], further: Sequence[str], stored: Mapping[str, str]
) -> None:
    """Refuse texts that the source lacks or that are none, and lists that the table or a missing library rules out.

    `staged` and `stored` are the types of the columns of the source and of the table, `further` the names of those of
    the source that are not canonical. Raises `MissingColumn`, `BadSpec` or `MissingExtra`.
    """
    for text, names in spec.texts.items():
        if text not in further:
            raise _no_such_text(text, further)
        if staged[text] != "VARCHAR":
            raise BadSpec(
                f"texts names column {text!r}, which is {staged[text]} and no text. Declare it as text, in a new "
                f"warehouse where the table has it otherwise: --type {text}=VARCHAR"
            )
        for column in (list_column(text, name) for name in names):
            if stored.get(column, LIST) != LIST:
                raise BadSpec(
                    f"Column {column!r} of the table is {stored[column]}, so no list of {text!r} can stand there. Take "
                    f"the text under another name: --map message={text} --text message"
                )
        if "emoji" in names:
            # At the door, since nearly every log holds some. Chinese is met by few: jieba is asked for when it is met.
            _texts.emoji_library()


def add_lists(engine: Engine, spec: IngestSpec, *, view: str) -> dict[str, str]:
    """Put the spec's list columns into the stage, which `view` reads; their types by name.

    A text that is NULL has NULL for its lists, one that holds none has an empty list. Raises `MissingExtra` where a
    text holds Chinese and jieba is not installed.
    """
    for text, names in spec.texts.items():
        _make(engine, text, names)
        _join(engine, text, names)
        engine.run(f"CREATE OR REPLACE TEMP VIEW {ROWS} AS {view}")
    return dict.fromkeys(spec.lists, LIST)


def notes_on_lists(spec: IngestSpec, *, staged: Mapping[str, str], stored: Mapping[str, str]) -> tuple[str, ...]:
    """What to say of lists that the table has, and that the spec does not ask for though the source has the text."""
    missed = [(column, text) for column, text in made_from({**stored, **staged}).items() if text in staged]
    return tuple(
        f"{column} stays empty for new rows: no list of {text!r} is asked for (--text {text})."
        for column, text in missed
        if column not in spec.lists and column not in staged
    )


def _make(engine: Engine, text: str, names: Sequence[str]) -> None:
    """Fill the table of the lists of each distinct text."""
    hard = " OR ".join(_HARD[name] for name in names)
    column = identifier(text)
    texts = f"SELECT DISTINCT {column} AS t FROM {STAGE} WHERE _fault IS NULL AND {column} IS NOT NULL"
    engine.run(f"CREATE OR REPLACE TEMP TABLE {TEXTS} AS SELECT t, {hard} AS hard FROM ({texts})")
    easy = ", ".join(f"{_EASY[name]} AS {name}" for name in names)
    engine.run(f"CREATE OR REPLACE TEMP TABLE {MADE} AS SELECT t, {easy} FROM {TEXTS} WHERE NOT hard")
    [(count,)] = engine.rows(f"SELECT count(*) FROM {TEXTS}")
    with progress(f"texts of {text}", total=count) as advance:
        for start in range(0, count, TEXTS_AT_ONCE):
            some = f"hard AND rowid >= {start} AND rowid < {start + TEXTS_AT_ONCE}"
            _make_hard(engine, f"SELECT t FROM {TEXTS} WHERE {some}", names)
            advance(min(TEXTS_AT_ONCE, count - start))


def _make_hard(engine: Engine, texts: str, names: Sequence[str]) -> None:
    wanted = {
        "words": f"{_texts.pieces('t')} AS pieces",
        "emoji": f"{_texts.emoji_runs('t')} AS runs",
        "tags": f"CASE WHEN {_HARD['tags']} THEN {_texts.lowered('t')} END AS small",
    }
    chosen = ", ".join(wanted[name] for name in names)
    chinese = f", {_texts.chinese('pieces')} AS chinese" if "words" in names else ""
    rows = engine.frame(f"SELECT *{chinese} FROM (SELECT t, {chosen} FROM ({texts}))")
    if rows.is_empty():
        return
    makers = {"words": _words, "emoji": _emoji, "tags": _tags}
    made = rows.select("t", *(makers[name](rows) for name in names))
    with engine.table(made) as name:
        engine.run(f"INSERT INTO {MADE} SELECT * FROM {name}")


def _words(rows: pl.DataFrame) -> pl.Series:
    runs = _distinct(rows["chinese"])
    cut = _texts.cut_chinese(runs) if runs else {}
    found = rows["pieces"].to_list()
    return _series("words", ([word for piece in each for word in cut.get(piece, (piece,))] for each in found))


def _emoji(rows: pl.DataFrame) -> pl.Series:
    found = _texts.find_emoji(_distinct(rows["runs"]))
    return _series("emoji", ([one for run in each for one in found[run]] for each in rows["runs"].to_list()))


def _tags(rows: pl.DataFrame) -> pl.Series:
    found = _texts.tags_of(rows["small"].drop_nulls())
    return _series("tags", (next(found) if some else [] for some in rows["small"].is_not_null()))


def _distinct(lists: pl.Series) -> list[str]:
    return lists.explode().drop_nulls().unique().to_list()


def _series(name: str, lists: Iterable[list[str]]) -> pl.Series:
    return pl.Series(name, list(lists), dtype=pl.List(pl.String))


def _join(engine: Engine, text: str, names: Sequence[str]) -> None:
    """Give each row of the stage the lists of its text."""
    added = ", ".join(f"{MADE}.{name} AS {identifier(list_column(text, name))}" for name in names)
    same = f"{STAGE}.{identifier(text)} = {MADE}.t"
    engine.run(
        f"CREATE OR REPLACE TEMP TABLE {JOINED} AS SELECT {STAGE}.*, {added} FROM {STAGE} LEFT JOIN {MADE} ON {same}"
    )
    for table in (STAGE, TEXTS, MADE):
        engine.run(f"DROP TABLE {table}")
    engine.run(f"ALTER TABLE {JOINED} RENAME TO {STAGE}")


def _no_such_text(text: str, further: Sequence[str]) -> MissingColumn:
    near = get_close_matches(text, further, n=1, cutoff=0.5)
    mend = f"Did you mean {near[0]!r}?" if near else f"Map it: --map {text}=THEIRS"
    return MissingColumn(
        f"texts names column {text!r}, which is none of the further columns kept of the source; these are "
        f"{list(further)}. {mend}"
    )
