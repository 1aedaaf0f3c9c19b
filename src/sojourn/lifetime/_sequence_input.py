"""From a table with sequences to the arrays that a network reads: events as codes and numbers, days, plain features."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import need_columns
from sojourn.features.sequences import AGE, AMOUNT, DAYS, EVENT
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._design import KEYS, Design, feature_columns
from sojourn.lifetime.spec import TaskSpec

Halves = NDArray[np.float32]
MOST_KINDS = 62
NOTHING, OTHER, FIRST_KIND = 0, 1, 2


@dataclass(frozen=True)
class Inputs:
    """What the network reads of each row.

    `codes` (rows, events): 0 is no event, 1 a kind not known. `numbers` (rows, events, 3): age, gap to the event
    before, amount, all as logarithms. `days` (rows, days, 5): events, spend, pushes, and the weekday on a circle.
    `static` (rows, features): standardised, with a mark for each missing one. Events and days end with the latest.
    """

    codes: NDArray[np.int64]
    numbers: Halves
    days: Halves
    static: Halves

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.int64]) -> "Inputs":
        """These rows."""
        return Inputs(self.codes[rows], self.numbers[rows], self.days[rows], self.static[rows])


@dataclass(frozen=True)
class Reader:
    """How a table becomes `Inputs`: the kinds of event known, the plain features with their scale, and the lengths."""

    kinds: tuple[str, ...]
    design: Design
    middle: Floats
    spread: Floats
    events: int
    days: int

    @classmethod
    def learn(cls, table: pl.DataFrame, *, spec: TaskSpec, events: int, where: str) -> "Reader":
        """The reader of tables like this one. Raises `MissingColumn` without the columns of sequences."""
        need_columns(table, [*KEYS, EVENT, AGE, AMOUNT, *DAYS], where=where)
        counted = Counter(table[EVENT].explode().drop_nulls().to_list())
        kinds = tuple(
            sorted(kind for kind, _ in sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:MOST_KINDS])
        )
        plain = _plain(table)
        design = Design.learn(plain, spec=spec, where=where)
        static = _logs(design.matrix(plain, where=where))
        known = np.isfinite(static)
        middle = np.where(known.any(axis=0), np.nanmean(np.where(known.any(axis=0), static, 0.0), axis=0), 0.0)
        spread = np.sqrt(np.nanmean(np.where(known.any(axis=0), (static - middle) ** 2, 1.0), axis=0))
        days = table.schema[DAYS[0]].size  # type: ignore[attr-defined]
        return cls(kinds, design, middle, np.maximum(spread, 1e-6), events, days)

    def read(self, table: pl.DataFrame, *, where: str) -> Inputs:
        """The arrays of this table. Raises `MissingColumn`, and `BadInput` for features never seen in training."""
        need_columns(table, [*KEYS, EVENT, AGE, AMOUNT, *DAYS], where=where)
        static = (_logs(self.design.matrix(_plain(table), where=where)) - self.middle) / self.spread
        missing = ~np.isfinite(static)
        both = np.hstack([np.where(missing, 0.0, np.clip(static, -8, 8)), missing])
        codes, numbers = self._events(table)
        return Inputs(codes, numbers, self._days(table), both.astype(np.float32))

    @property
    def width(self) -> int:
        """How many plain numbers there are of a row."""
        return 2 * len(self.middle)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kinds": list(self.kinds),
            "design": self.design.to_dict(),
            "middle": self.middle.tolist(),
            "spread": self.spread.tolist(),
            "events": self.events,
            "days": self.days,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Reader":
        """The reader that `to_dict` described."""
        return cls(
            tuple(values["kinds"]),
            Design.from_dict(values["design"]),
            np.array(values["middle"]),
            np.array(values["spread"]),
            values["events"],
            values["days"],
        )

    def _events(self, table: pl.DataFrame) -> tuple[NDArray[np.int64], Halves]:
        """The last events of each row, at the end of the arrays."""
        codes = np.zeros((table.height, self.events), dtype=np.int64)
        numbers = np.zeros((table.height, self.events, 3), dtype=np.float32)
        code = {kind: FIRST_KIND + at for at, kind in enumerate(self.kinds)}
        long = (
            table.select(pl.col(EVENT, AGE, AMOUNT).list.tail(self.events))
            .with_row_index("row")
            .explode(EVENT, AGE, AMOUNT)
            .drop_nulls(EVENT)
            .with_columns(
                place=pl.int_range(pl.len()).over("row") + self.events - pl.len().over("row"),
                gap=(pl.col(AGE).shift(1).over("row") - pl.col(AGE)).fill_null(0.0),
                code=pl.col(EVENT).replace_strict(code, default=OTHER, return_dtype=pl.Int64),
            )
        )
        at = long["row"].to_numpy(), long["place"].to_numpy()
        codes[at] = long["code"].to_numpy()
        parts = (long[AGE].to_numpy(), long["gap"].to_numpy(), long[AMOUNT].fill_null(0.0).to_numpy())
        for column, part in enumerate(parts):
            numbers[(*at, column)] = _logs(part)
        return codes, numbers

    def _days(self, table: pl.DataFrame) -> Halves:
        empty = [0.0] * self.days
        filled = (table[name].fill_null(pl.Series([empty], dtype=table.schema[name])) for name in DAYS)
        counted = [_logs(np.array(numbers.to_list(), dtype=np.float64).reshape(-1, self.days)) for numbers in filled]
        # 1970-01-01 was a Thursday; what counts is that the same weekday has the same angle.
        weekday = (table["as_of"].cast(pl.Int32).to_numpy()[:, None] + np.arange(-self.days, 0)) % 7 * (2 * np.pi / 7)
        return np.stack([*counted, np.sin(weekday), np.cos(weekday)], axis=2).astype(np.float32)


def has_sequences(table: pl.DataFrame) -> bool:
    """Whether the table has the columns that a network reads."""
    return {EVENT, AGE, AMOUNT, *DAYS} <= set(table.columns)


def _plain(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(name for name in (*KEYS, *feature_columns(table)) if name in table.columns)


def _logs(numbers: Floats) -> Floats:
    return np.asarray(np.sign(numbers) * np.log1p(np.abs(numbers)))
