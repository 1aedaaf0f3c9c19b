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


@dataclass(frozen=True)
class Search:
    """How many files were read, and where in them an id still stands; empty `findings` say: nowhere."""

    files: int
    findings: tuple[Finding, ...]


def find_users(warehouse: Warehouse, users: Sequence[str], *, ignoring: Sequence[str] = ()) -> Search:
    """Every place in the warehouse's folder where one of these ids stands.

    Every text column of every Parquet file is read, lists and structs included, whichever table it belongs to and
    whether it is one at all; other files are read as JSON where they are that, else line by line; names of files and
    folders count too. An id is found where it is a whole value; one of 8 characters or more also within a longer text,
    between signs that are no letters or digits. `ignoring` names columns as `table.column` whose values are other
    things than users. Columns of numbers are not looked at, since `user_id` is text everywhere; nor are the locks, the
    warehouse's marker and its key, which the warehouse writes and which hold nothing of users.
    """
    engine = warehouse.engine
    with people(engine, dict.fromkeys(users)):
        found = [each for top, files in _parquet(warehouse.root) for each in _in_tables(engine, top, files, users)]
    own = {path for pattern in OWN for path in warehouse.root.glob(pattern)}
    files = [path for path in sorted(warehouse.root.rglob("*")) if path not in own]
    found += _in_names_and_texts(warehouse.root, files, users)
    searched = sum(path.is_file() for path in files)
    return Search(searched, tuple(each for each in found if each.place not in ignoring))


def find_users_in(warehouse: Warehouse, folder: Path, users: Sequence[str]) -> Search:
    """Every place in a folder outside the warehouse where one of these ids stands, found as `find_users` does.

    A folder that is not there has none.
    """
    files = sorted(folder.rglob("*"))
    with people(warehouse.engine, dict.fromkeys(users)):
        tables = ((str(file.relative_to(folder)), [str(file)]) for file in files if file.suffix == ".parquet")
        found = [each for top, alone in tables for each in _in_tables(warehouse.engine, top, alone, users)]
    found += _in_names_and_texts(folder, files, users)
    return Search(sum(path.is_file() for path in files), tuple(found))


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


def _in_names_and_texts(root: Path, paths: Sequence[Path], users: Sequence[str]) -> Iterator[Finding]:
    ids = set(users)
    long = [re.compile(each.replace(r"[^\pL\pN_]", r"\W")) for each in _within(users)]
    for path in paths:
        name = str(path.relative_to(root))
        if path.name in ids or path.name.partition("=")[2] in ids or _is_within(long, [path.name]):
            yield Finding(f"the name of {name}", 1)
        if path.is_file() and path.suffix != ".parquet":
            text = path.read_bytes().decode(errors="replace")
            count = sum(not ids.isdisjoint(each) or _is_within(long, each) for each in _readings(text))
            if count:
                yield Finding(name, count)


def _is_within(patterns: Sequence[re.Pattern[str]], texts: Sequence[str]) -> bool:
    return any(pattern.search(text) for pattern in patterns for text in texts)


def _readings(text: str) -> Iterator[list[str]]:
    """What may be an id in a text: each leaf of JSON, else of each line the whole and its fields."""
    try:
        yield from ([leaf] for leaf in _leaves(json.loads(text)))
    except ValueError:
        lines = text.splitlines()
        if len(lines) > 1:
            yield from (reading for line in lines for reading in _readings(line))
        elif lines:
            fields = (field.strip(" \"'") for field in re.split(r"[,;|\t]", lines[0]))
            yield [lines[0].strip(), *fields, *re.findall(r'"([^"]*)"', lines[0])]


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
