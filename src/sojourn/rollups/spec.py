"""What is counted, per which keys, over which windows: plain settings."""

import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from sojourn.core import BadSpec, Spec
from sojourn.rollups.catalogue import aggregate
from sojourn.rollups.windows import MOST_DAYS, Window, named, past

NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_WINDOWS = 60
# Columns that partials and the queries over them have beside the keys.
RESERVED = ("grain", "start", "as_of", "day", "bands", "element", "item")
MANY_DAYS = 1_000_000


class AggregateSpec(Spec):
    """One aggregate: a function over an expression, for the rows that a filter keeps.

    `expression`, `where` and `by` (the category of `count_by` and `sum_by`) are SQL over one row of the source; rows
    where the expression is NULL are left out. `k` is how many values `top_k` and `last_n` give, `q` which quantile.
    Without windows of its own (`windows_days`, `windows`) an aggregate has the rollup's.

    >>> AggregateSpec(function="sum", expression="amount", where="event = 'pay'").function
    'sum'
    """

    function: str
    expression: str | None = None
    where: str | None = None
    by: str | None = None
    k: int | None = Field(default=None, ge=1, le=1000)
    q: float | None = Field(default=None, ge=0, le=1)
    windows_days: tuple[int, ...] | None = None
    windows: tuple[str, ...] | None = None

    @field_validator("function")
    @classmethod
    def _known(cls, function: str) -> str:
        try:
            aggregate(function)
        except BadSpec as fault:
            raise ValueError(str(fault)) from fault
        return function

    @field_validator("expression", "where", "by")
    @classmethod
    def _said(cls, text: str | None) -> str | None:
        if text is None:
            return None
        if not text.strip():
            raise ValueError("an empty text says nothing; leave the field out")
        # A comment must not swallow the bracket that we put behind the text.
        return f"{text.strip()}\n" if "--" in text else text.strip()

    @field_validator("windows_days")
    @classmethod
    def _positive(cls, days: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if days is None else whole_days(days)

    @field_validator("windows")
    @classmethod
    def _named(cls, windows: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if windows is None else window_names(windows)

    @model_validator(mode="after")
    def _suits(self) -> Self:
        kind = aggregate(self.function)
        if self.expression is None and kind.needs_expression:
            raise ValueError(f"{self.function!r} needs an expression, such as expression = 'amount'")
        if (self.by is None) == kind.needs_by:
            need = "needs a category, such as by = 'channel'" if kind.needs_by else "has no categories; leave out by"
            raise ValueError(f"{self.function!r} {need}")
        if (self.q is None) == kind.needs_q:
            need = "needs a quantile, such as q = 0.5" if kind.needs_q else "has no quantile; leave out q"
            raise ValueError(f"{self.function!r} {need}")
        if self.k is not None and kind.default_k is None:
            raise ValueError(f"{self.function!r} gives one value; leave out k")
        return self


class RollupSpec(Spec):
    """A table of mergeable partials, `rollup_<name>`, and the windows that are read from it.

    Values come out as columns `<aggregate>_<N>d`: the aggregate over business days [as_of - N, as_of), for each N in
    `windows_days`; and as `<aggregate>_<window>` for each of `windows`: `week_to_date`, `month_to_date`, `last_week`,
    `last_month`, `last_quarter`, `all` (all history), `24h` (the last N hours), `first_7d` (a key's first N days).

    >>> spend = AggregateSpec(function="sum", expression="amount")
    >>> RollupSpec(aggregates={"spend": spend}, windows_days=(7, 30)).columns()
    ['spend_7d', 'spend_30d']
    """

    name: str = "user"
    source: str = "events"
    keys: tuple[str, ...] = Field(default=("user_id",), min_length=1)
    aggregates: dict[str, AggregateSpec] = Field(min_length=1)
    windows_days: tuple[int, ...] = (1, 7, 14, 30, 60, 90)
    windows: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if "__" in name:
            raise ValueError(f"{name!r} has two underscores in a row, which part a table from its parts; use one")
        return plain_name(name)

    @field_validator("aggregates")
    @classmethod
    def _plain_names(cls, aggregates: dict[str, AggregateSpec]) -> dict[str, AggregateSpec]:
        for name in aggregates:
            plain_name(name)
            if "__" in name:
                raise ValueError(f"{name!r} has two underscores in a row, which part a name from its state; use one")
        return aggregates

    @field_validator("windows_days")
    @classmethod
    def _positive(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        return whole_days(days) if days else ()

    @field_validator("windows")
    @classmethod
    def _named(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        return window_names(windows)

    @model_validator(mode="after")
    def _no_clash(self) -> Self:
        self._check_windows()
        taken = [name.lower() for name in (*self.keys, *RESERVED, *self.columns())]
        clash = sorted({name for name in taken if taken.count(name) > 1})
        if clash:
            raise ValueError(f"column {clash[0]!r} would come out twice; rename a key or an aggregate")
        self._check_keys()
        return self

    def _check_keys(self) -> None:
        # Columns of states and of the steps from them to values: `spend__sum`, `n_7d`, `_value`.
        windows = {window.name for each in self.reading().values() for window in each}
        for key in self.keys:
            if key.startswith("_") or "__" in key or key.lower().endswith(tuple(f"_{name}" for name in windows)):
                raise ValueError(f"key {key!r} looks like a column of the rollup's own; rename it in the source")

    def _check_windows(self) -> None:
        for name, each in self.aggregates.items():
            if not self.reading()[name]:
                raise ValueError("no window is given; name at least one, such as windows_days = [30]")
            most = aggregate(each.function).longest_days
            long = [window.name for window in self.reading()[name] if most is not None and _days(window) > most]
            if long:
                raise ValueError(
                    f"{name!r}: {each.function!r} holds at most {most} days, and {long[0]!r} may have more; "
                    f"give it shorter windows, such as windows_days = [{most}]"
                )
        windows = {window for each in self.reading().values() for window in each}
        if len(windows) > MAX_WINDOWS:
            raise ValueError(f"{len(windows)} different windows; at most {MAX_WINDOWS} fit one rollup")

    @property
    def table(self) -> str:
        """The table of partials."""
        return f"rollup_{self.name}"

    @property
    def windows_table(self) -> str:
        """The table of windows as of each day."""
        return f"windows_{self.name}"

    @property
    def rests_table(self) -> str:
        """The table of what keys did in the rest of a month, where windows slide."""
        return f"rests_{self.name}"

    def table_of(self, aggregate: str) -> str:
        """The table of partials of an aggregate that keeps a row per key and element."""
        return f"{self.table}__{aggregate}"

    def reading(self, *, week_start: str = "monday") -> dict[str, list[Window]]:
        """The windows that each aggregate is read over."""
        return {
            name: [*map(past, self.windows_of(name)), *(named(each, week_start=week_start) for each in self._own(name))]
            for name in self.aggregates
        }

    def windows_at(self, week_start: str) -> list[Window]:
        """Every window that any aggregate is read over, once."""
        reading = self.reading(week_start=week_start)
        return list(dict.fromkeys(window for windows in reading.values() for window in windows))

    def windows_of(self, name: str) -> tuple[int, ...]:
        """The spans in days over which this aggregate is read."""
        each = self.aggregates[name]
        if each.windows_days is None and each.windows is None:
            return self.windows_days
        return each.windows_days or ()

    def columns(self) -> list[str]:
        """The columns that windows add to the keys."""
        return [f"{name}_{window.name}" for name, windows in self.reading().items() for window in windows]

    def _own(self, name: str) -> tuple[str, ...]:
        each = self.aggregates[name]
        if each.windows_days is None and each.windows is None:
            return self.windows
        return each.windows or ()


def user_rollup(active: str | None = None) -> RollupSpec:
    """What is worth counting of any user, over 1 to 90 days: what they did, on how many days, what they paid.

    A purchase is a row with a positive `amount`, a refund one with a negative `amount`. `active` is a SQL condition for
    rows that the user did (None: every row), so that messages sent to users do not count as their activity.

    >>> user_rollup(active="event <> 'push'").aggregates["events"].where
    "event <> 'push'"
    """
    paid, back = "amount > 0", "amount < 0"
    long = (30, 60, 90)
    return RollupSpec(
        aggregates={
            "events": AggregateSpec(function="count", where=active),
            "active_days": AggregateSpec(function="active_days", where=active),
            "last_event": AggregateSpec(function="last", expression="event", where=active, windows_days=(90,)),
            "spend": AggregateSpec(function="sum", expression="amount"),
            "purchases": AggregateSpec(function="count", where=paid),
            "purchase_days": AggregateSpec(function="active_days", where=paid),
            "mean_purchase": AggregateSpec(function="mean", expression="amount", where=paid, windows_days=long),
            "largest_purchase": AggregateSpec(function="max", expression="amount", where=paid, windows_days=long),
            "last_purchase": AggregateSpec(function="last", expression="amount", where=paid, windows_days=(90,)),
            "refunds": AggregateSpec(function="count", where=back, windows_days=(30, 90)),
        }
    )


def plain_name(name: str) -> str:
    """The name, if it needs no quoting in any engine; `ValueError` otherwise."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain name; use small letters, digits and _, and begin with a letter")
    return name


def whole_days(days: tuple[int, ...]) -> tuple[int, ...]:
    """The spans sorted, if all are positive and different; `ValueError` otherwise."""
    if not days:
        raise ValueError("no window is given; name at least one, such as [30]")
    if min(days) <= 0:
        raise ValueError(f"a window of {min(days)} days covers nothing; a span is at least 1 day")
    if max(days) > MOST_DAYS:
        raise ValueError(f"a window of {max(days)} days is longer than any log; the most is {MOST_DAYS}")
    if len(set(days)) < len(days):
        raise ValueError("a window is named twice")
    return tuple(sorted(days))


def rollups_from(settings: Mapping[str, Any]) -> list[RollupSpec]:
    """The rollups that the tables `[rollups.<name>]` of `sojourn.toml` declare; `user_rollup()` when there is none."""
    tables = settings.get("rollups", {})
    unnamed = [name for name, table in tables.items() if not isinstance(table, Mapping)]
    if unnamed:
        raise BadSpec(f"[rollups] has {unnamed[0]!r}, which is no table. Declare a rollup as [rollups.{unnamed[0]}].")
    return [RollupSpec(**{**table, "name": name}) for name, table in tables.items()] or [user_rollup()]


def window_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if each is a window's and none stands there twice; `ValueError` otherwise."""
    for name in names:
        named(name)
    if len(set(names)) < len(names):
        raise ValueError("a window is named twice")
    return names


def _days(window: Window) -> int:
    return MANY_DAYS if window.start_days is None else window.end_days - window.start_days
