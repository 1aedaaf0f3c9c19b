"""Days around an `as_of` as arrays and as list columns: (rows, days), nothing known is null."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import BadInput

Bits = NDArray[np.floating]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """The days around one `as_of`: `before` of them up to it, `ahead` of them from it on, known up to `end`."""

    as_of: date
    before: int
    ahead: int
    end: date

    @property
    def days(self) -> int:
        """All days."""
        return self.before + self.ahead


def spread(days: pl.DataFrame, *, users: pl.Series, span: Span, value: str | None) -> Bits:
    """A row per user and a column per day of the span: 1 (or the `value` column) where `days` has a row, else 0."""
    places = pl.DataFrame({"user_id": users, "row": np.arange(len(users))})
    offset = (pl.col("day") - span.as_of).dt.total_days() + span.before
    hits = days.join(places, on="user_id").with_columns(at=offset)
    filled = np.zeros((len(users), span.days), dtype=np.float32 if value is None else np.float64)
    filled[hits["row"].to_numpy(), hits["at"].to_numpy()] = 1 if value is None else hits[value].to_numpy()
    return filled


def ahead_list(bits: Bits, *, span: Span, name: str, kind: type[pl.DataType] = pl.Int8) -> pl.Series:
    """The days from `as_of` on as a list column; null from the first day that is not known yet."""
    hidden = np.arange(span.ahead) >= (span.end - span.as_of).days
    return days_list(bits, hidden=np.broadcast_to(hidden, bits.shape), name=name, kind=kind)


def days_list(bits: Bits, *, hidden: NDArray[np.bool_], name: str, kind: type[pl.DataType] = pl.Int8) -> pl.Series:
    """One list per row, null where `hidden`."""
    flat = pl.Series(name, np.where(hidden, np.nan, bits).reshape(-1)).fill_nan(None).cast(kind)
    return (
        flat.reshape((bits.shape[0], bits.shape[1])).cast(pl.List(kind)) if len(flat) else _no_lists(bits, name, kind)
    )


def _no_lists(bits: Bits, name: str, kind: type[pl.DataType]) -> pl.Series:
    return pl.Series(name, [[]] * bits.shape[0], dtype=pl.List(kind))


def matrix_of(lists: pl.Series) -> NDArray[np.float64]:
    """A list column as an array (rows, days), null as NaN. Raises `BadInput` when lists differ in length."""
    lengths = lists.list.len().unique()
    if lists.null_count() or len(lengths) > 1:
        raise BadInput(
            f"lifetime: column {lists.name!r} needs a list of the same length in every row; it has lengths "
            f"{sorted(lengths.drop_nulls())} and {lists.null_count()} nulls. Make it with activity_table."
        )
    days = int(lengths[0]) if len(lengths) else 0
    if not days:
        return np.zeros((len(lists), 0))
    return lists.explode(empty_as_null=True).cast(pl.Float64).to_numpy().reshape(len(lists), days)
