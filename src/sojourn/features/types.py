"""What a column becomes as a feature: a whole number, a double, or text."""

from sojourn.core import BadInput
from sojourn.rollups.dialect import Dialect

WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "BOOLEAN"})
REAL = frozenset({"FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT"})
TEXT = frozenset({"VARCHAR", "UUID"})
MOMENTS = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"})


def is_feature(kind: str) -> bool:
    """Whether a column of this SQL type can be a feature; lists, structs and bytes cannot."""
    named = kind.startswith(("DECIMAL(", "ENUM(")) and kind.endswith(")")  # and no list of them
    return named or kind in WHOLE | REAL | TEXT | MOMENTS


def feature_name(name: str, kind: str) -> str:
    """The feature's name: a date becomes an age.

    >>> feature_name("signed_up", "DATE")
    'signed_up_age_days'
    """
    return f"{name}_age_days" if kind in MOMENTS else name


def as_feature(expression: str, kind: str, *, zone: str, sql: Dialect) -> str:
    """SQL that turns an expression of this type into a feature; a date becomes the days from it to `as_of`."""
    if not is_feature(kind):
        raise BadInput(
            f"features: column {expression} is {kind}, which no model can read. "
            "Leave it out, or make it a number or text."
        )
    if kind in WHOLE:
        return f"CAST({expression} AS BIGINT)"
    if kind in MOMENTS:
        day = sql.local_date(expression, zone) if kind.endswith("ZONE") else f"CAST({expression} AS DATE)"
        return sql.days_between(day, "as_of")
    if kind in TEXT or kind.startswith("ENUM"):
        return f"CAST({expression} AS {sql.kind('VARCHAR')})"
    return f"CAST({expression} AS DOUBLE)"
