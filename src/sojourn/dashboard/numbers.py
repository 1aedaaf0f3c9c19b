"""Figures in words, money above all: two digits after the point, none where they say nothing, more where it is tiny."""

from collections.abc import Iterable
from math import ceil, isfinite, log10

from sojourn.evaluate.formats import number_text
from sojourn.evaluate.parts import Style

LARGE, TINY, MOST_DIGITS = 10_000, 0.01, 8


def figure_text(value: float | None, *, style: Style = "number", unit: str = "") -> str:
    """A figure of a tile or a sentence; what has a unit is money.

    >>> figure_text(0.59, unit="$"), figure_text(-4, unit="$"), figure_text(12345.6, unit="$"), figure_text(82)
    ('$0.59', '−$4.00', '$12,346', '82')
    >>> figure_text(0.00123, unit="$")
    '$0.0012'
    """
    if not unit or style != "number" or value is None:
        return number_text(value, style=style, unit=unit)
    return number_text(value, unit=unit, digits=money_digits([value]))


def money_digits(values: Iterable[float | None]) -> int:
    """Digits after the point that suit all these amounts of money, by the largest of them.

    >>> money_digits([0.5, 12]), money_digits([20_000, 3]), money_digits([0.0042]), money_digits([0, None])
    (2, 0, 4, 2)
    """
    largest = max((abs(value) for value in values if value is not None and isfinite(value)), default=0.0)
    if largest >= LARGE:
        return 0
    return min(MOST_DIGITS, 1 + ceil(-log10(largest))) if 0 < largest < TINY else 2
