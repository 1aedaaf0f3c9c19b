"""Parquet files in, one Spark frame out: their columns united by name, without a job of Spark's to look at each."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

from sojourn.core import UnreadableSource
from sojourn.warehouse.engine import identifier


class Scans:
    """Reads files with a Spark session. Files of the same columns and types are read together; schemas are kept.

    Spark's own `mergeSchema` starts a job for each read, and refuses a column that is INT in one file and BIGINT in
    another.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._schemas: dict[str, Any] = {}

    def frame(self, files: Sequence[str], *, hive_types: Mapping[str, str], located: bool) -> Any:
        """These files' rows with their Hive columns, and with `filename` and `file_row_number` where `located`."""
        groups: dict[str, list[str]] = {}
        for file in files:
            groups.setdefault(columns_of(file), []).append(file)
        read = [self._read(columns, group, hive_types, located) for columns, group in groups.items()]
        mixed = _mixed_with_text([frame.schema for frame in read])
        told = [_as_text(frame, mixed) for frame in read]
        return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), told)

    def _read(self, columns: str, files: Sequence[str], hive_types: Mapping[str, str], located: bool) -> Any:
        schema = self._schema(columns, files[0])
        frame = self._session.read.schema(schema).option("basePath", _base(files[0], hive_types)).parquet(*files)
        taken = [f"`{field.name}`" for field in schema if field.name not in hive_types]
        if located:
            taken += [f"{FILENAME} AS filename", "_metadata.row_index AS file_row_number"]
        hive = [f"CAST(`{column}` AS {spelled(kind)}) AS `{column}`" for column, kind in hive_types.items()]
        return frame.selectExpr(*taken, *hive)

    def _schema(self, columns: str, file: str) -> Any:
        if columns not in self._schemas:
            self._schemas[columns] = self._session.read.parquet(file).schema
        return self._schemas[columns]


# Spark tells a file by its URI and DuckDB by its path; '+' is itself in a URI's path, and a blank only in a query's.
FILENAME = "url_decode(replace(regexp_replace(_metadata.file_path, '^file:(//)?', ''), '+', '%2B'))"


def columns_of(file: str) -> str:
    """The names and types of a file's columns, as text; read once as long as the file is the same."""
    try:
        stat = Path(file).stat()
    except OSError as fault:
        raise UnreadableSource(f"A file cannot be read: {file}: {fault.strerror}. Restore it.") from fault
    return _columns_of_version(file, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=20_000)
def _columns_of_version(file: str, inode: int, size: int, changed_ns: int) -> str:  # noqa: ARG001 (part of the key)
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        told: str = read_schema(file).to_string(show_field_metadata=False, show_schema_metadata=False)
    except (ArrowException, OSError, ValueError) as fault:
        raise UnreadableSource(f"A file cannot be read: {file}: {fault}. Restore it, or remove it.") from fault
    return told


def _mixed_with_text(schemas: Iterable[Any]) -> set[str]:
    """The columns that are text in some of the files and something else in others."""
    kinds: dict[str, set[str]] = {}
    for schema in schemas:
        for field in schema:
            kinds.setdefault(field.name, set()).add(field.dataType.simpleString())
    return {name for name, found in kinds.items() if "string" in found and len(found) > 1}


def _as_text(frame: Any, names: set[str]) -> Any:
    # Spark would make numbers of texts, where DuckDB makes texts of numbers.
    if not names & set(frame.columns):
        return frame
    return frame.selectExpr(*(f"CAST(`{c}` AS STRING) AS `{c}`" if c in names else f"`{c}`" for c in frame.columns))


def _base(file: str, hive_types: Mapping[str, str]) -> str:
    """The folder above the Hive folders of a file."""
    folder = Path(file).parent
    while hive_types and not folder.name.startswith(tuple(f"{name}=" for name in hive_types)):
        folder = folder.parent
    while folder.name.partition("=")[0] in hive_types:
        folder = folder.parent
    return str(folder)


def kind_of(data_type: Any) -> str:
    """A Spark type as DuckDB spells it."""
    name = data_type.typeName()
    if name == "array":
        return f"{kind_of(data_type.elementType)}[]"
    if name == "map":
        return f"MAP({kind_of(data_type.keyType)}, {kind_of(data_type.valueType)})"
    if name == "struct":
        fields = ", ".join(f"{identifier(field.name)} {kind_of(field.dataType)}" for field in data_type)
        return f"STRUCT({fields})"
    told: str = data_type.simpleString()
    return KINDS.get(told, told.upper())


KINDS = {
    "string": "VARCHAR",
    "int": "INTEGER",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "timestamp_ntz": "TIMESTAMP",
    "binary": "BLOB",
}


def spelled(duckdb: str) -> str:
    """A DuckDB type of a Hive column as Spark spells it."""
    return {"VARCHAR": "STRING"}.get(duckdb, duckdb)
