"""A warehouse's log of pushes goes in; one row per decision with what was known before and what came after goes out."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl
from pydantic import Field, model_validator

from sojourn.core import BadInput, MissingTable, Spec, missing_columns
from sojourn.features import FeatureSpec, LabelSpec, training_set
from sojourn.rollups import AggregateSpec, RollupSpec
from sojourn.rollups.dialect import dialect_of
from sojourn.warehouse import Warehouse

PUSHES = "pushes"
NEEDED = ("user_id", "propensity", "sent", "day")
ACTIVE = "event = 'launch'"


def decision_features(active: str = ACTIVE) -> FeatureSpec:
    """The features that `campaign_table` takes by default: days and numbers of launches, rhythm, portrait."""
    return FeatureSpec(
        rollup=RollupSpec(
            name="decisions",
            aggregates={
                "active_days": AggregateSpec(function="active_days", where=active),
                "launches": AggregateSpec(function="count", where=active),
            },
            windows_days=(1, 3, 7, 14, 28),
        ),
        labels=LabelSpec(aggregates=("active_days",), horizons_days=(7,)),
        history_days=7,
    )


class CampaignSpec(Spec):
    """Which decisions become rows, and what counts as the outcome.

    - Decisions are those of table `pushes` from `first` to `last`, every `every_days`-th day (None: all whose window
      has ended and that have enough history).
    - The outcome is the number of the business days [day, day + `horizon_days`) on which the user was active, which
      means had an event for which the SQL condition `active` is true. A push acts on the day it is sent.
    - `features` are as of the day, so from strictly before it; `push_days` are the windows over the pushes sent before.

    >>> CampaignSpec(horizon_days=14).outcomes()[:2]
    ['outcome_active_days', 'outcome_lifetime_days']
    """

    horizon_days: int = Field(default=7, ge=1, le=365)
    active: str = Field(default=ACTIVE, min_length=1)
    first: date | None = None
    last: date | None = None
    every_days: int = Field(default=1, ge=1)
    push_days: tuple[int, ...] = (7, 28)
    features: FeatureSpec | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "CampaignSpec":
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ValueError(f"the last day {self.last} lies before the first day {self.first}")
        return self

    def outcomes(self) -> list[str]:
        """The outcome columns of a campaign table."""
        days = [f"outcome_active_{day}" for day in range(self.horizon_days)]
        return ["outcome_active_days", "outcome_lifetime_days", *days]

    def asked(self) -> FeatureSpec:
        """The features to take, with the label that makes them look far enough ahead."""
        features = self.features or decision_features(self.active)
        wanted = next(iter(features.additive()), next(iter(features.rollup.aggregates)))
        return features.with_changes(labels=LabelSpec(aggregates=(wanted,), horizons_days=(self.horizon_days,)))


def campaign_table(warehouse: Warehouse, *, spec: CampaignSpec | None = None) -> pl.DataFrame:
    """One row per user and push decision, sorted by both: all that the estimators of `effects` read.

    - `user_id`, `as_of`: who, and the business day of the decision.
    - `treatment`: true where the push was sent; `propensity`: the recorded probability that it would be.
    - `outcome_active_days`: active days in [as_of, as_of + N); `outcome_active_<k>`: 1 when active on day as_of + k;
      `outcome_lifetime_days`: days until the last active one, so 1 + its place, 0 when there was none.
    - what was known before: the features as of the day, `pushes_sent_<N>d` and `days_since_push`, and the campaign as
      `push_campaign`.

    Users whom the features leave out (test accounts) are left out. Raises `MissingTable` without `events` or `pushes`,
    `MissingColumn` for pushes without propensity, `BadInput` when no decision's window has ended.
    """
    spec = spec or CampaignSpec()
    _need_pushes(warehouse)
    days = decision_days(warehouse, spec=spec)
    features = training_set(warehouse, spec.asked(), days)
    labels = [name for name in features.columns if name.startswith("label_")]
    table = _decisions(warehouse, spec, days).join(features.drop(labels), on=["user_id", "as_of"])
    if table.is_empty():
        raise BadInput(
            f"effects.campaign_table: none of the users decided about from {days[0]} to {days[-1]} has features. "
            "Are the ids in table 'pushes' those of the events?"
        )
    return table.sort("user_id", "as_of")


def decision_days(warehouse: Warehouse, *, spec: CampaignSpec) -> list[date]:
    """The days whose decisions are taken: their outcome windows have ended and history reaches far enough back."""
    if not warehouse.has("events"):
        raise MissingTable("effects needs table 'events'; the warehouse has none. Fill it first: sojourn ingest ...")
    days, found = _days(warehouse, "events"), _days(warehouse, PUSHES)
    begin = max(days[0] + timedelta(days=spec.asked().history_days), spec.first or date.min)
    end = min(days[-1] + timedelta(days=1 - spec.horizon_days), spec.last or date.max)
    free = [day for day in found if begin <= day <= end]
    if not free:
        raise BadInput(
            f"effects: of the {len(found)} days of pushes ({found[0]} to {found[-1]}) none lies from {begin} to {end}, "
            f"with {spec.asked().history_days} days of history before it and its {spec.horizon_days} days after it "
            "ended. Bring a longer log, or use a shorter horizon."
        )
    return [day for day in free if (day - free[0]).days % spec.every_days == 0]


def _need_pushes(warehouse: Warehouse) -> None:
    if not warehouse.has(PUSHES):
        raise MissingTable(
            "effects needs table 'pushes', the log of who was and was not treated; the warehouse has "
            f"{warehouse.tables()}. Write it day by day with columns {', '.join(NEEDED)}, or simulate: sojourn simulate"
        )
    found = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(PUSHES)}")
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise missing_columns("effects: table 'pushes'", missing=missing, found=list(found))


def _days(warehouse: Warehouse, table: str) -> list[date]:
    days = sorted(date.fromisoformat(part.partition["day"]) for part in warehouse.partitions(table))
    if not days:
        raise BadInput(f"effects needs rows in table {table!r}, which has no day yet. Fill it first.")
    return days


def _decisions(warehouse: Warehouse, spec: CampaignSpec, days: Sequence[date]) -> pl.DataFrame:
    """Decisions with outcomes and earlier pushes, by one query."""
    sql, pushes = dialect_of(warehouse.engine), warehouse.relation(PUSHES)
    found = warehouse.engine.columns(f"SELECT * FROM {pushes}")
    campaign = f"CAST(campaign AS {sql.kind('VARCHAR')}) AS push_campaign," if "campaign" in found else ""
    looks = ", ".join(f"DATE '{day}'" for day in days)
    ago = sql.days_between("before.day", "decided.as_of")
    ahead = sql.days_between("decided.as_of", "active.day")
    sent = ", ".join(
        f"count(CASE WHEN {ago} <= {window} THEN 1 END) AS pushes_sent_{window}d" for window in spec.push_days
    )
    daily = ", ".join(
        f"CAST(max(CASE WHEN {ahead} = {day} THEN 1 ELSE 0 END) AS DOUBLE) AS outcome_active_{day}"
        for day in range(spec.horizon_days)
    )
    decided = (
        f"SELECT user_id, CAST(day AS DATE) AS as_of, {campaign} propensity, sent AS treatment "
        f"FROM {pushes} WHERE CAST(day AS DATE) IN ({looks})"
    )
    active = (
        f"SELECT DISTINCT user_id, CAST(day AS DATE) AS day FROM {warehouse.relation('events')} WHERE {spec.active}"
    )
    keys = "decided.user_id, decided.as_of"
    history = (
        f"SELECT {keys}, {sent}{',' if sent else ''} min({ago}) AS days_since_push FROM decided LEFT JOIN before ON "
        f"before.user_id = decided.user_id AND before.day < decided.as_of GROUP BY {keys}"
    )
    outcomes = (
        f"SELECT {keys}, CAST(count(active.day) AS DOUBLE) AS outcome_active_days, "
        f"CAST(coalesce(max({ahead}) + 1, 0) AS DOUBLE) AS outcome_lifetime_days, {daily} FROM decided "
        f"LEFT JOIN active ON active.user_id = decided.user_id AND {ahead} >= 0 AND {ahead} < {spec.horizon_days} "
        f"GROUP BY {keys}"
    )
    return warehouse.engine.frame(
        f"WITH decided AS ({decided}), active AS ({active}), "
        f"before AS (SELECT user_id, CAST(day AS DATE) AS day FROM {pushes} WHERE sent), "
        f"history AS ({history}), outcomes AS ({outcomes}) SELECT * FROM decided "
        "JOIN outcomes USING (user_id, as_of) JOIN history USING (user_id, as_of)"
    )
