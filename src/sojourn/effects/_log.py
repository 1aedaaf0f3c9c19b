"""The door of every estimator: a campaign log checked, in an order of its own, as arrays."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import BadInput, need_columns, need_rows
from sojourn.effects.spec import KEYS, OUTCOME, EffectSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEAST_ROWS = 20
TREATED = "treated"


@dataclass(frozen=True)
class Decisions:
    """One row per user and decision, sorted by both. `arms` begins with control; `arm` (rows) counts into it.

    `propensity` (rows, arms) are the chances of each arm, `user` (rows) numbers the users in ascending order.
    """

    table: pl.DataFrame
    arms: tuple[str, ...]
    arm: Ints
    propensity: Floats
    outcome: Floats
    user: Ints

    @property
    def chance(self) -> Floats:
        """The probability with which each row got the arm that it got."""
        return np.asarray(self.propensity[np.arange(len(self.arm)), self.arm])

    def got(self, arm: int) -> NDArray[np.bool_]:
        """Which rows got this arm."""
        return np.asarray(self.arm == arm)


def decisions(table: pl.DataFrame, *, spec: EffectSpec, where: str) -> Decisions:
    """The rows whose outcome is known, checked.

    Raises `MissingColumn`, `EmptyInput`, and `BadInput` for two rows of one user and day, an arm with too few rows, no
    control, and propensities outside (0, 1).
    """
    need_columns(table, ["user_id", spec.treatment, spec.outcome], where=where)
    need_rows(table, where=where, mend="Is there any decision whose outcome window has ended?")
    keys = keys_of(table)
    known = table.filter(pl.col(spec.outcome).is_not_null()).sort(keys)
    need_rows(known, where=where, mend=f"Column {spec.outcome!r} is empty: no outcome window had ended.")
    _check_keys(known, keys, spec, where)
    words = arm_words(known, spec=spec, where=where)
    arms = _arms(words, spec, where)
    codes = words.replace_strict({name: code for code, name in enumerate(arms)}, return_dtype=pl.Int64)
    arm = codes.to_numpy()
    return Decisions(
        table=known,
        arms=arms,
        arm=arm,
        propensity=propensities(known, arms=arms, arm=arm, spec=spec, where=where),
        outcome=_numbers(known, spec.outcome, where),
        user=known["user_id"].rle_id().cast(pl.Int64).to_numpy(),
    )


def keys_of(table: pl.DataFrame) -> list[str]:
    """The key columns that the table has."""
    return [name for name in KEYS if name in table.columns]


def covariate_columns(table: pl.DataFrame, *, spec: EffectSpec) -> tuple[str, ...]:
    """What was known before the decision: the named columns, or all that are no key, decision or outcome."""
    if spec.covariates is not None:
        return spec.covariates
    taken = {*KEYS, spec.treatment, spec.outcome}

    def is_free(name: str) -> bool:
        # A user who is scored has no propensity yet, so nothing may be learned from it.
        chance = spec.propensity is not None and (name == spec.propensity or name.startswith(f"{spec.propensity}_"))
        return name not in taken and not name.startswith(OUTCOME) and not chance

    return tuple(name for name in table.columns if is_free(name))


def arm_words(table: pl.DataFrame, *, spec: EffectSpec, where: str) -> pl.Series:
    """The arm of each row as a word; true and false become `treated` and the control's name. Raises `BadInput`."""
    column = table[spec.treatment]
    if column.dtype == pl.Boolean:
        return pl.select(
            pl.when(column).then(pl.lit(TREATED)).otherwise(pl.lit(spec.control)).alias(spec.treatment)
        ).to_series()
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise BadInput(
            f"{where}: column {spec.treatment!r} holds {column.dtype}; an arm is a word, or true and false. "
            f"Cast it: table.with_columns(pl.col({spec.treatment!r}) == 1)"
        )
    return column.cast(pl.String)


def propensities(table: pl.DataFrame, *, arms: tuple[str, ...], arm: Ints, spec: EffectSpec, where: str) -> Floats:
    """The chances of each arm (rows, arms): recorded, or the arms' shares where `spec.propensity` is None."""
    if spec.propensity is None:
        shares = np.bincount(arm, minlength=len(arms)) / len(arm)
        return np.tile(shares, (len(arm), 1))
    names = [spec.propensity] if len(arms) == 2 else [f"{spec.propensity}_{name}" for name in arms[1:]]
    if len(arms) == 2 and f"{spec.propensity}_{arms[1]}" in table.columns:
        names = [f"{spec.propensity}_{arms[1]}"]
    need_columns(table, names, where=where)
    treated = np.column_stack([_numbers(table, name, where) for name in names])
    chances = np.column_stack([1 - treated.sum(axis=1), treated])
    outside = np.flatnonzero(((chances <= 1e-9) | (chances >= 1 - 1e-9)).any(axis=1))
    if len(outside):
        listed = ", ".join(repr(name) for name in names)
        raise BadInput(
            f"{where}: {len(outside)} of {table.height} rows have a propensity outside (0, 1) in {listed} (the first "
            f"is user {table['user_id'][int(outside[0])]!r}). Where there was no choice there is nothing to compare: "
            "leave those rows out."
        )
    return chances


def _check_keys(table: pl.DataFrame, keys: list[str], spec: EffectSpec, where: str) -> None:
    empty = [name for name in (*keys, spec.treatment) if table[name].null_count()]
    if empty:
        raise BadInput(f"{where} found nulls in {empty}. Leave those rows out, or fill them.")
    twice = table.filter(table.select(keys).is_duplicated())
    if not twice.is_empty():
        first = ", ".join(str(twice[name][0]) for name in keys)
        raise BadInput(
            f"{where}: {twice.height} rows share their {' and '.join(keys)} with another ({first}). "
            "One row is one decision about one user: keep one of them, or give each its own as_of."
        )


def _arms(words: pl.Series, spec: EffectSpec, where: str) -> tuple[str, ...]:
    counts = dict(words.value_counts(sort=True).iter_rows())
    if spec.control not in counts:
        raise BadInput(
            f"{where}: no row of {spec.treatment!r} is {spec.control!r}; it has {sorted(counts)[:5]}. "
            "Say which arm is the control: EffectSpec(control=...) or --control"
        )
    few = [f"{name!r} ({rows})" for name, rows in counts.items() if rows < LEAST_ROWS]
    if few or len(counts) < 2:
        what = f"arms with fewer: {', '.join(few)}" if few else "there is only the control"
        raise BadInput(
            f"{where} needs at least two arms of {LEAST_ROWS} rows each; {what}. Bring more rows, or leave out the arm."
        )
    return (spec.control, *sorted(name for name in counts if name != spec.control))


def _numbers(table: pl.DataFrame, name: str, where: str) -> Floats:
    column = table[name]
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise BadInput(f"{where}: column {name!r} holds {column.dtype}, not numbers. Cast it first.")
    values = column.cast(pl.Float64).to_numpy()
    if not np.isfinite(values).all():
        raise BadInput(f"{where}: column {name!r} has {int((~np.isfinite(values)).sum())} values that are no number.")
    return values
