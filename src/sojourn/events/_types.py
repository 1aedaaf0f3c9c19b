"""Types of columns that come as text, and how a value of any type becomes one of ours."""

from collections.abc import Mapping, Sequence

from sojourn.warehouse import Engine
from sojourn.warehouse.engine import identifier

INTEGER = r"[+-]?(0|[1-9]\d{0,17})"
# At most 17 digits: a longer one is an identifier, which a float would round.
NUMBER = r"[+-]?(0|[1-9]\d{0,16})?(\.\d{0,16})?([eE][+-]?\d{1,2})?"
DATE = r"\d{4}-\d{2}-\d{2}"
TIMESTAMP = rf"{DATE}[ T]\d{{2}}:\d{{2}}(:\d{{2}}(\.\d{{1,6}})?)?"
EXACT_NUMBER = "DECIMAL(18,6)"
# A column that is computed with is a number when this share of a sample is; the rest are faults of their rows.
TOLERANCE = 0.8

# Types that Parquet, Spark or both lack, and what they are stored as.
STORED_AS = {
    "HUGEINT": "DECIMAL(38,0)",
    "UHUGEINT": "DECIMAL(38,0)",
    "UBIGINT": "DECIMAL(20,0)",
    "BIGNUM": "VARCHAR",
    "UUID": "VARCHAR",
    "TIME": "VARCHAR",
    "TIME WITH TIME ZONE": "VARCHAR",
    "TIME_NS": "VARCHAR",
    "INTERVAL": "VARCHAR",
    "BIT": "VARCHAR",
    "JSON": "VARCHAR",
    "TIMESTAMP_S": "TIMESTAMP",
    "TIMESTAMP_MS": "TIMESTAMP",
    "TIMESTAMP_NS": "TIMESTAMP",
}


def stored_type(kind: str) -> str:
    """The SQL type under which a column of this type is kept.

    >>> stored_type("HUGEINT"), stored_type("VARCHAR[]"), stored_type("ENUM('a', 'b')")
    ('DECIMAL(38,0)', 'VARCHAR[]', 'VARCHAR')
    """
    return "VARCHAR" if kind.startswith(("ENUM", '"NULL"', "NULL")) else STORED_AS.get(kind, kind)


def infer_types(engine: Engine, sample: str, columns: Sequence[str], *, tolerant: set[str]) -> dict[str, str]:
    """The SQL type of each text column, from a sample of rows; VARCHAR unless all values agree on more.

    Columns in `tolerant` are computed with: most of their values agreeing is enough. A number with a leading zero is an
    identifier, and stays text.
    """
    if not columns:
        return {}
    tests = {"BIGINT": INTEGER, "DOUBLE": NUMBER, "DATE": DATE, "TIMESTAMP": TIMESTAMP, "BOOLEAN": "(?i)true|false"}
    counts = ", ".join(
        f"count({identifier(name)}), "
        + ", ".join(
            f"count(*) FILTER (WHERE regexp_full_match({identifier(name)}, '{test}') "
            f"AND TRY_CAST({identifier(name)} AS {kind}) IS NOT NULL)"
            for kind, test in tests.items()
        )
        for name in columns
    )
    [row] = engine.rows(f"SELECT {counts} FROM {sample}")
    width = 1 + len(tests)
    types = {}
    for place, name in enumerate(columns):
        total, *passed = row[place * width : (place + 1) * width]
        needed = total * (TOLERANCE if name in tolerant else 1.0)
        fits = [kind for kind, count in zip(tests, passed, strict=True) if total and count >= needed]
        types[name] = fits[0] if fits else "VARCHAR"
    return types


def cast(sql: str, *, source: str, to: str) -> str:
    """SQL that gives the value as this type, or NULL where it is no such value.

    Floats become decimals through their text, so that 0.1 is 0.1; whole floats become integers' text.

    >>> cast("x", source="DOUBLE", to="DECIMAL(18,4)")
    'TRY_CAST(CAST(x AS VARCHAR) AS DECIMAL(18,4))'
    """
    if source == to:
        return sql
    if source in {"DOUBLE", "FLOAT"} and to.startswith("DECIMAL"):
        return f"TRY_CAST(CAST({sql} AS VARCHAR) AS {to})"
    if source in {"DOUBLE", "FLOAT"} and to == "VARCHAR":
        whole = f"{sql} = trunc({sql}) AND abs({sql}) < 1e15"
        return f"CASE WHEN {whole} THEN CAST(CAST({sql} AS BIGINT) AS VARCHAR) ELSE CAST({sql} AS VARCHAR) END"
    if source == "VARCHAR" and to.endswith("]"):
        return f"TRY_CAST(TRY_CAST({sql} AS JSON) AS {to})"
    return f"TRY_CAST({sql} AS {to})"


def agreed_types(inferred: Mapping[str, str], stored: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
    """The type under which each column is kept: the table's own, else the declared, else the inferred one."""
    return {name: stored.get(name) or declared.get(name) or kind for name, kind in inferred.items()}
