"""A user's rows of several tables as one JSON text, and back again with every type kept."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sojourn.operate.publishing.batch import USER, Batch
from sojourn.warehouse.engine import identifier, literal

# Raised when the texts are written otherwise, so that what was written before is known to be old.
SHAPE = "1"
# What JSON has no exact value for goes as text.
AS_TEXT = re.compile(r"DECIMAL\(.*\)|DATE|TIMESTAMP.*|UUID|HUGEINT|UHUGEINT|BLOB")
REAL = frozenset({"FLOAT", "DOUBLE"})


def documents(batches: Sequence[Batch], *, rows: int, where: str = "TRUE") -> Iterator[tuple[list[str], list[str]]]:
    """Ids and JSON texts of so many users at a time: `{"features": {...}, "predictions": {...}}`.

    A user whom a table does not have lacks that part. Users are those for whom the SQL condition `where` holds.
    """
    [engine, *_] = [batch.engine for batch in batches]
    texts = (f"SELECT {nth} AS nth, * FROM ({_texts(batch, where)})" for nth, batch in enumerate(batches))
    union = " UNION ALL ".join(texts)
    whole = f"SELECT {USER}, '{{' || string_agg(text, ',' ORDER BY nth) || '}}' AS text FROM ({union}) GROUP BY {USER}"
    for batch in engine.batches(whole, rows=rows):
        yield batch.column(0).to_pylist(), batch.column(1).to_pylist()


def read_document(text: str, *, columns: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """The rows by table that `documents` wrote, each value of the type that its DuckDB column type says."""
    whole = json.loads(text)
    return {
        table: {name: _read(found, columns[table][name]) for name, found in row.items()} for table, row in whole.items()
    }


def _texts(batch: Batch, where: str) -> str:
    names = [name for name in batch.columns if name != USER]
    fields = ", ".join(f"{literal(name)}, {_as_json(name, batch.columns[name])}" for name in names)
    key = literal(json.dumps(batch.table) + ":")
    return f"SELECT {USER}, {key} || json_object({fields})::VARCHAR AS text FROM ({batch.query()}) WHERE {where}"


def _as_json(name: str, kind: str) -> str:
    column = identifier(name)
    if kind in REAL:
        # JSON has no infinity; and a text tells a missing number from one that is none.
        return f"CASE WHEN isfinite({column}) THEN to_json({column}) ELSE to_json({column}::VARCHAR) END"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({column} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f+00:00')"
    if kind == "BLOB":
        return f"hex({column})"
    return f"{column}::VARCHAR" if AS_TEXT.fullmatch(kind) else column


def _read(found: Any, kind: str) -> Any:
    if found is None:
        return None
    if kind in REAL:
        return float(found)
    if kind.startswith("DECIMAL"):
        return Decimal(found)
    if kind == "DATE":
        return date.fromisoformat(found)
    if kind.startswith("TIMESTAMP"):
        return datetime.fromisoformat(found)
    if kind in {"HUGEINT", "UHUGEINT"}:
        return int(found)
    return bytes.fromhex(found) if kind == "BLOB" else found
