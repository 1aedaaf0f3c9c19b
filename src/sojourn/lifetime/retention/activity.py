"""From a warehouse to what retention is learned from: features of a day, the days before it, and the days after."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl

from sojourn.core import BadInput, MissingTable
from sojourn.features import FeatureSpec, feature_table
from sojourn.lifetime.log_end import log_days
from sojourn.lifetime.retention._days import Span, ahead_list, days_list, spread
from sojourn.lifetime.retention._pushes import PROPENSITY, PUSH_COLUMNS, push_days
from sojourn.lifetime.retention.spec import RetentionSpec
from sojourn.lifetime.tables import with_sequences
from sojourn.rollups import Ledger, refreshed, state_column
from sojourn.warehouse import Warehouse

BEFORE, AHEAD = "active_before", "active_ahead"
RHYTHM = "active_days"
BESIDE = (BEFORE, AHEAD, *PUSH_COLUMNS)


def activity_table(
    warehouse: Warehouse,
    as_ofs: Sequence[date],
    *,
    spec: RetentionSpec,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> pl.DataFrame:
    """One row per user and `as_of`, for users first seen before it: features, activity day by day, and pushes.

    - the features of `feature_table`, from strictly before `as_of`
    - `active_before`: for each of the last `history_days`, yesterday first, 1 where the user was active and 0 where
      not; null before the user was first seen
    - `active_ahead`: the same for `as_of` (first), the day after, ...: `horizon_days` of them. A day that is not known
      yet, on or after `end` (default: the day after the last in the log), is null: censored, never 0
    - `pushed_before`, `pushed_ahead`, `propensity_ahead`: pushes sent, and the recorded probability of sending one on
      each day (null where nothing was decided), with `pushes_7d`, `pushes_28d`, `push_recency_days` and
      `push_propensity_28d` as features. Without a table `pushes` these columns are not there.

    - where the spec has `sequences`: the columns of `features.sequence_table`

    Sorted by `as_of, user_id`. Raises what `feature_table` does, and `BadInput` when the features' rollup counts no
    active days.
    """
    asked = spec.features(features)
    if RHYTHM not in asked.rhythms():
        raise BadInput(
            f"lifetime.activity_table needs an aggregate {RHYTHM!r} of function 'active_days' in rollup "
            f"{asked.rollup.name!r}; it has {list(asked.rollup.aggregates)}. Add it, or leave the rollup as it is."
        )
    found = refreshed(warehouse, asked.rollup)
    known = min(end or found.end, found.end)
    parts = [
        _as_of_part(warehouse, found, asked, Span(day, spec.history_days, spec.horizon_days, known))
        for day in sorted(set(as_ofs))
    ]
    table = pl.concat(parts, how="diagonal_relaxed").sort("as_of", "user_id")
    return with_sequences(warehouse, table, spec=spec.sequences)


def decision_table(
    warehouse: Warehouse, *, spec: RetentionSpec, features: FeatureSpec | None = None, end: date | None = None
) -> pl.DataFrame:
    """The rows of `activity_table` on whose day a push was decided, on the last `effect_days` before `end`.

    Looked at every `effect_step_days`, back from the day before `end` (default: the day after the last in the log).
    `PushEffect` learns from it. Raises `MissingTable` without a table `pushes`, and what `activity_table` does.
    """
    if not warehouse.has("pushes"):
        raise MissingTable(
            "lifetime.decision_table needs the table 'pushes' (user_id, day, propensity, sent): who was sent a push, "
            "and with which probability that was decided. The warehouse has none."
        )
    spec = spec.with_changes(sequences=None, models=(), model=None)  # the effect of pushes is learned by trees alone
    first, last = log_days(warehouse)
    end = min(end or last, last)
    asked = spec.features(features)
    start = max(first + timedelta(days=asked.history_days), end - timedelta(days=spec.effect_days))
    days = [end - timedelta(days=back) for back in range(1, (end - start).days + 1, spec.effect_step_days)]
    if not days:
        raise BadInput(
            f"lifetime.decision_table: the log from {first} to {end} has no day with {asked.history_days} days of "
            "history before it. Bring a longer log."
        )
    decided = pl.col(PROPENSITY).list.first().is_not_null()
    parts = [activity_table(warehouse, [day], spec=spec, features=features, end=end).filter(decided) for day in days]
    return pl.concat(parts, how="diagonal_relaxed").sort("as_of", "user_id")


def _as_of_part(warehouse: Warehouse, found: Ledger, features: FeatureSpec, span: Span) -> pl.DataFrame:
    table = feature_table(warehouse, features, span.as_of)
    active = spread(_active_days(warehouse, found, span), users=table["user_id"], span=span, value=None)
    before = active[:, span.before - 1 :: -1] if span.before else active[:, :0]
    unseen = np.arange(1, span.before + 1) > table["tenure_days"].to_numpy()[:, None]
    table = table.with_columns(
        days_list(before, hidden=unseen, name=BEFORE), ahead_list(active[:, span.before :], span=span, name=AHEAD)
    )
    return table.with_columns(push_days(warehouse, table, span)) if warehouse.has("pushes") else table


def _active_days(warehouse: Warehouse, found: Ledger, span: Span) -> pl.DataFrame:
    """`user_id, day` of every active day in the span, from the day partials of the rollup."""
    first, last = span.as_of - timedelta(days=span.before), span.as_of + timedelta(days=span.ahead)
    cells = [{"grain": "day", "start": str(day)} for day in found.days(first, min(last, span.end))]
    if not cells:
        return pl.DataFrame(schema={"user_id": pl.String, "day": pl.Date})
    relation = warehouse.relation(found.definition.spec.table, only=cells)
    kind = found.definition.sql.kind("VARCHAR")
    return warehouse.engine.frame(
        f"SELECT CAST(user_id AS {kind}) AS user_id, start AS day FROM {relation} "
        f"WHERE user_id IS NOT NULL AND {state_column(RHYTHM, 'days')} IS NOT NULL"
    )
