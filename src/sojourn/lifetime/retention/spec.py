"""What retention is: which rows count as being active, how far one looks, and how the trees may grow."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from sojourn.core import Spec
from sojourn.features import FeatureSpec, SequenceSpec
from sojourn.lifetime.spec import ADDITIVE, BoostSpec
from sojourn.rollups import RollupSpec, user_rollup

RetentionModel = Literal["daily_trees", "sequence", "process", "cohort", "same_weekday", "recent", "recent_raw"]
# The network needs torch and the columns of sequences: it takes part where `RetentionSpec.sequences` says so.
USUAL: tuple[RetentionModel, ...] = tuple(name for name in get_args(RetentionModel) if name != "sequence")
TREES = BoostSpec(rounds=600, learning_rate=0.06, leaves=12, min_leaf_rows=100, feature_share=0.4, groups=4)
Days = Annotated[int, Field(ge=1, le=366)]


class ActivitySpec(Spec):
    """What every model of daily activity shares: the days looked back on and ahead to, and how trees grow.

    `history_days` is how many days of activity and pushes before `as_of` are seen one by one, `horizon_days` how many
    days from `as_of` on are predicted. Trees learn each row on `days_per_row` of the days ahead, spread over the
    horizon: neighbouring days teach nearly the same. `additive` is as in `TaskSpec`.

    >>> ActivitySpec(horizon_days=14).name
    'active_14'
    """

    horizon_days: Days = 28
    history_days: int = Field(default=28, ge=14, le=60)
    days_per_row: int = Field(default=7, ge=1)
    additive: tuple[str, ...] = ADDITIVE
    boost: BoostSpec = TREES

    @property
    def name(self) -> str:
        """The task's name."""
        return f"active_{self.horizon_days}"


class RetentionSpec(Spec):
    """All that `sojourn retention` needs to know; the section `[retention]` of `sojourn.toml`.

    - `active` is a SQL condition for the rows of the log that say that a user was active on a day (None: every row),
      such as `event = 'launch'`.
    - As-of dates lie `step_days` apart, counted back from the end of the data; a fold learns from the latest
      `train_as_ofs` that it may know. None has fewer than `history_days` of log before it.
    - `models` are compared: by default all but `sequence`, and that too where `sequences` is given; `model` names the
      model to fit, None: the one that earlier folds pick.
    - `sequences`: when given, tables carry each user's last events and days, which the model `sequence` reads; it needs
      the extra `torch`. In the settings: the section `[retention.sequences]`.
    - `segment` names a column of the portraits by which the report shows how long users stay; `lost_after_days` is the
      silence after which a user counts as lost there.
    - Effects of pushes are learned from the decisions of the last `effect_days`, of every `effect_step_days`-th day,
      where there is a table `pushes`.

    >>> RetentionSpec(active="event = 'launch'").task().horizon_days
    28
    """

    active: str | None = None
    horizon_days: Days = 28
    history_days: int = Field(default=28, ge=14, le=60)
    days_per_row: int = Field(default=7, ge=1)
    step_days: int = Field(default=7, ge=1)
    train_as_ofs: int = Field(default=6, ge=1)
    folds: int = Field(default=3, ge=2)
    models: tuple[RetentionModel, ...] = ()
    model: RetentionModel | None = None
    sequences: SequenceSpec | None = None
    segment: str | None = None
    lost_after_days: int = Field(default=28, ge=1)
    effect_days: int = Field(default=90, ge=1)
    effect_step_days: int = Field(default=1, ge=1)
    replicates: int = Field(default=200, ge=10)
    additive: tuple[str, ...] = ADDITIVE
    boost: BoostSpec = TREES

    @model_validator(mode="after")
    def _named_model_is_compared(self) -> "RetentionSpec":
        if self.model is not None and self.model not in self.compared():
            raise ValueError(f"model {self.model!r} is not among models {list(self.compared())}; add it there")
        if "sequence" in self.compared() and self.sequences is None:
            raise ValueError("model 'sequence' reads sequences and none are asked for; add [retention.sequences]")
        return self

    def compared(self) -> tuple[RetentionModel, ...]:
        """The models to compare, by name."""
        return self.models or (USUAL if self.sequences is None else get_args(RetentionModel))

    def task(self) -> ActivitySpec:
        """What is predicted, as the models see it."""
        names = ActivitySpec.model_fields
        return ActivitySpec(**{name: getattr(self, name) for name in names})

    def features(self, base: FeatureSpec | None = None) -> FeatureSpec:
        """The features to use: `base` (default `FeatureSpec()`), with `active` as its rule of active days."""
        base = base or FeatureSpec()
        return base if self.active is None else base.with_changes(rollup=activity_rollup(self.active))


def activity_rollup(active: str) -> RollupSpec:
    """`user_rollup()`, but only rows with this SQL condition make a day an active day.

    Everything else is counted as before: that the last row was an uninstall says much, though nobody was active.

    >>> activity_rollup("event = 'launch'").name
    'activity'
    """
    usual = user_rollup()
    days = usual.aggregates["active_days"].with_changes(where=active)
    return usual.with_changes(name="activity", aggregates={**usual.aggregates, "active_days": days})
