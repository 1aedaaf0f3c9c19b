"""From a feature table to the matrix that trees read: rates instead of sums, codes instead of words."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import BadInput, missing_columns, need_columns, need_rows
from sojourn.lifetime._boost import Floats
from sojourn.lifetime.spec import ADDITIVE, TaskSpec, ValueSpec

KEYS = ("user_id", "as_of")
LABEL, SEQUENCE = "label_", "seq_"
WINDOW = re.compile(r"(.+)_(?:(\d+)d|all)")
DECAYED = re.compile(r"(.+)_decayed_(\d+)d")
EVER_DAYS = 36_500
SHORTEST_RATE_DAYS = 7
PACE_DAYS = (30, 90)
# The share of the average pace that everybody gets: trees multiply the pace, and nothing can multiply zero.
PACE_FLOOR_SHARE = 0.03


@dataclass(frozen=True)
class Design:
    """The feature columns a model has learned from, and how they become numbers.

    Windows of additive aggregates (`<name>_<N>d`, `<name>_all`, `<name>_decayed_<N>d`) become *rates*: the sum over
    the days that the user was there, `min(N, tenure_days)`. A sum over 90 days means another thing for a user who came
    20 days ago, and for a log that began 50 days ago; a rate does not. Words become codes; a word not seen in
    training is a missing value.
    """

    columns: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]
    additive: tuple[str, ...]

    @classmethod
    def learn(cls, table: pl.DataFrame, *, spec: TaskSpec, where: str) -> "Design":
        """The design of these columns. Raises `BadInput` for a feature that is neither number, truth value nor word."""
        columns = feature_columns(table)
        if not columns:
            raise BadInput(f"{where} got a table without feature columns; it has {table.columns}.")
        strange = [f"{name!r} ({table[name].dtype})" for name in columns if not _is_readable(table[name].dtype)]
        if strange:
            raise BadInput(
                f"{where} can read numbers, truth values and words; not {', '.join(strange)}. "
                "Drop these columns or turn them into numbers."
            )
        words = {
            name: tuple(table[name].cast(pl.String).drop_nulls().unique().sort())
            for name in columns
            if _is_word(table[name].dtype)
        }
        return cls(columns, words, spec.additive)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Design":
        """The design that `to_dict` described."""
        words = {name: tuple(known) for name, known in values["words"].items()}
        return cls(tuple(values["columns"]), words, tuple(values["additive"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "columns": list(self.columns),
            "words": {k: list(v) for k, v in self.words.items()},
            "additive": list(self.additive),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the matrix's columns."""
        return tuple(self._expressions())

    @property
    def categorical(self) -> tuple[int, ...]:
        """The positions of the columns that hold codes of words."""
        return tuple(at for at, name in enumerate(self.names) if name in self.words)

    def matrix(self, table: pl.DataFrame, *, where: str) -> Floats:
        """The numbers of this table (rows, names); missing is NaN.

        Raises `MissingColumn` for features that are absent and `BadInput` for features never seen in training.
        """
        self._check(table, where=where)
        return table.select(**self._expressions()).to_numpy(order="c").astype(np.float64, copy=False)

    def _check(self, table: pl.DataFrame, *, where: str) -> None:
        missing = [name for name in self.columns if name not in table.columns]
        if missing:
            raise missing_columns(where, missing=missing, found=table.columns)
        unknown = [name for name in feature_columns(table) if name not in self.columns]
        if unknown:
            raise BadInput(
                f"{where} got columns that the model was not trained with: {unknown}. "
                f"Drop them: table.drop({unknown}), or fit the model again."
            )
        changed = [name for name in self.columns if _is_word(table[name].dtype) != (name in self.words)]
        if changed:
            raise BadInput(
                f"{where}: columns {changed} held {'words' if changed[0] in self.words else 'numbers'} when the model "
                f"was trained and are {table[changed[0]].dtype} now. Cast them, or fit the model again."
            )

    def _expressions(self, *, skip: Collection[str] = ()) -> dict[str, pl.Expr]:
        found: dict[str, pl.Expr] = {}
        for name in self.columns:
            if name in skip:
                continue
            if name.endswith("_all") and f"{name.removesuffix('_all')}_per_day" in self.columns:
                continue  # the same rate, already made
            if name in self.words:
                codes = {word: float(code) for code, word in enumerate(self.words[name])}
                found[name] = pl.col(name).cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.Float64)
            elif (as_rate := self._rate(name)) is not None:
                found[name] = as_rate
            else:
                found[name] = pl.col(name).cast(pl.Float64)
        return found

    def _rate(self, name: str) -> pl.Expr | None:
        """The rate to read for a window, or None where the column is read as it is."""
        if "tenure_days" not in self.columns:
            return None
        decayed = DECAYED.fullmatch(name)
        if decayed and decayed[1] in self.additive:
            return decayed_rate(name, int(decayed[2]))
        window = WINDOW.fullmatch(name)
        if window is None or window[1] not in self.additive or window_days(name) < SHORTEST_RATE_DAYS:
            return None
        return rate(name)


def feature_columns(table: pl.DataFrame) -> tuple[str, ...]:
    """The columns that are neither keys nor labels nor sequences."""
    return tuple(name for name in table.columns if name not in KEYS and not name.startswith((LABEL, SEQUENCE)))


def steady_features(table: pl.DataFrame, *, additive: tuple[str, ...] = ADDITIVE) -> pl.DataFrame:
    """The features as models read them: rates in the place of sums, words as they are, without keys and labels.

    Sums grow with a log that is still short; rates of users who do as before stay what they were. Columns that no model
    can read are left out.

    >>> table = pl.DataFrame({"user_id": ["a"], "tenure_days": [10], "spend_30d": [50.0]})
    >>> steady_features(table)["spend_30d"].to_list()
    [5.0]
    """
    readable = [name for name in feature_columns(table) if _is_readable(table[name].dtype)]
    words = [name for name in readable if _is_word(table[name].dtype)]
    design = Design(tuple(readable), {}, additive)
    return table.select(**design._expressions(skip=words), **{name: pl.col(name).cast(pl.String) for name in words})


def rate(name: str) -> pl.Expr:
    """A window's sum per day that the user was there."""
    return pl.col(name).cast(pl.Float64) / pl.col("tenure_days").clip(1, window_days(name))


def decayed_rate(name: str, half_life_days: int) -> pl.Expr:
    """A decayed sum per day: over the sum of the weights of the days that the user was there."""
    weights = half_life_days / log(2) * (1 - 0.5 ** (pl.col("tenure_days").clip(1) / half_life_days))
    return pl.col(name).cast(pl.Float64) / weights


@dataclass(frozen=True)
class Pace:
    """What a user would spend in the horizon by going on as before: the mean of the rates over several windows.

    The windows are the last 30 and 90 days and the longest there is, where the table has them. `most` is where a pace
    ends: what is known of users who spend more is that nobody learned from did.
    """

    windows: tuple[str, ...]
    horizon_days: int
    most: float = inf

    @classmethod
    def learn(cls, table: pl.DataFrame, *, spec: ValueSpec, where: str) -> "Pace":
        """Find the windows of the value. Raises `MissingColumn` when there is none."""
        windows = value_windows(table.columns, value=spec.value)
        if not windows:
            wanted = f"{spec.value}_{spec.horizon_days}d"
            raise missing_columns(where, missing=[wanted], found=table.columns)
        need_columns(table, ["tenure_days"], where=where)
        used = [name for name in windows if window_days(name) in PACE_DAYS] + windows[-1:]
        return cls(tuple(dict.fromkeys(used)), spec.horizon_days)

    def of(self, table: pl.DataFrame) -> Floats:
        """The pace of each row, never negative, in units of the value per horizon."""
        rates = [rate(name).fill_null(0.0) for name in self.windows]
        pace = table.select(pl.mean_horizontal(rates).clip(lower_bound=0) * self.horizon_days).to_series()
        return np.asarray(np.minimum(pace.to_numpy().astype(np.float64), self.most))

    def held(self, spend: Floats) -> Floats:
        """What a model says, where it says more than anybody learned from ever spent: that."""
        return np.asarray(np.minimum(spend, self.most))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "windows": list(self.windows),
            "horizon_days": self.horizon_days,
            "most": None if self.most == inf else self.most,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Pace":
        """The pace that `to_dict` described."""
        return cls(tuple(values["windows"]), values["horizon_days"], inf if values["most"] is None else values["most"])


def value_windows(columns: Iterable[str], *, value: str) -> list[str]:
    """The columns of the value's windows, shortest first, `<value>_all` last."""
    found = [name for name in columns if (match := WINDOW.fullmatch(name)) and match[1] == value]
    return sorted(found, key=window_days)


def window_days(name: str) -> int:
    """The days of a window column; a hundred years for `<name>_all`."""
    match = WINDOW.fullmatch(name)
    assert match is not None, name
    return EVER_DAYS if match[2] is None else int(match[2])


def labelled(table: pl.DataFrame, *, spec: ValueSpec | Any, where: str) -> pl.DataFrame:
    """The rows whose label is known, in an order that the table's own cannot influence.

    Raises `MissingColumn` without keys or label, `EmptyInput` without a row.
    """
    need_columns(table, [*KEYS, spec.label], where=where)
    need_rows(table, where=where, mend="Is there any user before the first as-of date?")
    known = table.filter(pl.col(spec.label).is_not_null()) if table[spec.label].null_count() else table
    keys = known.select("as_of", "user_id")
    # Large tables come in order: a copy of them would be the largest thing in memory.
    if not keys.equals(keys.sort("as_of", "user_id")):
        known = known.sort("as_of", "user_id")
    if known.is_empty():
        raise BadInput(
            f"{where}: {spec.label!r} is empty in all {table.height} rows: no label window of {spec.horizon_days} days "
            "had ended when the data ends. Use a shorter horizon, an earlier as-of date, or bring a longer log."
        )
    return known


def _is_word(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _is_readable(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.Null) or _is_word(dtype)
