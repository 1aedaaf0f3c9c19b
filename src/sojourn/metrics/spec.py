"""What a board counts, of whom, and how it is parted: plain settings."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from sojourn.core import BadSpec, Spec
from sojourn.rollups.spec import plain_name

TEST_ACCOUNTS = "is_test"
# Of the 62 days that an entity's bitmap remembers, a bracket and the day after it must be some.
REMEMBERED_DAYS = 62
# Columns of metric tables and of what they are made from, which no dimension may be called.
RESERVED = frozenset(
    {"board", "metric", "grain", "start", "cohort", "age", "state", "bracket", "step", "step_name", "value"}
    | {"numerator", "denominator", "mature", "day", "first_day", "last_day", "active", "paid", "size", "new"}
    | {"events", "sessions", "purchases", "gross", "refunds", "revenue", "margin", "paying", "last_at", "left_out"}
    | {"returning", "resurrected", "dormant", "first_paid_day", "element", "item", "bands", "as_of"}
)


class StepSpec(Spec):
    """One step of a funnel: its name, and the SQL condition that a row of the source meets where it is this step."""

    name: str
    where: str

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        return plain_name(name)

    @field_validator("where")
    @classmethod
    def _said(cls, text: str) -> str:
        return sql_text(text)


class FunnelSpec(Spec):
    """Ordered steps, all to be reached within so many hours of the first.

    An entity counts once a period, with its first row of step one in that period. Each further step is its earliest
    row that is not before the step before it, is another row, and lies within `within_hours` of step one.

    >>> buy = FunnelSpec(steps=({"name": "view", "where": "event = 'view'"}, {"name": "pay", "where": "amount > 0"}))
    >>> [step.name for step in buy.steps], buy.within_hours
    (['view', 'pay'], 24)
    """

    steps: tuple[StepSpec, ...] = Field(min_length=2, max_length=20)
    within_hours: int = Field(default=24, ge=1, le=24 * 90)

    @field_validator("steps")
    @classmethod
    def _named_once(cls, steps: tuple[StepSpec, ...]) -> tuple[StepSpec, ...]:
        names = [step.name for step in steps]
        if len(set(names)) < len(names):
            raise ValueError("two steps have the same name; a funnel's steps are told apart by name")
        return steps


class BoardSpec(Spec):
    """One board of metrics: of whom, what counts as activity and as money, and by which dimensions.

    - `source`, `entity`: the event table and the column that says whose row it is: users, or drivers, or riders.
    - `active`: SQL condition for rows that make an entity active (None: every row).
    - `exclude`: SQL condition for rows that count nowhere (bots); `test_accounts`: the column of `portraits` that marks
      entities to leave out, `is_test` where there is such a column (false: leave nobody out). Both are counted, in the
      metric `excluded_events`.
    - `portrait_dims`: columns of the table `portraits`, read as they were at the end of the day an entity was first
      active; `event_dims`: name → SQL over one row, the first non-null value of that day. Either is fixed then, so that
      distinct entities add up over dimensions. What is not known is 'unknown'.
    - `amount`: money per row (negative: a refund; None: the source has no money). `margin`: SQL for margin per row, or
      else `margin_share` of the amount.
    - `session_gap_minutes`: a session ends after so long without an active row (None: no sessions).
    - `brackets`: first and last age in days of bracket retention; `unbounded_ages`: ages of unbounded retention, whose
      cells are mature once `unbounded_wait_days` more days have passed.
    - `metrics`: which of the catalogue to publish (None: all that the source can serve); `keep_states`: how many days'
      states to keep.

    >>> BoardSpec(event_dims={"city": "city"}, portrait_dims=("channel",)).dims
    ('channel', 'city')
    """

    name: str = "users"
    source: str = "events"
    entity: str = "user_id"
    active: str | None = None
    exclude: str | None = None
    portraits: str = "users"
    test_accounts: str | None = TEST_ACCOUNTS
    portrait_dims: tuple[str, ...] = ()
    event_dims: dict[str, str] = Field(default_factory=dict)
    amount: str | None = "amount"
    margin: str | None = None
    margin_share: float | None = Field(default=None, gt=0, le=1)
    session_gap_minutes: int | None = Field(default=30, ge=1, le=24 * 60)
    brackets: tuple[tuple[int, int], ...] = ((1, 7), (8, 14), (15, 28))
    unbounded_ages: tuple[int, ...] = (1, 3, 7, 14, 28, 60, 90, 180, 365)
    unbounded_wait_days: int = Field(default=28, ge=1, le=365)
    funnels: dict[str, FunnelSpec] = Field(default_factory=dict)
    metrics: tuple[str, ...] | None = None
    keep_states: int = Field(default=2, ge=1, le=30)

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if "__" in name:
            raise ValueError(f"{name!r} has two underscores in a row; use one")
        return plain_name(name)

    @field_validator("test_accounts", mode="before")
    @classmethod
    def _false_is_nobody(cls, said: Any) -> Any:
        return None if said is False else said

    @field_validator("active", "exclude", "amount", "margin")
    @classmethod
    def _said(cls, text: str | None) -> str | None:
        return None if text is None else sql_text(text)

    @field_validator("metrics")
    @classmethod
    def _some(cls, metrics: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if metrics is not None and not metrics:
            raise ValueError("the list names no metric; leave it out for all of them")
        return metrics

    @field_validator("brackets")
    @classmethod
    def _in_memory(cls, brackets: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        wrong = [each for each in brackets if not 1 <= each[0] <= each[1]]
        if wrong:
            raise ValueError(
                f"bracket {list(wrong[0])} is no span of ages; give its first and last day, such as [8, 14]"
            )
        long = [each for each in brackets if each[1] - each[0] >= REMEMBERED_DAYS]
        if long:
            raise ValueError(
                f"bracket {list(long[0])} is longer than {REMEMBERED_DAYS} days, which is all that is kept"
            )
        if len(set(brackets)) < len(brackets):
            raise ValueError("a bracket stands there twice")
        return tuple(sorted(brackets))

    @field_validator("unbounded_ages")
    @classmethod
    def _ages(cls, ages: tuple[int, ...]) -> tuple[int, ...]:
        if any(age < 1 for age in ages) or len(set(ages)) < len(ages):
            raise ValueError("an age is a whole number of days, at least 1, and stands there once")
        return tuple(sorted(ages))

    @field_validator("funnels")
    @classmethod
    def _funnel_names(cls, funnels: dict[str, FunnelSpec]) -> dict[str, FunnelSpec]:
        for name in funnels:
            plain_name(name)
        return funnels

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.dims:
            plain_name(name)
            if name in RESERVED or name == self.entity or name.startswith("_"):
                raise ValueError(f"dimension {name!r} is a column of metric tables; give it another name in event_dims")
        if len(set(self.dims)) < len(self.dims):
            raise ValueError("a dimension is declared twice, of the portrait and of the first event; keep one")
        if self.margin is not None and self.margin_share is not None:
            raise ValueError("margin and margin_share both say what the margin is; keep one")
        if self.amount is None and (self.margin or self.margin_share):
            raise ValueError("there is no margin without an amount; declare amount, or leave the margin out")
        return self

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of all dimensions: those of the portrait, then those of the first event."""
        return (*self.portrait_dims, *self.event_dims)

    @property
    def state_table(self) -> str:
        """The table of entities' states as of each day."""
        return f"metric_state_{self.name}"

    @property
    def cohorts_table(self) -> str:
        """The table of cohorts by day, week and month, of which the metrics are sums."""
        return f"metric_cohorts_{self.name}"

    @property
    def values_table(self) -> str:
        """The table of the values of all metrics that are no cohort's."""
        return f"metric_values_{self.name}"

    @property
    def unbounded_table(self) -> str:
        """The table of unbounded retention, as of the last closed day."""
        return f"metric_unbounded_{self.name}"

    @property
    def funnels_table(self) -> str:
        """The table of funnels."""
        return f"metric_funnels_{self.name}"

    @property
    def margin_sql(self) -> str | None:
        """SQL for the margin of one row, where there is one."""
        if self.margin is None and self.margin_share is not None:
            share = Decimal(str(self.margin_share)).quantize(Decimal("0.0001"))
            return f"CAST({self.amount} AS DECIMAL(18,4)) * CAST('{share}' AS DECIMAL(9,4))"
        return self.margin


class MetricsSpec(Spec):
    """What `[metrics]` of `sojourn.toml` declares: boards by name. Without any, `default_board` is used.

    >>> MetricsSpec(boards={"drivers": {"entity": "driver_id"}}).boards["drivers"].state_table
    'metric_state_drivers'
    """

    boards: dict[str, BoardSpec] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        boards = values.get("boards") if isinstance(values, Mapping) else None
        if not isinstance(boards, Mapping):
            return values
        named = {
            name: {**board, "name": board.get("name", name)} if isinstance(board, Mapping) else board
            for name, board in boards.items()
        }
        return {**values, "boards": named}

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for name, board in self.boards.items():
            if board.name != name:
                raise ValueError(f"board {name!r} says that its name is {board.name!r}; leave the name out")
        return self


def metrics_from(settings: Mapping[str, Any]) -> MetricsSpec:
    """What the section `[metrics]` of `sojourn.toml` declares."""
    section = settings.get("metrics", {})
    if not isinstance(section, Mapping):
        raise BadSpec("[metrics] is no table. Declare a board as [metrics.boards.users].")
    return MetricsSpec(**section)


def sql_text(text: str) -> str:
    """The text, if it says anything, so that a comment at its end cannot swallow what follows; `ValueError` if not."""
    if not text.strip():
        raise ValueError("an empty text says nothing; leave the field out")
    return f"{text.strip()}\n" if "--" in text else text.strip()
