"""How entities come to be acquired, what that costs and what they bring back: declared, and checked when built."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sojourn.core import BadSpec, Spec

ORGANIC = "organic"
TEST_ACCOUNTS = "is_test"
NO_CAMPAIGN = "(none)"


class TouchRule(Spec):
    """Which rows of table `events` are touches, and what each says of where the entity came from.

    `where` is a SQL condition over one row; `channel` and `campaign` are SQL expressions over it: a column, or a text
    in single quotes. A touch whose channel is NULL says nothing and is passed over.

    >>> TouchRule(name="ads", where="event = 'ad_click'", channel="network").campaign is None
    True
    """

    name: str = Field(min_length=1)
    where: str = Field(min_length=1)
    channel: str = Field(min_length=1)
    campaign: str | None = None


class AttributionSpec(Spec):
    """What starts an acquisition, and which touch it is owed to.

    An entity (`entity`, a column of events: any key) is acquired with its first row that is `active` (a SQL condition;
    by default every row that is no touch), and again, with `reinstall_gap_days`, by an active day that many days or
    more after the active day before it. The channel is that of the `first` or the `last` touch (`model`) since the
    acquisition before, at most `lookback_days` times 24 hours old (None: however old). Without such a touch it is
    `organic`.

    Without `touches` the channel is what table `users` says at the moment of acquisition (`channel_column`,
    `campaign_column`; the first version where none was valid yet). That column has no times, so that a model or a
    lookback contradicts it and is refused. Rows of `test_accounts`, a flag in `users`, are left out and counted (false:
    nobody is left out).

    >>> AttributionSpec(touches=[TouchRule(name="ads", where="event = 'ad'", channel="network")], model="last").organic
    'organic'
    """

    entity: str = "user_id"
    active: str | None = None
    touches: tuple[TouchRule, ...] = ()
    model: Literal["first", "last"] | None = None
    lookback_days: int | None = Field(default=None, ge=0, le=3660)
    reinstall_gap_days: int | None = Field(default=None, ge=1, le=3660)
    organic: str = Field(default=ORGANIC, min_length=1)
    channel_column: str = "channel"
    campaign_column: str | None = None
    test_accounts: str | None = TEST_ACCOUNTS

    @field_validator("test_accounts", mode="before")
    @classmethod
    def _false_is_nobody(cls, said: Any) -> Any:
        return None if said is False else said

    @field_validator("touches")
    @classmethod
    def _distinct(cls, touches: tuple[TouchRule, ...]) -> tuple[TouchRule, ...]:
        seen: dict[str, str] = {}
        for rule in touches:
            if rule.name in seen.values():
                raise ValueError(f"two touch rules are called {rule.name!r}; give each its own name")
            condition = " ".join(rule.where.split()).casefold()
            if condition in seen:
                raise ValueError(
                    f"touch rules {seen[condition]!r} and {rule.name!r} overlap: they have the same condition; drop one"
                )
            seen[condition] = rule.name
        return touches

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.touches and (self.model is not None or self.lookback_days is not None):
            raise ValueError(
                "model and lookback_days choose among touches with times, and table 'users' has none; leave them out, "
                "or declare touches"
            )
        if self.touches and self.model is None:
            raise ValueError("several touches may lead to one acquisition; say which counts: model = 'first' or 'last'")
        if self.touches and self.campaign_column is not None:
            raise ValueError(
                "campaign_column is read from table 'users', touches from events; give each rule a campaign"
            )
        return self


class AcquisitionSpec(Spec):
    """What acquired entities cost and bring, in one `currency`.

    `name` is the board (drivers beside riders), a partition column of every table. `margin` is a SQL expression
    over an event's row for what of it is left (a column, or `amount - fee`); `margin_share` is the share of every
    amount instead. `customer` is the condition for a row that makes an acquired entity a customer, within
    `customer_days` days after its acquisition. `horizon_days` is the age to which cohorts are followed. Costs of
    currencies other than `currency` are turned into it by table `rates`. Channels named in `allow` may have costs and
    no users, or users and no costs; organic may anyway.

    >>> AcquisitionSpec(margin_share=0.7).margin_sql
    'amount * CAST(0.7 AS DECIMAL(9,6))'
    """

    name: str = Field(default="users", pattern=r"^[a-z][a-z0-9_]*$")
    attribution: AttributionSpec = Field(default_factory=AttributionSpec)
    currency: str = "USD"
    margin: str | None = None
    margin_share: float | None = Field(default=None, gt=0, le=1)
    customer: str = "amount > 0"
    customer_days: int = Field(default=30, ge=0, le=3660)
    horizon_days: int = Field(default=180, ge=1, le=3660)
    costs: str = "costs"
    allow: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_margin(self) -> Self:
        if self.margin is not None and self.margin_share is not None:
            raise ValueError("margin and margin_share say the same thing in two ways; give one of them")
        return self

    def place(self, day: date) -> dict[str, str]:
        """The partition of one day in this board's tables."""
        return {"board": self.name, "day": str(day)}

    @property
    def margin_sql(self) -> str:
        """The margin of an event's row as a SQL expression; the amount itself where nothing else is declared."""
        if self.margin is not None:
            return f"({self.margin})"
        return "amount" if self.margin_share is None else f"amount * CAST({self.margin_share} AS DECIMAL(9,6))"


def acquisition_from(settings: Mapping[str, Any]) -> dict[str, AcquisitionSpec]:
    """What section `[acquisition]` declares, by board: `[acquisition.boards.<name>]`; the default board without any.

    >>> acquisition_from({"acquisition": {"boards": {"drivers": {"currency": "EUR"}}}})["drivers"].currency
    'EUR'
    """
    section = settings.get("acquisition", {})
    boards = section.get("boards", {}) if isinstance(section, Mapping) else None
    if not isinstance(boards, Mapping) or set(section) - {"boards"}:
        raise BadSpec("[acquisition] declares boards and nothing else: write [acquisition.boards.users].")
    strange = [name for name, values in boards.items() if not isinstance(values, Mapping)]
    if strange:
        raise BadSpec(
            f"[acquisition.boards] has {strange[0]!r}, which is no table: write [acquisition.boards.{strange[0]}]."
        )
    return {name: AcquisitionSpec(**{"name": name, **values}) for name, values in (boards or {"users": {}}).items()}
