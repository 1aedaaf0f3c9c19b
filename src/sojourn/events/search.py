"""The ids of users looked for in every file of a warehouse: what a promise to forget is proved by."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sojourn.events._people import people, theirs
from sojourn.warehouse import Engine, Warehouse
from sojourn.warehouse.engine import identifier, literal

# A shorter id may stand for anything within a text; as a whole value it is the id.
LONG = 8
AT_ONCE = 500
# The warehouse's own: a lock names a process, the marker the zone.
OWN = ("_locks/*.lock", "_sojourn.json", "_sojourn_key")


@dataclass(frozen=True)
class Finding:
    """Where an id still stands: a table's column, a file or a file's name, and how often."""

    place: str
    count: int


def find_users(warehouse: Warehouse, users: Sequence[str], *, ignoring: Sequence[str] = ()) -> list[Finding]:
    """Every place in the warehouse's folder where one of these ids stands, file by file; empty where none does.

    Every text column of every Parquet file is read, lists and structs included, whichever table it belongs to and
    whether it is one at all; other files are read as JSON where they are that, else line by line; names of files and
    folders count too. An id is found where it is a whole value; one of 8 characters or more also within a longer text,
    between signs that are no letters or digits. `ignoring` names columns as `table.column` whose values are other
    things than users. Numbers are not looked at: `user_id` is text everywhere.
    """
    engine = warehouse.engine
    with people(engine, dict.fromkeys(users)):
        found = [each for top, files in _parquet(warehouse.root) for each in _in_tables(engine, top, files, users)]
    found += _in_texts(warehouse.root, users)
    return [each for each in found if each.place not in ignoring]


def mentions(column: str, users: Sequence[str]) -> str:
    """SQL: whether a text column is the id of one of the people, or holds a long id of these users."""
    return " OR ".join([theirs(column), *(f"regexp_matches({column}, {literal(each)})" for each in _within(users))])


def _parquet(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The Parquet files by table; files that are of no table stand alone, as they need not have equal columns."""
    tables: dict[str, list[str]] = {}
    for file in sorted(root.rglob("*.parquet")):
        parts = file.relative_to(root).parts
        alone = parts[0].startswith("_") or file.parent == root
        tables.setdefault("/".join(parts) if alone else parts[0], []).append(str(file))
    yield from tables.items()


def _in_tables(engine: Engine, top: str, files: Sequence[str], users: Sequence[str]) -> Iterator[Finding]:
    relation = engine.scan(files, hive_types={})
    kinds = engine.columns(f"SELECT * FROM {relation}")
    tests = {name: _test(name, kind, users) for name, kind in kinds.items() if "VARCHAR" in kind or "ENUM" in kind}
    if not tests:
        return
    counts = ", ".join(f"count(*) FILTER (WHERE {test})" for test in tests.values())
    [row] = engine.rows(f"SELECT {counts} FROM {relation}")
    yield from (Finding(f"{top}.{name}", count) for name, count in zip(tests, row, strict=True) if count)


def _test(name: str, kind: str, users: Sequence[str]) -> str:
    column = identifier(name)
    if kind == "VARCHAR":
        return mentions(column, users)
    text = f"CAST(to_json({column}) AS VARCHAR)"
    whole = [json.dumps(user, ensure_ascii=False) for user in users]
    patterns = [*(f"(?:{each})" for each in _alternatives(whole)), *_within(users)]
    return " OR ".join(f"regexp_matches({text}, {literal(each)})" for each in patterns) or "FALSE"


def _within(users: Sequence[str]) -> list[str]:
    """Patterns for long ids between signs that are no letters or digits."""
    long = [user for user in users if len(user) >= LONG]
    return [rf"(?:^|[^\pL\pN_])(?:{each})(?:$|[^\pL\pN_])" for each in _alternatives(long)]


def _alternatives(texts: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(texts), AT_ONCE):
        yield "|".join(map(re.escape, texts[start : start + AT_ONCE]))


def _in_texts(root: Path, users: Sequence[str]) -> Iterator[Finding]:
    ids = set(users)
    long = [re.compile(each.replace(r"[^\pL\pN_]", r"\W")) for each in _within(users)]
    own = {path for pattern in OWN for path in root.glob(pattern)}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.name in ids or path.name.partition("=")[2] in ids or any(each.search(path.name) for each in long):
            yield Finding(f"the name of {name}", 1)
        if path.is_file() and path.suffix != ".parquet" and path not in own:
            text = path.read_bytes().decode(errors="replace")
            count = sum(value in ids or any(each.search(value) for each in long) for value in _values(text))
            if count:
                yield Finding(name, count)


def _values(text: str) -> Iterator[str]:
    """Every value of a JSON text, else of each line: the leaves of JSON, or the fields between commas and tabs."""
    try:
        yield from _leaves(json.loads(text))
    except ValueError:
        lines = text.splitlines()
        for line in lines if len(lines) > 1 else ():
            yield from _values(line)
        if len(lines) == 1:
            yield lines[0]
            yield from (field.strip(" \"'") for field in re.split(r"[,;|\t]", lines[0]))
            yield from re.findall(r'"([^"]*)"', lines[0])


def _leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield name
            yield from _leaves(branch)
    elif isinstance(tree, list):
        for branch in tree:
            yield from _leaves(branch)
    elif tree is not None:
        yield str(tree)
