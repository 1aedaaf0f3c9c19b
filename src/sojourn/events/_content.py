"""A fingerprint of rows that does not depend on their order."""

from collections.abc import Iterable

from sojourn.core import fingerprint
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier


def content_fingerprint(warehouse: Warehouse, query: str, columns: Iterable[str]) -> str:
    """Sixteen hexadecimal digits that equal sets of rows share, within one warehouse and one release of DuckDB.

    The zone and the first day of the week are part of it: in another zone the same rows mean other days.
    """
    names = ", ".join(identifier(name) for name in columns)
    [(rows, mixed)] = warehouse.engine.rows(f"SELECT count(*), bit_xor(hash({names})) FROM ({query})")
    return fingerprint(warehouse.spec.to_json(), names, str(rows), str(mixed))
