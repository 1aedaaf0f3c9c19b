"""From a warehouse to the tables that `Lifetime` reads: past dates with labels to learn from, one date to score."""

from collections.abc import Collection, Iterable
from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput
from sojourn.evaluate import Fold, as_of_grid
from sojourn.features import FeatureSpec, LabelSpec, SequenceSpec, feature_table, sequence_table, training_set
from sojourn.lifetime._flows import flows_back, with_flow_labels, with_flows
from sojourn.lifetime._thinned import thinned_dates
from sojourn.lifetime.compare import split_of
from sojourn.lifetime.history import short_tasks
from sojourn.lifetime.log_end import known_end, log_days
from sojourn.lifetime.money import valued
from sojourn.lifetime.spec import ChurnSpec, LifetimeSpec, ValueSpec
from sojourn.warehouse import Warehouse

# Features of so many dates are made at once: more would need the memory of them all.
DATES_AT_ONCE = 8


def training_table(
    warehouse: Warehouse, *, spec: LifetimeSpec, features: FeatureSpec | None = None, end: date | None = None
) -> pl.DataFrame:
    """Features and labels at the past dates that `compare` and `Lifetime.fit` need.

    `end` is the first day that is not known (default: as `log_days` has it, told where rows come after it); no label
    window reaches beyond it. A label whose window had not ended is null. `features` defaults to `FeatureSpec()`.

    Raises `BadInput` when the log is shorter than `spec.history_days` plus the shortest horizon (any horizon that has a
    model named, or by `long_horizons = "refuse"`), `MissingTable`.
    """
    first, end = log_days(warehouse)[0], known_end(warehouse, end)
    return _table(warehouse, spec=spec, features=features, end=end, as_ofs=_needed(spec, spec.tasks(), first, end))


def comparison_table(
    warehouse: Warehouse, *, spec: LifetimeSpec, features: FeatureSpec | None = None, end: date | None = None
) -> tuple[pl.DataFrame, dict[str, str]]:
    """What `compare` needs of the tasks that the log is long enough to judge; and why others are left out, by task.

    The table is `training_table`'s at the dates of those tasks' folds; of very many users, the dates that no fold is
    tested on have some (`thinned`). Raises `BadInput` where there is no such task.
    """
    first, end = log_days(warehouse)[0], known_end(warehouse, end)
    short = short_tasks(spec, log_days=(end - first).days)
    long_enough = [task for task in spec.tasks() if task.name not in short]
    if not long_enough:
        told = ". ".join(f"{name}: {why}" for name, why in short.items())
        raise BadInput(f"lifetime.compare: no task can be judged. {told}")
    as_ofs = _needed(spec, long_enough, first, end)
    whole = {fold.test for task in long_enough for fold in _folds_of(as_ofs, task, end)}
    return _table(warehouse, spec=spec, features=features, end=end, as_ofs=as_ofs, whole=whole), short


def _table(
    warehouse: Warehouse,
    *,
    spec: LifetimeSpec,
    features: FeatureSpec | None,
    end: date,
    as_ofs: Iterable[date],
    whole: Collection[date] | None = None,
) -> pl.DataFrame:
    """The table of these dates; where `whole` is given, dates that are not among them are thinned."""
    features = valued(warehouse, features=features, spec=spec)
    labels = [task.label for task in spec.tasks()]
    table = pl.concat(_parts(warehouse, spec, features, end, as_ofs, whole), how="diagonal_relaxed")
    table = table.sort("as_of", "user_id")
    others = [name for name in table.columns if name.startswith("label_") and name not in labels]
    unended = [pl.lit(None, pl.Float64).alias(label) for label in labels if label not in table.columns]
    table = table.drop(others).with_columns(unended)
    if spec.refunds == "apart" and flows_back(warehouse, features=features, value=spec.value, end=end):
        table = with_flows(warehouse, table, features=features, value=spec.value)
        table = with_flow_labels(
            warehouse, table, features=features, value=spec.value, horizons_days=spec.horizons_days, end=end
        )
    return with_sequences(warehouse, table, spec=spec.sequences)


def _parts(
    warehouse: Warehouse,
    spec: LifetimeSpec,
    features: FeatureSpec,
    end: date,
    as_ofs: Iterable[date],
    whole: Collection[date] | None,
) -> list[pl.DataFrame]:
    """The rows of some dates each, with the labels whose windows had ended."""
    wanted: dict[tuple[int, ...], list[date]] = {}
    for as_of in as_ofs:
        complete = tuple(n for n in _horizons(spec) if as_of + timedelta(days=n) <= end)
        wanted.setdefault(complete, []).append(as_of)
    parts = []
    for horizons, dates in wanted.items():
        asked = _with_labels(features, spec, horizons)
        for at in range(0, len(dates), DATES_AT_ONCE):
            part = training_set(warehouse, asked, dates[at : at + DATES_AT_ONCE])
            parts.append(part if whole is None else _thinned(part, whole=whole, dates=spec.train_as_ofs))
    return parts


def _folds_of(as_ofs: Iterable[date], task: ValueSpec | ChurnSpec, end: date) -> tuple[Fold, ...]:
    """The folds that `compare` cuts from a table of these dates."""
    return split_of([day for day in as_ofs if day + timedelta(days=task.horizon_days) <= end], spec=task).folds


def _thinned(part: pl.DataFrame, *, whole: Collection[date], dates: int) -> pl.DataFrame:
    kept, other = (part.filter(each) for each in (pl.col("as_of").is_in(whole), ~pl.col("as_of").is_in(whole)))
    return pl.concat([kept, thinned_dates(other, dates=dates)])


def scoring_table(
    warehouse: Warehouse,
    *,
    features: FeatureSpec | None = None,
    as_of: date | None = None,
    spec: LifetimeSpec | None = None,
    flows: bool = False,
) -> pl.DataFrame:
    """Features of every user as seen from one day (default: as `log_days` has it, told where rows come after it).

    With sequences where `spec` has them, and with what was paid and refunded (`flows`) where a model has learned from
    it: `bool(Lifetime.refunds_)`.
    """
    spec, as_of = spec or LifetimeSpec(), known_end(warehouse, as_of)
    features = valued(warehouse, features=features, spec=spec)
    found = feature_table(warehouse, features, as_of)
    if flows:
        found = with_flows(warehouse, found, features=features, value=spec.value)
    return with_sequences(warehouse, found, spec=spec.sequences)


def with_sequences(warehouse: Warehouse, table: pl.DataFrame, *, spec: SequenceSpec | None) -> pl.DataFrame:
    """The table with the columns of `features.sequence_table` beside it, null for who did nothing; as it is without."""
    if spec is None:
        return table
    found = sequence_table(warehouse, spec, table["as_of"].unique().to_list())
    return table.join(found, on=["user_id", "as_of"], how="left", maintain_order="left")


def _needed(spec: LifetimeSpec, tasks: Iterable[ValueSpec | ChurnSpec], first: date, end: date) -> list[date]:
    """The dates that any fold of these tasks trains or is tested on, and those of the last fit."""
    found: set[date] = set()
    for task in tasks:
        try:
            grid = _grid(spec, task, first, end)
        except BadInput:
            if not _may_be_extrapolated(task, spec):
                raise
            continue
        found |= {*grid[-spec.train_as_ofs :], *_of_folds(grid, task)}
    return sorted(found)


def _grid(spec: LifetimeSpec, task: ValueSpec | ChurnSpec, first: date, end: date) -> tuple[date, ...]:
    return as_of_grid(
        first,
        end_day=end,
        horizon_days=task.horizon_days,
        step_days=spec.step_days,
        history_days=spec.history_days,
    )


def _may_be_extrapolated(task: ValueSpec | ChurnSpec, spec: LifetimeSpec) -> bool:
    longer = isinstance(task, ValueSpec) and task.horizon_days > min(spec.horizons_days)
    return longer and task.name not in spec.models and spec.long_horizons == "extrapolate"


def _of_folds(grid: Iterable[date], task: ValueSpec | ChurnSpec) -> set[date]:
    try:
        folds = split_of(grid, spec=task).folds
    except BadInput:
        return (
            set()
        )  # too short to choose on: `Lifetime.fit` with a named model still works, `compare` will say why not
    return {day for fold in folds for day in (*fold.train[-task.train_as_ofs :], fold.test)}


def _horizons(spec: LifetimeSpec) -> tuple[int, ...]:
    return tuple(sorted({task.horizon_days for task in spec.tasks()}))


def _with_labels(features: FeatureSpec, spec: LifetimeSpec, horizons: tuple[int, ...]) -> FeatureSpec:
    aggregates = tuple(dict.fromkeys((spec.value, spec.activity)))
    return features.with_changes(labels=LabelSpec(aggregates=aggregates, horizons_days=horizons))


def judged_table(
    warehouse: Warehouse,
    *,
    spec: LifetimeSpec,
    as_of: date,
    features: FeatureSpec | None = None,
    flows: bool = False,
) -> pl.DataFrame:
    """Features as of one day, and the labels of every task whose window had ended when the log ends.

    `flows` is `scoring_table`'s.
    """
    end = log_days(warehouse)[1]
    features = valued(warehouse, features=features, spec=spec)
    horizons = tuple(n for n in _horizons(spec) if as_of + timedelta(days=n) <= end)
    if not horizons:
        raise BadInput(
            f"lifetime.judged_table: no label window that begins on {as_of} had ended when the log ends, on {end}. "
            f"The latest day that can be judged is {end - timedelta(days=_horizons(spec)[0])}."
        )
    found = training_set(warehouse, _with_labels(features, spec, horizons), [as_of])
    if flows:
        found = with_flows(warehouse, found, features=features, value=spec.value)
    return with_sequences(warehouse, found, spec=spec.sequences)
