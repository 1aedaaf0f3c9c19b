"""From covariates to the matrices that models read: numbers as they are, words as codes, or one column per word."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import BadInput, missing_columns
from sojourn.effects._log import Floats

MOST_WORDS = 300
LEAST_WORD_ROWS = 20


@dataclass(frozen=True)
class Covariates:
    """The covariates of a table and the words that they hold. A word not seen before is a missing value."""

    columns: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]

    @classmethod
    def learn(cls, table: pl.DataFrame, *, columns: tuple[str, ...], where: str) -> "Covariates":
        """The covariates in these columns. Raises `MissingColumn`, and `BadInput` for what no model can read."""
        missing = [name for name in columns if name not in table.columns]
        if missing:
            raise missing_columns(where, missing=missing, found=table.columns)
        strange = [f"{name!r} ({table[name].dtype})" for name in columns if not _is_readable(table[name].dtype)]
        if strange:
            raise BadInput(
                f"{where} can read numbers, truth values and words; not {', '.join(strange)}. "
                "Drop these columns, or name the covariates to take: covariates=(...)"
            )
        words = {
            name: tuple(table[name].cast(pl.String).drop_nulls().unique().sort())
            for name in columns
            if _is_word(table[name].dtype)
        }
        many = [name for name, known in words.items() if len(known) > MOST_WORDS]
        if many:
            raise BadInput(
                f"{where}: column {many[0]!r} holds {len(words[many[0]])} different words; at most {MOST_WORDS} can be "
                "learned from. Is it an id? Drop it, or name the covariates to take: covariates=(...)"
            )
        return cls(tuple(columns), words)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Covariates":
        """The covariates that `to_dict` described."""
        return cls(tuple(values["columns"]), {name: tuple(known) for name, known in values["words"].items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"columns": list(self.columns), "words": {name: list(known) for name, known in self.words.items()}}

    @property
    def categorical(self) -> tuple[int, ...]:
        """The positions of the columns that hold codes of words."""
        return tuple(at for at, name in enumerate(self.columns) if name in self.words)

    def codes(self, table: pl.DataFrame, *, where: str) -> Floats:
        """Numbers, and words as codes (rows, columns); missing is NaN. Raises `MissingColumn` and `BadInput`."""
        missing = [name for name in self.columns if name not in table.columns]
        if missing:
            raise missing_columns(where, missing=missing, found=table.columns)
        changed = [name for name in self.columns if _is_word(table[name].dtype) != (name in self.words)]
        if changed:
            raise BadInput(
                f"{where}: column {changed[0]!r} held {'words' if changed[0] in self.words else 'numbers'} when the "
                f"model was fitted and holds {table[changed[0]].dtype} now. Cast it, or fit the model again."
            )
        if not self.columns:
            return np.zeros((table.height, 0))
        return table.select(**{name: self._code(name) for name in self.columns}).to_numpy().astype(np.float64)

    def _code(self, name: str) -> pl.Expr:
        if name not in self.words:
            return pl.col(name).cast(pl.Float64)
        codes = {word: float(code) for code, word in enumerate(self.words[name])}
        return pl.col(name).cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.Float64)


@dataclass(frozen=True)
class Scales:
    """How codes become the columns of a linear model: standardised numbers (missing is the mean), one column a word.

    `middle` and `spread` (columns) are of the rows it was learned from; `levels` are (column, code) pairs seen often.
    """

    middle: Floats
    spread: Floats
    levels: tuple[tuple[int, int], ...]

    @classmethod
    def learn(cls, codes: Floats, *, categorical: tuple[int, ...]) -> "Scales":
        """The scales of these rows."""
        levels = []
        for at in categorical:
            known, counts = np.unique(codes[~np.isnan(codes[:, at]), at], return_counts=True)
            levels += [(at, int(code)) for code, rows in zip(known, counts, strict=True) if rows >= LEAST_WORD_ROWS]
        numbers = [at for at in range(codes.shape[1]) if at not in categorical]
        middle, spread = np.zeros(codes.shape[1]), np.zeros(codes.shape[1])
        for at in numbers:
            seen = codes[~np.isnan(codes[:, at]), at]
            if len(seen):
                middle[at], spread[at] = seen.mean(), seen.std()
        return cls(middle, spread, tuple(levels))

    def columns(self, codes: Floats) -> Floats:
        """The columns of the linear model (rows, columns), each about zero."""
        varying = np.flatnonzero(self.spread > 1e-12)
        scaled = (codes[:, varying] - self.middle[varying]) / np.where(self.spread > 1e-12, self.spread, 1)[varying]
        numbers = np.clip(np.nan_to_num(scaled, nan=0.0), -4, 4)
        words = [(codes[:, at] == code).astype(np.float64) for at, code in self.levels]
        return np.column_stack([numbers, *words]) if words else numbers


def _is_word(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _is_readable(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.Null) or _is_word(dtype)
