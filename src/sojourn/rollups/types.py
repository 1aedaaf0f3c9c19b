"""SQL types of values: what can be added, what holds a sum, and how a sum is written."""

import re
from decimal import Context, Decimal
from typing import Any

from sojourn.rollups.algebra import FLOATS, INTEGERS
from sojourn.rollups.dialect import Dialect

DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
SINGLE = (
    INTEGERS
    | FLOATS
    | {
        *("UBIGINT", "VARCHAR", "DATE", "BOOLEAN", "BLOB", "TIMESTAMP WITH TIME ZONE"),
        *("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"),
    }
)
LOST = re.compile(r"U?HUGEINT|INTERVAL|BIT|TIME|TIME WITH TIME ZONE|TIMESTAMP_NS|UUID|VARIANT|UNION\(.*")
_EVERY_DIGIT = Context(prec=100)


def added(engine: Dialect, kind: str, number: str) -> str:
    """The template of a sum over numbers of this kind: exact, but for doubles, which are added in a fixed order."""
    if kind in FLOATS:
        return engine.sum_of_doubles(number)
    return f"CAST(sum({number}) {{only}} AS {sum_type(kind)})"


def sum_type(kind: str) -> str:
    """The type that holds a sum of this type without loss. A BIGINT that overflows is an error in every engine.

    >>> sum_type("DECIMAL(18,4)"), sum_type("INTEGER")
    ('DECIMAL(38,4)', 'BIGINT')
    """
    if kind.startswith("DECIMAL"):
        return f"DECIMAL(38,{kind.rstrip(')').rpartition(',')[2].strip()})"
    return "BIGINT"


def is_number(kind: str) -> bool:
    """Whether values of this SQL type can be added: whole numbers up to 64 bits, decimals and doubles."""
    return kind in INTEGERS | FLOATS or (kind.startswith("DECIMAL(") and kind.endswith(")"))


def not_single(kind: str) -> str | None:
    """What is needed instead, in words, where values of this type have no order, or not the same in every engine.

    >>> not_single("VARCHAR"), not_single("HUGEINT")
    (None, 'a text, a number of at most 64 bits, a decimal, a date, an instant or a truth value')
    """
    if kind in SINGLE or DECIMAL.fullmatch(kind):
        return None
    return "a text, a number of at most 64 bits, a decimal, a date, an instant or a truth value"


def not_kept(kind: str) -> str | None:
    """What is needed instead, in words, where a file does not give values of this type back as they were."""
    one = kind.rstrip("[]")
    return "a type that Parquet keeps, such as BIGINT, DECIMAL(38,0) or VARCHAR" if LOST.fullmatch(one) else None


def scale(kind: str) -> int:
    """Digits after the point that values of this type have; 0 for whole numbers.

    >>> scale("DECIMAL(18,4)"), scale("BIGINT")
    (4, 0)
    """
    found = DECIMAL.fullmatch(kind)
    return int(found[2]) if found else 0


def plus(left: Any, right: Any) -> Any:
    """Two numbers added, decimals with all their digits: Python keeps 28 of them unless told otherwise."""
    return _EVERY_DIGIT.add(left, right) if isinstance(left, Decimal) else left + right


def in_order(value: Any) -> tuple[bool, Any]:
    """What values of one type are sorted by: themselves, and NaN above all, as in every engine."""
    return (value != value, value)
