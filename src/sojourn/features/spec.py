"""Which features a user gets and what is to be predicted: plain settings."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from sojourn.core import BadSpec, Spec
from sojourn.rollups import RollupSpec, rollups_from, user_rollup

ADDITIVE = frozenset({"count", "sum", "active_days"})
TEST_ACCOUNTS = "is_test"


class LabelSpec(Spec):
    """What happens to a user from `as_of` on: aggregates of the rollup over business days [as_of, as_of + N).

    Labels come out as `label_<aggregate>_<N>d`.

    >>> LabelSpec(aggregates=("spend",), horizons_days=(30,)).columns()
    ['label_spend_30d']
    """

    aggregates: tuple[str, ...] = Field(default=("spend", "purchases"), min_length=1)
    horizons_days: tuple[int, ...] = Field(default=(30, 90), min_length=1)

    @field_validator("horizons_days")
    @classmethod
    def _positive(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        if min(days) <= 0:
            raise ValueError(f"a horizon of {min(days)} days holds nothing; it is at least 1 day")
        if len(set(days)) < len(days):
            raise ValueError("a horizon is named twice")
        return tuple(sorted(days))

    def columns(self) -> list[str]:
        """The label columns, in order."""
        return [f"label_{name}_{days}d" for name in self.aggregates for days in self.horizons_days]


class FeatureSpec(Spec):
    """The features of a user as seen from a day, and the labels of a training set.

    - `rollup`: what is counted, over which windows; its key is `user_id`.
    - `portrait`: the columns of table `users` to take (None: all of them).
    - `test_accounts`: the column of table `users` that is true for users to leave out (None: leave out nobody).
    - `history_days`: with less history than this before `as_of` nothing is computed. A window that reaches back before
      the first day of history holds what there is; `tenure_days` tells a model so.
    - `known_after_hours`: how many hours after a day's start the job that looks from it runs. Features then are of what
      had arrived by that time, as it stood then. None: of all that lies before the day as known now.
    """

    rollup: RollupSpec = user_rollup()
    labels: LabelSpec = LabelSpec()
    portrait: tuple[str, ...] | None = None
    test_accounts: str | None = TEST_ACCOUNTS
    history_days: int = Field(default=30, ge=1)
    known_after_hours: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rollup.keys != ("user_id",):
            raise ValueError(f"features are of users; the rollup's keys are {list(self.rollup.keys)}, not ['user_id']")
        for name in self.labels.aggregates:
            if name not in self.rollup.aggregates:
                near = get_close_matches(name, self.rollup.aggregates, n=2, cutoff=0.4) or self.rollup.aggregates
                raise ValueError(
                    f"label {name!r} is no aggregate of rollup {self.rollup.name!r}; "
                    f"use {' or '.join(repr(each) for each in near)}"
                )
        return self

    def additive(self) -> list[str]:
        """The aggregates whose values add up over days: counts, sums, active days. Nothing counts as 0."""
        return [name for name, each in self.rollup.aggregates.items() if each.function in ADDITIVE]

    def sums(self) -> list[str]:
        """The aggregates that are sums."""
        return [name for name, each in self.rollup.aggregates.items() if each.function == "sum"]

    def rhythms(self) -> dict[str, str]:
        """Aggregates of active days, with what begins the names of their habits: `purchase_` for `purchase_days`.

        For `active_days`, the plain rhythm of a user, it is nothing.

        >>> FeatureSpec().rhythms()
        {'active_days': '', 'purchase_days': 'purchase_'}
        """
        days = [name for name, each in self.rollup.aggregates.items() if each.function == "active_days"]
        return {name: "" if name == "active_days" else f"{name.removesuffix('_days')}_" for name in days}


def features_from(settings: Mapping[str, Any]) -> FeatureSpec:
    """The spec that table `[features]` of `sojourn.toml` declares; its `rollup` names one of the `[rollups.<name>]`.

    Without a name it is the rollup `user`, as declared or else as `user_rollup` has it.

    >>> features_from({"features": {"history_days": 60}}).history_days
    60
    """
    section = dict(settings.get("features", {}))
    declared = {"user": user_rollup()} | {spec.name: spec for spec in rollups_from(settings)}
    name = section.pop("rollup", "user")
    if not isinstance(name, str) or name not in declared:
        raise BadSpec(f"[features] has rollup = {name!r}; declared are {', '.join(declared)}. Add [rollups.{name}].")
    return FeatureSpec(**{**section, "rollup": declared[name]})
