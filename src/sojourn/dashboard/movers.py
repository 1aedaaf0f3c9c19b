"""A metric's last two periods that are over come in; the segments that moved it, and by how much, come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

import polars as pl

from sojourn.core import BadInput, EmptyInput
from sojourn.dashboard.boards import metric
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.homes import is_ratio
from sojourn.dashboard.reader import Reader
from sojourn.metrics import ratio_parts, sum_parts

Sides = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Moved:
    """How a metric went from one period to the next: `before` plus the sum of all effects is `after`.

    `parts` has a row a segment, largest effect first: the dimension, `before` and `after` (null where the segment was
    not there), `rate_effect`, `mix_effect`, `effect` and `share` (of the change). Of a sum there is no mix effect.
    """

    start: date
    end: date
    before: float
    after: float
    parts: pl.DataFrame

    @property
    def change(self) -> float:
        """What the effects add up to."""
        return self.after - self.before


def moved(reader: Reader, name: str, filters: Filters, *, by: str) -> Moved:
    """Why a metric moved between its last two periods that are over, by one dimension.

    Raises `EmptyInput` when fewer than two periods are over, `BadInput` for a ratio that is undefined, and as `metric`.
    """
    table = metric(reader, name, filters, by=[by])
    over = table.group_by("start").agg(pl.col("mature").all()).filter("mature")["start"].sort()
    if over.len() < 2:
        raise EmptyInput(
            f"What moved {name!r} takes two periods that are over, and there are {over.len()}. "
            "Widen the dates, or choose a "
            "shorter period."
        )
    start, end = over[-2], over[-1]
    ratio = is_ratio(name)
    before, after = (_sides(table.filter(pl.col("start") == day), by, ratio=ratio) for day in (start, end))
    if ratio and not (_below(before) and _below(after)):
        raise BadInput(f"What moved {name!r} cannot be told: its denominator is zero in a period. Widen the filters.")
    parts = (ratio_parts if ratio else sum_parts)(before, after)
    rows = [
        (part.segment[0], _level(part.before, ratio=ratio), _level(part.after, ratio=ratio), float(part.rate),
         float(part.mix), float(part.effect))
        for part in parts
    ]  # fmt: skip
    names = (by, "before", "after", "rate_effect", "mix_effect", "effect")
    schema = {column: pl.String if column == by else pl.Float64 for column in names}
    effects = pl.DataFrame(rows, schema=schema, orient="row")
    levels = [_whole(side, ratio=ratio) for side in (before, after)]
    change = levels[1] - levels[0]
    share = pl.col("effect") / change if change else pl.lit(None, pl.Float64)
    return Moved(start, end, levels[0], levels[1], effects.with_columns(share=share))


def biggest(reader: Reader, names: Sequence[str], filters: Filters, *, by: Sequence[str], most: int) -> pl.DataFrame:
    """The segments that moved these metrics most, by effect over the metric's level before: `metric`, `dimension`,
    `segment`, `before`, `after`, `effect` and `relative` (the effect over the whole metric before).
    """
    found = []
    for name in names:
        for dim in by:
            try:
                why = moved(reader, name, filters, by=dim)
            except BadInput:  # a young warehouse, or a metric without this dimension: it moved nothing that can be told
                continue
            if why.before:
                rows = why.parts.select(
                    metric=pl.lit(name), dimension=pl.lit(dim), segment=dim, before="before", after="after",
                    effect="effect", relative=pl.col("effect") / why.before,
                )  # fmt: skip
                found.append(rows)
    if not found:
        return pl.DataFrame()
    every = pl.concat(found).sort(pl.col("relative").abs(), "metric", "segment", descending=[True, False, False])
    return every.head(most)


def _sides(table: pl.DataFrame, by: str, *, ratio: bool) -> dict[tuple[str, ...], Sides]:
    rows = table.select(by, "numerator", "denominator").iter_rows()
    return {
        (str(key),): (Fraction(top or 0), Fraction(below or 0) if ratio else Fraction(0)) for key, top, below in rows
    }


def _below(sides: dict[tuple[str, ...], Sides]) -> Fraction:
    return sum((below for _, below in sides.values()), Fraction(0))


def _whole(sides: dict[tuple[str, ...], Sides], *, ratio: bool) -> float:
    top = sum((top for top, _ in sides.values()), Fraction(0))
    return float(top / _below(sides)) if ratio else float(top)


def _level(sides: Sides, *, ratio: bool) -> float | None:
    if not ratio:
        return float(sides[0])
    return float(sides[0] / sides[1]) if sides[1] else None
