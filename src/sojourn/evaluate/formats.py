"""Numbers as people read them: thousands parted, a true minus sign, the digits that matter and no more."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from sojourn.evaluate.bootstrap import Interval
from sojourn.evaluate.parts import Column, Style, Table

THIN_SPACE = "\u202f"
UNDEFINED = "–"


def number_text(value: float | None, *, style: Style = "number", digits: int | None = None, unit: str = "") -> str:
    """One number as text; None or NaN is a dash.

    >>> number_text(-1234.5), number_text(0.1234, style="percent"), number_text(0.1234, style="change", digits=0)
    ('−1,234', '12.3\u202f%', '+12\u202f%')
    >>> number_text(2.5, style="times"), number_text(None), number_text(12.5, unit="$")
    ('2.50×', '–', '$12.50')
    """
    if value is None or not isfinite(value):
        return UNDEFINED
    if style in ("percent", "change"):
        return _signed(100 * value, 1 if digits is None else digits, plus=style == "change") + f"{THIN_SPACE}%"
    places = digits_for([value]) if digits is None else digits
    text = _signed(value, places, unit=unit)
    return f"{text}×" if style == "times" else text


def digits_for(values: Sequence[float]) -> int:
    """Digits after the point that suit the largest of these numbers: about three or four figures in all.

    >>> digits_for([1234.5]), digits_for([172.3]), digits_for([8.25]), digits_for([0.861]), digits_for([3, 140])
    (0, 1, 2, 3, 0)
    """
    if all(float(value).is_integer() for value in values):
        return 0
    largest = max(abs(value) for value in values)
    return 0 if largest >= 1000 else 1 if largest >= 100 else 2 if largest >= 1 else 3


def table_cells(table: Table) -> list[dict[str, Any]]:
    """A table's rows for the page: `{"marked": bool, "cells": [{"text", "range", "numeric", "best"}]}`."""
    rows = table.row_dicts
    by_column = [_column_cells(column, rows) for column in table.shown_columns]
    first = table.shown_columns[0].name
    return [
        {
            "marked": table.mark is not None and str(row[first]) == table.mark,
            "cells": [cells[at] for cells in by_column],
        }
        for at, row in enumerate(rows)
    ]


def _column_cells(column: Column, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    values = [row[column.name] for row in rows]
    plain = [_number(value) for value in values]
    shown = [value for value in plain if value is not None]
    digits = column.digits
    if digits is None and shown and column.style not in ("percent", "change"):
        digits = digits_for(shown)
    best = _best(plain, column)
    return [
        {
            "text": _text(value, column, digits),
            "range": _range(value, column, digits),
            "numeric": bool(shown) and column.style != "text",
            "best": number is not None and number == best,
        }
        for value, number in zip(values, plain, strict=True)
    ]


def _number(value: Any) -> float | None:
    if isinstance(value, Interval):
        value = value.value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return float(value) if isfinite(value) else None


def _best(values: Sequence[float | None], column: Column) -> float | None:
    shown = [value for value in values if value is not None]
    if column.better is None or len(shown) < 2:
        return None
    cost = {"low": lambda v: v, "high": lambda v: -v, "zero": abs}[column.better]
    return min(shown, key=cost)


def _text(value: Any, column: Column, digits: int | None) -> str:
    number = _number(value)
    if number is not None and column.style != "text":
        return number_text(number, style=column.style, digits=digits, unit=column.unit)
    if value is None or isinstance(value, Interval) or (isinstance(value, float) and not isfinite(value)):
        return UNDEFINED
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return value.isoformat() if isinstance(value, date) else str(value)


def _range(value: Any, column: Column, digits: int | None) -> str:
    if not isinstance(value, Interval):
        return ""
    return range_text(value, style=column.style, digits=digits, unit=column.unit)


def range_text(interval: Interval, *, style: Style = "number", digits: int | None = None, unit: str = "") -> str:
    """An interval's ends as text, with "to" where a dash would look like a minus; empty when they are not defined.

    >>> range_text(Interval(value=0.1, low=-0.02, high=0.2), style="change")
    '−2.0 to +20.0\u202f%'
    """
    if interval.low is None or interval.high is None:
        return ""
    if digits is None and style in ("number", "times"):
        digits = digits_for([interval.low, interval.high])
    low, high = (number_text(end, style=style, digits=digits, unit=unit) for end in (interval.low, interval.high))
    return f"{low.removesuffix(f'{THIN_SPACE}%').removesuffix('×')} {'to' if '−' in low + high else '–'} {high}"


def _signed(value: float, digits: int, *, unit: str = "", plus: bool = False) -> str:
    text = f"{abs(value):,.{digits}f}"
    if not any(digit in "123456789" for digit in text):
        return f"{unit}{text}"
    return f"{'−' if value < 0 else '+' if plus else ''}{unit}{text}"
