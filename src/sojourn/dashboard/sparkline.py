"""A few numbers become a line as small as a word, as an image in the page itself."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from sojourn.evaluate.theme import COLORS

WIDE, HIGH, EDGE = 120, 28, 3


def sparkline(values: Sequence[float | None]) -> Any:
    """An image of the line through these values; nothing below two. The tile says it all, so readers skip it."""
    from dash import html

    drawn = svg(values)
    if drawn is None:
        return None
    return html.Img(src=f"data:image/svg+xml,{quote(drawn)}", alt="", className="sj-spark", **{"aria-hidden": "true"})


def svg(values: Sequence[float | None]) -> str | None:
    """The line as SVG; None below two values. A missing value breaks the line.

    >>> svg([1.0]) is None
    True
    >>> svg([1.0, None, 2.0, 3.0]).count("<polyline")
    1
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    # What hardly moves is drawn flat: a thousandth would look like a fall.
    span = max(high - low, 0.02 * abs(high)) or 1.0
    step = (WIDE - 2 * EDGE) / (len(values) - 1)
    points = [
        None if value is None else (EDGE + at * step, HIGH - EDGE - (value - low) / span * (HIGH - 2 * EDGE))
        for at, value in enumerate(values)
    ]
    lines = "".join(_polyline(run) for run in _runs(points) if len(run) > 1)
    last = next(point for point in reversed(points) if point is not None)
    dot = f'<circle cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="2.5" fill="{COLORS["accent"]}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}">{lines}{dot}</svg>'


Point = tuple[float, float]


def _runs(points: Sequence[Point | None]) -> list[list[Point]]:
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return runs


def _polyline(points: Sequence[Point]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{COLORS["accent"]}" stroke-width="1.6"/>'
