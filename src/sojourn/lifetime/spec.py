"""What is predicted, from how much history, and how the trees may grow: plain settings."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from sojourn.core import Spec
from sojourn.features import SequenceSpec

Days = Annotated[int, Field(ge=1, le=3650)]
ValueModel = Literal[
    "two_stage",
    "median_scaled",
    "two_stage_apart",
    "median_scaled_apart",
    "median",
    "mean",
    "tweedie",
    "sequence",
    "pareto_nbd",
    "mbgnbd",
    "bgnbd",
    "pace",
    "repeat",
    "always_mean",
    "zero",
    "stack",
]
ChurnModel = Literal["churn_trees", "recency", "base_rate"]

# The sequence model needs torch and the columns of sequences: it takes part where `LifetimeSpec.sequences` says so.
USUAL: tuple[ValueModel, ...] = tuple(name for name in get_args(ValueModel) if name != "sequence")
OF_NEWCOMERS: tuple[ValueModel, ...] = (
    "two_stage",
    "median_scaled",
    "mean",
    "tweedie",
    "pace",
    "always_mean",
    "zero",
    "stack",
)
ADDITIVE = ("events", "active_days", "spend", "purchases", "purchase_days", "refunds")


class BoostSpec(Spec):
    """How LightGBM learns: many small trees, on several groups of users, each stopped on the users it has not seen.

    `groups` models are trained; each leaves out one group of users and stops when `patience` trees bring nothing on
    that group. Their mean predicts; what each says of its own left-out group is the held-out prediction.
    """

    rounds: int = Field(default=400, ge=1, le=20_000)
    patience: int = Field(default=20, ge=1)
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    leaves: int = Field(default=8, ge=2, le=1024)
    min_leaf_rows: int = Field(default=50, ge=1)
    feature_share: float = Field(default=0.4, gt=0, le=1)
    row_share: float = Field(default=0.7, gt=0, le=1)
    groups: int = Field(default=4, ge=2, le=20)
    seed: int = Field(default=0, ge=0)


class TaskSpec(Spec):
    """What every task shares: how far ahead, which past dates teach, and what the features mean.

    `additive` names the aggregates whose windows are sums over days, so that `<name>_<N>d` divided by the days
    a user was there is a rate; others (means, largest values) are read as they are.
    """

    horizon_days: Days = 90
    train_as_ofs: int = Field(default=6, ge=1)
    folds: int = Field(default=3, ge=2)
    additive: tuple[str, ...] = ADDITIVE
    boost: BoostSpec = BoostSpec()


class ValueSpec(TaskSpec):
    """What a user spends in the next `horizon_days`: the label `label_<value>_<horizon_days>d`.

    `little_share`: a user contributes little or nothing who spends at most this share of the median spender's spend.
    `age_days`: of newcomers, seen when their first so many days are over; the horizon then counts from their first day.

    Where money flows back, the value is net: `label_<value>_gross_<N>d` less `label_<value>_refunded_<N>d`, both
    never negative. Models that take the two apart read these labels and the windows of the same names.

    >>> ValueSpec(horizon_days=30).name, ValueSpec(horizon_days=90, age_days=7).name
    ('ltv_30', 'ltv_90_day_7')
    """

    value: str = "spend"
    age_days: Days | None = None
    little_share: float = Field(default=0.1, ge=0, lt=1)
    models: tuple[ValueModel, ...] = Field(default=USUAL, min_length=1)

    @property
    def name(self) -> str:
        """The task's name, and the column of its predictions."""
        return f"ltv_{self.horizon_days}" + (f"_day_{self.age_days}" if self.age_days else "")

    @property
    def label(self) -> str:
        """The column of what was spent."""
        return f"label_{self.value}_{self.horizon_days}d"

    @property
    def gross(self) -> "ValueSpec":
        """The same task for what is paid, before anything flows back."""
        return self._of(gross_of(self.value))

    @property
    def refunded(self) -> "ValueSpec":
        """The same task for what flows back."""
        return self._of(refunded_of(self.value))

    def _of(self, value: str) -> "ValueSpec":
        shared = {name: getattr(self, name) for name in ValueSpec.model_fields}
        return ValueSpec(**{**shared, "value": value, "additive": tuple(dict.fromkeys((*self.additive, value)))})


def gross_of(value: str) -> str:
    """The aggregate of what is paid: the positive amounts of a value.

    >>> gross_of("spend")
    'spend_gross'
    """
    return f"{value}_gross"


def refunded_of(value: str) -> str:
    """The aggregate of what flows back: the negative amounts of a value, their sign turned."""
    return f"{value}_refunded"


class ChurnSpec(TaskSpec):
    """The probability that a user does nothing of `activity` in the next `horizon_days`: `label_<activity>_<N>d` = 0.

    >>> ChurnSpec().name, ChurnSpec().label
    ('churn_30', 'label_purchases_30d')
    """

    horizon_days: Days = 30
    activity: str = "purchases"
    models: tuple[ChurnModel, ...] = Field(default=get_args(ChurnModel), min_length=1)

    @property
    def name(self) -> str:
        """The task's name, and the column of its probabilities."""
        return f"churn_{self.horizon_days}"

    @property
    def label(self) -> str:
        """The column of how often the user was active."""
        return f"label_{self.activity}_{self.horizon_days}d"


class NetworkSpec(Spec):
    """How large a network over sequences is, and how long and how fast it learns.

    `events` is how many of a row's events are read, `width` how wide every layer is, `dropout` the share of them left
    out at random while learning. Learning stops after `epochs`, or when `patience` of them brought nothing.

    >>> NetworkSpec(width=16).events
    48
    """

    events: int = Field(default=48, ge=1)
    width: int = Field(default=32, ge=4, le=1024)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    epochs: int = Field(default=12, ge=1)
    patience: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=4e-3, gt=0)


class LifetimeSpec(Spec):
    """All that `sojourn ltv` needs to know; the section `[lifetime]` of `sojourn.toml`.

    - As-of dates lie `step_days` apart, counted back from the end of the data, and none has fewer than `history_days`
      of log before it.
    - `models` names the model of a task, such as `{"ltv_90": "two_stage"}`; a task not named gets the one that earlier
      folds pick.
    - `sequences`: when given, tables carry each user's last events and days, and the value tasks have the model
      `sequence` too, which needs the extra `torch`. In the settings: the section `[lifetime.sequences]`.
    - `margin`: with `value = "margin"`, what of an amount is worth having: a share (0.3), or SQL over one row of the
      log (`"amount - cost"`).
    - `currency`: the one that amounts are counted in; `rates`: what one unit of each other is worth in it. Those that
      are not named come from the warehouse's table `rates`, day by day.
    - `refunds`: where amounts are negative, what is paid and what flows back are forecast `apart` and compared with
      forecasts of the difference; with `net` the difference alone is forecast.
    - `long_horizons`: a horizon that history is too short to choose a model for, and that has none named, is
      extrapolated from the longest that can be learned (`Extrapolation`), and marked; with `refuse`, refused.
    - `level` is the share of users whose spend lies inside their interval; `replicates` how often users are resampled
      for the intervals of figures; `unit` goes before amounts in reports ("$").

    >>> [task.name for task in LifetimeSpec().tasks()]
    ['ltv_30', 'ltv_90', 'churn_30']
    """

    horizons_days: tuple[Days, ...] = Field(default=(30, 90), min_length=1)
    churn_days: Days = 30
    value: str = "spend"
    activity: str = "purchases"
    step_days: int = Field(default=10, ge=1)
    history_days: int = Field(default=30, ge=1)
    train_as_ofs: int = Field(default=6, ge=1)
    folds: int = Field(default=3, ge=2)
    level: float = Field(default=0.8, gt=0, lt=1)
    replicates: int = Field(default=500, ge=10)
    unit: str = ""
    models: dict[str, str] = Field(default_factory=dict)
    additive: tuple[str, ...] = ADDITIVE
    little_share: float = Field(default=0.1, ge=0, lt=1)
    boost: BoostSpec = BoostSpec()
    sequences: SequenceSpec | None = None
    margin: float | str | None = None
    currency: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]+$")
    rates: dict[str, Annotated[float, Field(gt=0, lt=1_000_000)]] = Field(default_factory=dict)
    refunds: Literal["apart", "net"] = "apart"
    long_horizons: Literal["extrapolate", "refuse"] = "extrapolate"

    @model_validator(mode="after")
    def _each_horizon_once(self) -> Self:
        if len(set(self.horizons_days)) < len(self.horizons_days):
            raise ValueError(f"a horizon is named twice in {list(self.horizons_days)}")
        return self

    @model_validator(mode="after")
    def _named_models_exist(self) -> Self:
        known = {task.name: task.models for task in self.tasks()}
        for task, model in self.models.items():
            if task not in known:
                raise ValueError(f"models names the task {task!r}; the tasks are {list(known)}")
            if model not in known[task]:
                raise ValueError(f"models names {model!r} for {task}; it may be one of {list(known[task])}")
        return self

    @model_validator(mode="after")
    def _money_is_whole(self) -> "LifetimeSpec":
        if self.margin is not None and self.value != "margin":
            raise ValueError(f"margin = {self.margin!r} is declared and value is {self.value!r}; set value = 'margin'")
        if isinstance(self.margin, float) and not 0 < self.margin <= 1:
            raise ValueError(f"margin = {self.margin!r} is no share of an amount; it is above 0 and at most 1")
        if self.rates and self.currency is None:
            raise ValueError(f"rates of {sorted(self.rates)} are given and no currency; add currency = 'EUR'")
        if self.rates.get(self.currency or "", 1.0) != 1:
            raise ValueError(f"rates has {self.currency}, the currency itself, at another rate than 1; leave it out")
        return self

    def value_tasks(self) -> tuple[ValueSpec, ...]:
        """One task per horizon, shortest first."""
        models = USUAL if self.sequences is None else get_args(ValueModel)
        chosen = {"value": self.value, "little_share": self.little_share, "models": models}
        return tuple(ValueSpec(horizon_days=days, **chosen, **self._shared()) for days in sorted(self.horizons_days))

    def churn_task(self) -> ChurnSpec:
        """The churn task."""
        return ChurnSpec(horizon_days=self.churn_days, activity=self.activity, **self._shared())

    def tasks(self) -> tuple[ValueSpec | ChurnSpec, ...]:
        """All tasks, value first."""
        return (*self.value_tasks(), self.churn_task())

    def _shared(self) -> dict[str, object]:
        sums = tuple(dict.fromkeys((*self.additive, self.value, gross_of(self.value), refunded_of(self.value))))
        return {"additive": sums, **{name: getattr(self, name) for name in ("train_as_ofs", "folds", "boost")}}


class NewcomerSpec(Spec):
    """When newcomers are looked at and how far ahead; the section `[newcomers]` of `sojourn.toml`.

    Users are seen once at each of `ages_days`, by what they did in their first so many days, and their spend by
    `by_days` is predicted, what they have spent already included. `step_days` of newcomers make a cohort; the models
    learn from the latest `train_as_ofs` cohorts whose outcome was known. The rest is as in `LifetimeSpec`.

    >>> [task.name for task in NewcomerSpec().tasks()]
    ['ltv_90_day_7', 'ltv_90_day_3', 'ltv_90_day_1']
    """

    ages_days: tuple[Days, ...] = Field(default=(1, 3, 7), min_length=1)
    by_days: Days = 90
    step_days: int = Field(default=14, ge=1)
    train_as_ofs: int = Field(default=13, ge=1)
    folds: int = Field(default=3, ge=2)
    value: str = "spend"
    models: tuple[ValueModel, ...] = Field(default=OF_NEWCOMERS, min_length=1)
    level: float = Field(default=0.8, gt=0, lt=1)
    replicates: int = Field(default=500, ge=10)
    unit: str = ""
    additive: tuple[str, ...] = ADDITIVE
    boost: BoostSpec = BoostSpec()

    @model_validator(mode="after")
    def _ages_come_before(self) -> Self:
        if len(set(self.ages_days)) < len(self.ages_days):
            raise ValueError(f"an age is named twice in {list(self.ages_days)}")
        if max(self.ages_days) >= self.by_days:
            raise ValueError(f"an age of {max(self.ages_days)} days is not before day {self.by_days}")
        return self

    def tasks(self) -> tuple[ValueSpec, ...]:
        """One task an age, the oldest first."""
        shared = {
            name: getattr(self, name) for name in ("train_as_ofs", "folds", "value", "models", "additive", "boost")
        }
        ages = sorted(self.ages_days, reverse=True)
        return tuple(ValueSpec(horizon_days=self.by_days, age_days=age, **shared) for age in ages)
