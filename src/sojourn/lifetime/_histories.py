"""What a purchase process knows of each customer: how many purchases after the first, when the last, seen how long."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import BadInput, need_columns, need_rows
from sojourn.lifetime._boost import Floats

FREQUENCY, RECENCY, AGE = "frequency", "recency_days", "age_days"


@dataclass(frozen=True)
class Histories:
    """Per history: `x` purchases after the first, the last of them at `recency`, seen until `age`; `count` have it.

    Times are in the model's unit, from the first purchase on.
    """

    x: Floats
    recency: Floats
    age: Floats
    count: Floats

    def __len__(self) -> int:
        return len(self.x)

    def distinct(self) -> "tuple[Histories, NDArray[np.int64]]":
        """Every different history once with its count, and where each of these is among them."""
        frame = pl.DataFrame({"x": self.x, "recency": self.recency, "age": self.age, "count": self.count})
        found = frame.group_by("x", "recency", "age", maintain_order=False).agg(pl.col("count").sum())
        found = found.sort("x", "recency", "age").with_row_index("at")
        at = frame.join(found.drop("count"), on=["x", "recency", "age"], how="left", maintain_order="left")["at"]
        parts = (found[name].to_numpy() for name in ("x", "recency", "age", "count"))
        return Histories(*parts), at.to_numpy().astype(np.int64)

    def slice(self, start: int, end: int) -> "Histories":
        """These histories from `start` to before `end`."""
        return Histories(*(part[start:end] for part in (self.x, self.recency, self.age, self.count)))


def histories(table: pl.DataFrame, *, unit_days: float, where: str) -> Histories:
    """The histories of a table with the columns of `rfm_table`. Raises `MissingColumn`, `EmptyInput`, `BadInput`."""
    need_columns(table, ["user_id", FREQUENCY, RECENCY, AGE], where=where)
    need_rows(table, where=where, mend="Has anybody bought before this day?")
    x, t, age = (table[name].cast(pl.Float64).to_numpy() for name in (FREQUENCY, RECENCY, AGE))
    wrong = ~((x >= 0) & (t >= 0) & (age >= t) & np.isfinite(age) & (x == np.floor(x)) & ((x > 0) | (t == 0)))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise BadInput(
            f"{where}: user {table['user_id'][at]!r} has {FREQUENCY} {x[at]:g}, {RECENCY} {t[at]:g} and {AGE} "
            f"{age[at]:g}; expected a whole number of purchases after the first, the last of them (0 without any) at "
            f"most {AGE} days after it. Make the table with rfm_table, or correct {int(wrong.sum()):,} rows."
        )
    return Histories(x, t / unit_days, age / unit_days, np.ones(len(x)))
