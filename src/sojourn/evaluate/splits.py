"""Splits by time: what may be learned from, when to stop, and what is tested, without a label seen too early."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Annotated, Self

import polars as pl
from pydantic import Field, model_validator

from sojourn.core import BadInput, Spec, fingerprint, need_columns, need_rows

Days = Annotated[int, Field(ge=1, le=36_500)]


class SplitSpec(Spec):
    """How to cut as-of dates into folds.

    `early_stop` is the number of as-of dates kept for early stopping. A fold whose history has no room for that many
    gets fewer, down to none, and says so in `Fold.early_stop`.
    """

    horizon_days: Days
    folds: int = Field(default=2, ge=1)
    early_stop: int = Field(default=1, ge=0)


class Fold(Spec):
    """As-of dates to train on, to stop early on (perhaps none), and one to test on.

    Label windows are `[as_of, as_of + horizon_days)`. Every training window ends by the first early-stop date, and
    every early-stop window by the test date, so nothing learned has seen a day that it is judged on.

    >>> Fold(horizon_days=30, train=(date(2024, 1, 20),), test=date(2024, 2, 1))
    Traceback (most recent call last):
    sojourn.core.errors.BadSpec: Fold is wrong: the label window of 2024-01-20 ends on \
2024-02-19, after the next as-of date 2024-02-01...
    """

    horizon_days: Days
    train: tuple[date, ...] = Field(min_length=1)
    early_stop: tuple[date, ...] = ()
    test: date

    @model_validator(mode="after")
    def _no_label_window_is_cut_short(self) -> Self:
        stages: list[Sequence[date]] = [self.train, *([self.early_stop] if self.early_stop else []), (self.test,)]
        for earlier, later in pairwise(stages):
            end = max(earlier) + timedelta(days=self.horizon_days)
            if end > min(later):
                raise ValueError(
                    f"the label window of {max(earlier)} ends on {end}, after the next as-of date {min(later)}; "
                    f"leave {self.horizon_days} days between them"
                )
        return self


class Split(Spec):
    """Folds in time order. Models are chosen on `selection` and tested once on `final`.

    A fold's test window ends by the next fold's test date, so the choice never saw the final labels.
    """

    horizon_days: Days
    as_ofs: tuple[date, ...]
    folds: tuple[Fold, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _choices_are_made_before_the_next_test(self) -> Self:
        for earlier, later in pairwise(self.folds):
            end = earlier.test + timedelta(days=self.horizon_days)
            if end > later.test:
                raise ValueError(f"the test window of {earlier.test} ends on {end}, after the next test {later.test}")
        if any(fold.horizon_days != self.horizon_days for fold in self.folds):
            raise ValueError(f"every fold needs the horizon of the split, {self.horizon_days} days")
        return self

    @property
    def selection(self) -> tuple[Fold, ...]:
        """The folds on which models are chosen: all but the last."""
        return self.folds[:-1]

    @property
    def final(self) -> Fold:
        """The fold that is tested once, after every choice was made."""
        return self.folds[-1]

    def known_at(self, as_of: date) -> tuple[date, ...]:
        """Every as-of date whose label window had ended by `as_of`: what a last refit before that day may use."""
        return _known(self.as_ofs, at=as_of, horizon_days=self.horizon_days)


def as_of_grid(
    first_day: date, *, end_day: date, horizon_days: int, step_days: int = 30, history_days: int = 1
) -> tuple[date, ...]:
    """As-of dates every `step_days`, counted back from the last one whose label window is complete.

    The log covers `[first_day, end_day)`. The earliest date has at least `history_days` of log before it. A step that
    divides the horizon wastes the fewest days when the dates are cut into folds.

    Raises `BadInput` when the log is shorter than `history_days + horizon_days`.

    >>> [str(day) for day in as_of_grid(date(2024, 1, 1), end_day=date(2024, 4, 30), horizon_days=30)]
    ['2024-01-31', '2024-03-01', '2024-03-31']
    """
    days, needed = (end_day - first_day).days, history_days + horizon_days
    if days < needed:
        raise BadInput(
            f"evaluate.as_of_grid: the log has {max(days, 0)} days ({first_day} to {end_day}, end excluded), but a "
            f"horizon of {horizon_days} days after {history_days} of history needs {needed}. "
            "Use a shorter horizon, or bring a longer log."
        )
    steps = (days - needed) // step_days
    last = end_day - timedelta(days=horizon_days)
    return tuple(last - timedelta(days=step_days * back) for back in range(steps, -1, -1))


def time_split(as_ofs: Iterable[date], *, spec: SplitSpec) -> Split:
    """Folds over these as-of dates (in any order, repeats ignored); the last date is the final test.

    Each earlier test is the latest date whose label window ends by the next test. A fold trains on every date whose
    window ends by its first early-stop date (or by its test, when there is no room for early stopping).

    Raises `BadInput` with the days there are and the days needed when history is too short.

    >>> grid = as_of_grid(date(2017, 1, 1), end_day=date(2018, 1, 1), horizon_days=90, history_days=30)
    >>> split = time_split(grid, spec=SplitSpec(horizon_days=90))
    >>> [(len(fold.train), len(fold.early_stop), str(fold.test)) for fold in split.folds]
    [(3, 0, '2017-07-05'), (3, 1, '2017-10-03')]
    """
    days = tuple(sorted(set(as_ofs)))
    if not days:
        raise BadInput("evaluate.time_split got no as-of dates. Make some: as_of_grid(first_day, end_day=..., ...)")
    tests = [days[-1]]
    while len(tests) < spec.folds and (known := _known(days, at=tests[0], horizon_days=spec.horizon_days)):
        tests.insert(0, known[-1])
    if len(tests) < spec.folds or not _known(days, at=tests[0], horizon_days=spec.horizon_days):
        raise _too_short(days, spec)
    folds = tuple(_fold(days, test, spec) for test in tests)
    return Split(horizon_days=spec.horizon_days, as_ofs=days, folds=folds)


def split_fingerprint(table: pl.DataFrame, *, split: Split, keys: Sequence[str] = ("user_id", "as_of")) -> str:
    """Sixteen digits for exactly these rows, cut exactly so: figures that differ in them are never compared.

    Only the keys are read. The order of rows does not matter; repeated keys count as often as they occur.
    """
    need_columns(table, keys, where="evaluate.split_fingerprint")
    need_rows(table, where="evaluate.split_fingerprint", mend="Pass the table that the models are judged on.")
    nulls = [name for name in keys if table[name].null_count()]
    if nulls:
        raise BadInput(f"evaluate.split_fingerprint found nulls in the keys {nulls}. Drop those rows first.")
    texts = [pl.col(name).cast(pl.String) for name in keys]
    # Each text carries its length, so that ("ab", "c") and ("a", "bc") differ.
    parts = [part for text in texts for part in (text.str.len_bytes().cast(pl.String), pl.lit(":"), text)]
    rows = table.select(pl.concat_str(parts).alias("key")).sort("key")["key"]
    return fingerprint(split.to_json(), ",".join(keys), "\n".join(rows))


def _known(days: Sequence[date], *, at: date, horizon_days: int) -> tuple[date, ...]:
    latest = at - timedelta(days=horizon_days)
    return tuple(day for day in days if day <= latest)


def _fold(days: Sequence[date], test: date, spec: SplitSpec) -> Fold:
    known = _known(days, at=test, horizon_days=spec.horizon_days)
    for n_early in range(min(spec.early_stop, len(known) - 1), 0, -1):
        early = known[-n_early:]
        if train := _known(days, at=early[0], horizon_days=spec.horizon_days):
            return Fold(horizon_days=spec.horizon_days, train=train, early_stop=early, test=test)
    return Fold(horizon_days=spec.horizon_days, train=known, test=test)


def _too_short(days: Sequence[date], spec: SplitSpec) -> BadInput:
    span, needed = (days[-1] - days[0]).days, spec.folds * spec.horizon_days
    folds = f"{spec.folds} fold{'s' if spec.folds > 1 else ''}"
    if span >= needed:
        return BadInput(
            f"evaluate.time_split: the {len(days)} as-of dates from {days[0]} to {days[-1]} lie too far apart for "
            f"{folds} of {spec.horizon_days} days. Add dates in between: as_of_grid(..., step_days=...)"
        )
    return BadInput(
        f"evaluate.time_split: {folds} with a horizon of {spec.horizon_days} days need as-of dates that span {needed} "
        f"days and a log of {needed + spec.horizon_days}; these span {span} days ({days[0]} to {days[-1]}). "
        "Use a shorter horizon, fewer folds, or a longer log."
    )
