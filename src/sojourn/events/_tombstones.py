"""Tombstones: a keyed hash of each forgotten id, by which rows of theirs are known at the door and dropped there.

The hash is HMAC-SHA-256 (RFC 2104) under a random key in file `_sojourn_key`. Without the key nobody can try ids
against the table; with it, a replay of an old file is recognised, though no file of the warehouse holds the id.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl

from sojourn.core import UnreadableSource
from sojourn.events._content import content_fingerprint
from sojourn.events._keyed import WHOLE
from sojourn.events._rejected import FAULTS, fault_reasons
from sojourn.events._stage import CANONICAL, STAGE
from sojourn.events._staging import Staged
from sojourn.events.spec import TableName
from sojourn.warehouse import Warehouse
from sojourn.warehouse.files import sync

FORGOTTEN = "forgotten"
KEY_FILE = "_sojourn_key"
KEY_BYTES = 32
BLOCK = 64  # bytes of a block of SHA-256
GONE = "_gone"


def add_tombstones(warehouse: Warehouse, users: Sequence[str], *, as_of: datetime) -> int:
    """Leave a tombstone for each user; the number of new ones. The first time stays. Raises `Locked`."""
    with warehouse.writing(FORGOTTEN) as writer:
        if not warehouse.has(FORGOTTEN):
            _make_key(warehouse)
        key = _key(warehouse)
        when = as_of.astimezone(UTC)
        new = pl.DataFrame({"mark": [mark_of(key, user) for user in users]}, schema={"mark": pl.String})
        with warehouse.engine.table(new.unique()) as name:
            rows = f"SELECT mark, CAST('{when.isoformat()}' AS TIMESTAMPTZ) AS forgotten_at FROM {name}"
            if warehouse.has(FORGOTTEN):
                rows = f"{rows} WHERE mark NOT IN ({_marks(warehouse)})"
            [(added,)] = warehouse.engine.rows(f"SELECT count(*) FROM ({rows})")
            if added:
                if warehouse.has(FORGOTTEN):
                    rows = f"SELECT mark, forgotten_at FROM {warehouse.relation(FORGOTTEN)} UNION ALL {rows}"
                mark = content_fingerprint(warehouse, rows, ["mark", "forgotten_at"])
                writer.put(WHOLE, f"SELECT * FROM ({rows})", order_by=["mark"], fingerprint=mark)
    return int(added)


def drop_forgotten(warehouse: Warehouse, staged: Staged, *, table: TableName) -> tuple[Staged, int]:
    """Take the rows of forgotten users out of the stage and out of its faults; how many they were.

    A row with a fault goes where its user is forgotten, or where any value of its text is the id of one: its columns
    may have slipped, so every value might be the user's.
    """
    if not warehouse.has(FORGOTTEN):
        return staged, 0
    engine, dropped = warehouse.engine, 0
    known = f"{mark_sql(_key(warehouse), 'id')} IN ({_marks(warehouse)})"
    if "user_id" in CANONICAL[table]:
        engine.run(_having(f"SELECT DISTINCT user_id AS id FROM {STAGE} WHERE user_id IS NOT NULL", known))
        theirs = f"user_id IN (SELECT id FROM {GONE})"
        [(dropped,)] = engine.rows(f"SELECT count(*) FROM {STAGE} WHERE _fault IS NULL AND {theirs}")
        engine.run(f"DELETE FROM {STAGE} WHERE {theirs}")
    if staged.faults.rejected:
        ids = (
            f"SELECT _user AS id, rowid AS row FROM {FAULTS} UNION ALL SELECT {values_sql('raw')}, rowid FROM {FAULTS}"
        )
        engine.run(_having(f"SELECT DISTINCT id, row FROM ({ids}) WHERE id IS NOT NULL", known))
        engine.run(f"DELETE FROM {FAULTS} WHERE rowid IN (SELECT row FROM {GONE})")
    left = replace(staged.faults, reasons=fault_reasons(engine))
    return replace(staged, faults=left), dropped + staged.faults.rejected - left.rejected


def forgotten_among(warehouse: Warehouse, ids: pl.Series) -> set[str]:
    """Those of the ids that have a tombstone."""
    if not warehouse.has(FORGOTTEN):
        return set()
    with warehouse.engine.table(pl.DataFrame({"id": ids.unique()})) as name:
        known = f"{mark_sql(_key(warehouse), 'id')} IN ({_marks(warehouse)})"
        return {found for (found,) in warehouse.engine.rows(f"SELECT id FROM {name} WHERE {known}")}


def mark_of(key: bytes, user: str) -> str:
    """The tombstone's mark of an id.

    >>> mark_of(b"key", "The quick brown fox jumps over the lazy dog")[:16]
    'f7bc83f430538424'
    """
    return hmac.digest(key, user.encode(), "sha256").hex()


def mark_sql(key: bytes, column: str) -> str:
    """SQL for the same mark of a text column. `key` is no longer than a block of the hash."""
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(BLOCK, b"\0")).hex() for pad in (0x36, 0x5C))
    return f"sha256(unhex('{outer}') || unhex(sha256(unhex('{inner}') || encode({column}))))"


def values_sql(raw: str) -> str:
    """SQL for every value that a rejected row's text holds, one row each: leaves of JSON, else fields of a line."""
    whole = f"CASE WHEN json_valid({raw}) THEN {raw} ELSE '[]' END"
    leaves = f"SELECT list(json_extract_string(atom, '$')) FROM json_tree({whole}) WHERE atom IS NOT NULL"
    fields = f"list_transform(regexp_split_to_array({raw}, '[,;|\\t]'), lambda x: trim(x, ' \"'''))"
    quoted = f"""regexp_extract_all({raw}, '"([^"]*)"', 1)"""
    return f"unnest(CASE WHEN json_valid({raw}) THEN ({leaves}) ELSE list_concat({fields}, {quoted}) END)"


def _having(ids: str, known: str) -> str:
    return f"CREATE OR REPLACE TEMP TABLE {GONE} AS SELECT * FROM ({ids}) WHERE {known}"


def _marks(warehouse: Warehouse) -> str:
    return f"SELECT mark FROM {warehouse.relation(FORGOTTEN)}"


def _key(warehouse: Warehouse) -> bytes:
    path = warehouse.root / KEY_FILE
    try:
        key = bytes.fromhex(path.read_text())
    except (OSError, ValueError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "it holds no key"
        raise UnreadableSource(
            f"{path} cannot be read ({why}), and without this key the users in table {FORGOTTEN!r} are not known "
            f"again. Restore the file or its rights (it belongs to whoever ran sojourn events forget first)."
        ) from fault
    return key


def _make_key(warehouse: Warehouse) -> None:
    """Write a new key unless there is one, whole or not at all, for its owner alone. The caller holds the lock."""
    path = warehouse.root / KEY_FILE
    if path.exists():
        return
    staged = path.with_name(f".{KEY_FILE}")
    staged.unlink(missing_ok=True)
    staged.touch(mode=0o600, exist_ok=False)
    # A secret, not a draw of an experiment: it must not come from any seed.
    staged.write_text(secrets.token_hex(KEY_BYTES))
    sync(staged)
    staged.replace(path)
    sync(path.parent)
