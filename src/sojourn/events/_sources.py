"""What lies outside: files, folders, globs or a query, opened as one SQL relation of raw columns."""

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sojourn.core import BadInput, BadSpec, EmptyInput, EngineError, SojournError, UnreadableSource, fingerprint
from sojourn.events.spec import IngestSpec
from sojourn.warehouse import Engine
from sojourn.warehouse.engine import identifier, literal

SUFFIXES = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".dat": "csv", ".psv": "csv"}
SUFFIXES |= {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".pq": "parquet"}
PACKED = {".gz", ".zst"}
DELIMITERS = ",;\t|"
HEAD_BYTES = 1 << 20
SAMPLE_ROWS = 20_000
# A buffer must hold a whole row group (122,880 rows): DuckDB copies smaller batches together to keep their order, which
# cost a third more CPU than reading out of order; from 16 MB on, order was free (rows of 93 bytes).
BUFFER_BYTES = 32_000_000
SAMPLE_FILES = 8
NULLS = ["", "NULL", "null", "\\N"]
LINE = "_text"
WINDOWS = "windows-1252"
BROKEN = ("_broken_lines", "_broken_files")


@dataclass(frozen=True)
class Source:
    """An opened source.

    `relation` (to stand after FROM) has the raw columns, `_file` (a number into `files`) and, as `places` says, `_line`
    (the row's line) or `_text` (the line itself); text columns are VARCHAR. `sample` is a query for some rows of a few
    of the files. `broken` names the two tables into which DuckDB puts the lines of a CSV that aren't rows. `first_line`
    is the line of a file's first row. `paths` is where the files are read from: copies of those in another encoding.
    """

    relation: str
    sample: str
    columns: dict[str, str]
    files: tuple[str, ...]
    text: bool
    places: tuple[str, ...] = ()
    first_line: int = 1
    broken: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The source in a sentence."""
        return _named(self.files)


@dataclass(frozen=True)
class Look:
    """A first look at a source: `sample` is a small table of its rows, `whole` all of them."""

    engine: Engine
    sample: str
    whole: str


def open_source(engine: Engine, spec: IngestSpec, *, aside: Path, encoding: str | None = None) -> Source:
    """The spec's source as a relation. Raises `UnreadableSource`, `EmptyInput` or `BadInput` for faults of the whole.

    `encoding` forces that of a CSV; without it UTF-8 is tried, then UTF-16 by its mark, then Windows-1252, of which
    copies are made in the folder `aside`.
    """
    if spec.query is not None:
        return _open_query(engine, spec.query)
    files = list(expand(spec.files))
    kinds = {spec.format or _kind(file) for file in files}
    if len(kinds) > 1:
        raise BadInput(f"The files are of several formats: {', '.join(sorted(kinds))}. Ingest each format by itself.")
    for file in files:
        _check_readable(file)
    kind = kinds.pop()
    if kind == "csv":
        return _open_csv(files, aside=aside, encoding=encoding)
    with named_in_errors(files, kind=kind):
        return _open_parquet(engine, files) if kind == "parquet" else _open_jsonl(engine, files)


@contextmanager
def named_in_errors(files: Sequence[Path | str], *, kind: str = "") -> Iterator[None]:
    """What DuckDB says of these files while the block runs becomes `UnreadableSource` in words that name them."""
    try:
        yield
    except (EngineError, UnreadableSource) as fault:
        read = f"read as {kind}" if kind else "read"
        raise UnreadableSource(
            f"{_named(files)} cannot be {read}: {reason_of(fault)}. Fetch it again, or leave it out."
        ) from fault


def source_files(spec: IngestSpec) -> list[Path]:
    """The files that a spec names, globs and folders expanded; none where it has a query. Raises as `ingest` does."""
    return [] if spec.query is not None else list(expand(spec.files))


def expand(patterns: Sequence[str]) -> Iterator[Path]:
    """The files that these files, folders and globs name, each once, sorted within each pattern.

    Raises `UnreadableSource` for a name that nothing bears and `EmptyInput` for a folder without data files.
    """
    if not patterns:
        raise BadSpec('Nothing to ingest: give files, folders or globs, or a query: --query "SELECT ..."')
    seen: set[Path] = set()
    for pattern in patterns:
        for file in _matches(pattern):
            if file not in seen:
                seen.add(file)
                yield file


def _matches(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and _is_data(file, below=path))
        if not files:
            raise EmptyInput(f"{path} holds no CSV, JSON lines or Parquet file. Give the folder that holds the data.")
        return files
    if path.exists():
        return [path]
    anchor = Path(path.anchor)
    rest = path.relative_to(anchor) if path.anchor else path
    files = sorted(file for file in anchor.glob(str(rest)) if file.is_file()) if re.search(r"[*?\[]", pattern) else []
    if not files:
        near = get_close_matches(path.name, [each.name for each in path.parent.glob("*")], n=1, cutoff=0.5)
        mend = f"Did you mean {path.parent / near[0]}?" if near else "Check the path."
        raise UnreadableSource(f"{pattern} does not exist. {mend}")
    return files


def _is_data(file: Path, *, below: Path) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in file.relative_to(below).parts)
    return not hidden and _suffix(file) in SUFFIXES


def _suffix(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    return (suffixes[-2:-1] or [""])[0] if suffixes and suffixes[-1] in PACKED else "".join(suffixes[-1:])


def _kind(file: Path) -> str:
    kind = SUFFIXES.get(_suffix(file))
    if kind is None:
        raise BadInput(f"{file} has no suffix that tells its format. Say it: --format csv (or jsonl, parquet).")
    return kind


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb") as handle:
            first = handle.read(1)
    except OSError as fault:
        raise UnreadableSource(f"{file} cannot be read: {fault.strerror}. Mend its rights or its path.") from fault
    if not first:
        raise EmptyInput(f"{file} is empty. Leave it out, or fetch it again.")


def _open_query(engine: Engine, query: str) -> Source:
    relation = f"({query.strip().rstrip(';')})"
    try:
        columns = engine.columns(f"SELECT * FROM {relation}")
    except EngineError as fault:
        raise BadInput(f"The query cannot be run: {reason_of(fault)}. Try it in DuckDB first.") from fault
    numbered = f"(SELECT *, 0 AS _file FROM {relation})"
    name = f"query {fingerprint(query)}"
    return Source(numbered, _some(numbered), columns, (name,), text=False)


def _open_parquet(engine: Engine, files: Sequence[Path]) -> Source:
    scan = f"read_parquet({_list(files)}, union_by_name = true)"
    columns = engine.columns(f"SELECT * FROM {scan}")
    relation = f"(SELECT *, file_index AS _file, file_row_number + 1 AS _line FROM {scan})"
    return Source(relation, _some(relation), columns, tuple(map(str, files)), text=False, places=("_line",))


def _open_jsonl(engine: Engine, files: Sequence[Path]) -> Source:
    lines = _lines(files)
    first = engine.rows(f"SELECT ltrim({LINE}) FROM {lines} WHERE {LINE} IS NOT NULL LIMIT 1")
    if first and first[0][0].startswith("["):
        raise BadInput(f"{_named(files)} holds one JSON array, not a line for each row. Convert it: jq -c '.[]' FILE")
    is_row = is_object(LINE)
    found = engine.rows(f"SELECT DISTINCT unnest(json_keys({LINE})) AS k FROM {lines} WHERE {is_row} ORDER BY k")
    names = [name for (name,) in found]
    if not names:
        raise BadInput(f"{_named(files)} has no line that is a JSON object. Say its format: --format csv (or parquet).")
    shape = json.dumps(dict.fromkeys(names, "VARCHAR"), ensure_ascii=False)
    row = f"CASE WHEN {is_row} THEN json_transform({LINE}, {literal(shape)}) END"
    fields = ", ".join(f"_row[{literal(name)}] AS {identifier(name)}" for name in names)

    def relation(chosen: Sequence[Path]) -> str:
        rows = f"SELECT {row} AS _row, {LINE}, file_index AS _file FROM {_lines(chosen)}"
        return f"(SELECT {fields}, {LINE}, _file FROM ({rows}))"

    columns = dict.fromkeys(names, "VARCHAR")
    return Source(relation(files), _sample(files, relation), columns, tuple(map(str, files)), text=True, places=(LINE,))


def is_object(text: str) -> str:
    """SQL that says whether a text is a JSON object; NULL is none."""
    # CASE, not AND: DuckDB evaluates both sides of an AND, and json_type refuses the whole query for a broken text.
    return f"CASE WHEN json_valid({text}) THEN json_type({text}) = 'OBJECT' ELSE FALSE END"


def _lines(files: Sequence[Path]) -> str:
    options = "header = false, delim = '\x01', quote = '', escape = '', auto_detect = false, max_line_size = 33554432"
    return f"read_csv({_list(files)}, columns = {{'{LINE}': 'VARCHAR'}}, {options})"


def _open_csv(files: Sequence[Path], *, aside: Path, encoding: str | None) -> Source:
    names_of_files = tuple(map(str, files))
    heads_by_file = {file: _head(file, encoding=encoding) for file in files}
    # DuckDB's own Latin-1 refuses the euro sign and the quotes of Windows.
    copied = {
        file: aside / f"{number}.csv" for number, file in enumerate(files) if heads_by_file[file].encoding == WINDOWS
    }
    for file, copy in copied.items():
        _to_utf8(file, copy)
    heads = {copied.get(file, file): head for file, head in heads_by_file.items()}
    files = list(heads)
    names = list(dict.fromkeys(name for head in heads.values() for name in head.names))

    def relation(chosen: Sequence[Path]) -> str:
        if len({heads[file] for file in chosen}) == 1:
            return f"(SELECT *, file_index AS _file FROM {_read_csv(chosen, heads[chosen[0]])})"
        scans = (f"SELECT *, {n} AS _file FROM {_read_csv([file], heads[file])}" for n, file in enumerate(chosen))
        return f"({' UNION ALL BY NAME '.join(scans)})"

    columns = dict.fromkeys(names, "VARCHAR")
    found = sorted({head.encoding for head in heads.values()} - {"utf-8"})
    return Source(
        relation=relation(files),
        sample=_sample(files, relation),
        columns=columns,
        files=names_of_files,
        paths=tuple(map(str, files)),
        text=True,
        first_line=1 + heads[files[0]].lines,
        broken=BROKEN,
        notes=(f"The text is read as {found[0]}: it is not UTF-8.",) if found else (),
    )


def _some(relation: str) -> str:
    return f"SELECT * FROM {relation} LIMIT {SAMPLE_ROWS}"


def _sample(files: Sequence[Path], relation: Callable[[Sequence[Path]], str]) -> str:
    """A query for the first rows of a few files, spread over all."""
    chosen = files[:: max(1, len(files) // SAMPLE_FILES)][:SAMPLE_FILES]
    parts = (f"(SELECT * FROM {relation([file])} LIMIT {SAMPLE_ROWS // len(chosen)})" for file in chosen)
    return " UNION ALL BY NAME ".join(parts)


@dataclass(frozen=True)
class _Head:
    """The header of a CSV and how it is written."""

    names: tuple[str, ...]
    lines: int
    delimiter: str
    encoding: str


def _head(file: Path, *, encoding: str | None) -> _Head:
    import pyarrow as pa

    try:
        with pa.input_stream(str(file), compression="detect") as stream:
            start = stream.read(HEAD_BYTES)
    except (OSError, pa.ArrowInvalid) as fault:
        raise UnreadableSource(f"{file} cannot be unpacked: {fault}. Fetch it again.") from fault
    encoding = encoding or _encoding(start)
    text = start.decode(encoding, errors="replace").removeprefix("\ufeff")
    if "\0" in text:
        raise UnreadableSource(
            f"{file} is not text. Say its format: --format parquet (or jsonl), or give another file."
        )
    line = next(iter(text.splitlines()), "")
    unquoted = re.sub(r'"[^"]*"', "", line)
    delimiter = max(DELIMITERS, key=unquoted.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    names = tuple(name.strip() or f"column_{place}" for place, name in enumerate(next(reader, []), start=1))
    twice = sorted({name for name in names if [each.lower() for each in names].count(name.lower()) > 1})
    if not names:
        raise EmptyInput(f"{file} has no header line. Give a file whose first line names its columns.")
    if twice:
        raise BadInput(f"{file} names column {twice[0]!r} twice. Rename one of them in its first line.")
    return _Head(names, reader.line_num, delimiter, encoding)


def _encoding(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        start[: start.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        return WINDOWS
    return "utf-8"


def _to_utf8(file: Path, copy: Path) -> None:
    import pyarrow as pa

    # The five codes that Windows-1252 leaves open are what Latin-1 has there.
    letters = "".join(bytes([code]).decode(WINDOWS, errors="ignore") or chr(code) for code in range(256))
    with pa.input_stream(str(file), compression="detect") as source, copy.open("wb") as target:
        while chunk := source.read(HEAD_BYTES):
            target.write(codecs.charmap_decode(chunk, "strict", letters)[0].encode("utf-8"))


def _read_csv(files: Sequence[Path], head: _Head) -> str:
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in head.names)
    nulls = ", ".join(map(literal, NULLS))
    # The dialect is fixed rather than sniffed: one broken line made DuckDB 2.0 give up quotes, or take the whole line
    # for one column.
    options = [f"columns = {{{columns}}}", "header = true", "auto_detect = false", f"delim = {literal(head.delimiter)}"]
    encoding = "utf-8" if head.encoding == WINDOWS else head.encoding
    options += ["quote = '\"'", "escape = '\"'", f"nullstr = [{nulls}]", f"encoding = '{encoding}'"]
    options += ["store_rejects = true", "rejects_limit = 0", f"buffer_size = {BUFFER_BYTES}"]
    options += [f"rejects_table = '{BROKEN[0]}'", f"rejects_scan = '{BROKEN[1]}'"]
    return f"read_csv({_list(files)}, {', '.join(options)})"


def reason_of(fault: SojournError) -> str:
    """DuckDB's own words for a fault, in one line and without its suggestions."""
    return str(fault.__cause__ or fault).split("\n")[0].rstrip(".")


def _list(files: Sequence[Path]) -> str:
    return f"[{', '.join(literal(_escaped(str(file))) for file in files)}]"


def _escaped(path: str) -> str:
    # A bracket or star in a file's own name would be taken for a wildcard.
    return re.sub(r"([*?[])", r"[\1]", path)


def _named(files: Sequence[Path | str]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
