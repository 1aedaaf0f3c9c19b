"""What is counted, per which keys, over which windows: plain settings."""

import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from sojourn.core import BadSpec, Spec
from sojourn.rollups.aggregates import aggregate

NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_WINDOWS = 60


class AggregateSpec(Spec):
    """One aggregate: a function over an expression, for the rows that a filter keeps.

    `expression` and `where` are SQL over one row of the source; rows where the expression is NULL are left out.
    `windows_days` None means the rollup's own windows.

    >>> AggregateSpec(function="sum", expression="amount", where="event = 'pay'").function
    'sum'
    """

    function: str
    expression: str | None = None
    where: str | None = None
    windows_days: tuple[int, ...] | None = None

    @field_validator("function")
    @classmethod
    def _known(cls, function: str) -> str:
        try:
            aggregate(function)
        except BadSpec as fault:
            raise ValueError(str(fault)) from fault
        return function

    @field_validator("expression", "where")
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

    @model_validator(mode="after")
    def _has_expression(self) -> Self:
        if self.expression is None and aggregate(self.function).needs_expression:
            raise ValueError(f"{self.function!r} needs an expression, such as expression = 'amount'")
        return self


class RollupSpec(Spec):
    """A table of mergeable partials, `rollup_<name>`, and the windows that are read from it.

    Values come out as columns `<aggregate>_<N>d`: the aggregate over business days [as_of - N, as_of).

    >>> spend = AggregateSpec(function="sum", expression="amount")
    >>> RollupSpec(aggregates={"spend": spend}, windows_days=(7, 30)).columns()
    ['spend_7d', 'spend_30d']
    """

    name: str = "user"
    source: str = "events"
    keys: tuple[str, ...] = Field(default=("user_id",), min_length=1)
    aggregates: dict[str, AggregateSpec] = Field(min_length=1)
    windows_days: tuple[int, ...] = (1, 7, 14, 30, 60, 90)

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
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
        return whole_days(days)

    @model_validator(mode="after")
    def _no_clash(self) -> Self:
        taken = [*self.keys, "grain", "start", "as_of", *self.columns()]
        clash = sorted({name for name in taken if taken.count(name) > 1})
        if clash:
            raise ValueError(f"column {clash[0]!r} would come out twice; rename a key or an aggregate")
        if len(self.every_window()) > MAX_WINDOWS:
            raise ValueError(f"{len(self.every_window())} different windows; at most {MAX_WINDOWS} fit one rollup")
        return self

    @property
    def table(self) -> str:
        """The table of partials."""
        return f"rollup_{self.name}"

    def windows_of(self, name: str) -> tuple[int, ...]:
        """The spans in days over which this aggregate is read."""
        own = self.aggregates[name].windows_days
        return self.windows_days if own is None else own

    def every_window(self) -> tuple[int, ...]:
        """All spans in days that any aggregate is read over, shortest first."""
        return tuple(sorted({days for name in self.aggregates for days in self.windows_of(name)}))

    def columns(self) -> list[str]:
        """The columns that windows add to the keys."""
        return [f"{name}_{days}d" for name in self.aggregates for days in self.windows_of(name)]


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
