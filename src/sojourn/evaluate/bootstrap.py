"""How sure a figure is: percentile intervals from resampled users, and the same for the difference of two models."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sojourn.core import BadInput, Spec, need_columns, need_rows
from sojourn.evaluate.metrics import METRICS, Floats, Kind, checked, figures, metric_names

# Replicates are computed in batches of so many cells, which stay in the processor's cache: five times faster than
# all at once (2,500 rows x 500 replicates: 0.1 s instead of 0.5 s).
BATCH_CELLS = 100_000


class Task(Spec):
    """What is predicted, and the columns of the predictions table that hold it.

    `truth` is the column of what happened, each of `models` a column of what one model said. `user` names the column
    whose values are resampled together: a user who appears at several as-of dates is one draw, not several.
    """

    name: str = Field(min_length=1)
    kind: Kind
    truth: str
    models: tuple[str, ...] = Field(min_length=1)
    user: str = "user_id"

    @model_validator(mode="after")
    def _columns_differ(self) -> "Task":
        columns = [self.user, self.truth, *self.models]
        if len(set(columns)) < len(columns):
            raise ValueError(f"user, truth and models must be different columns; they are {columns}")
        return self


class BootstrapSpec(Spec):
    """How often to resample, how wide the interval is, and the seed that makes it repeatable."""

    replicates: int = Field(default=500, ge=10, le=100_000)
    level: float = Field(default=0.95, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


class Interval(Spec):
    """A figure with its bootstrap interval. None means not defined (see `sojourn.evaluate.metrics`)."""

    value: float | None
    low: float | None
    high: float | None


class Difference(Interval):
    """First model minus second, its interval, and the share of resamples in which the first is the better one."""

    prob_better: float | None


def bootstrap_metrics(
    table: pl.DataFrame, *, task: Task, bootstrap: BootstrapSpec | None = None
) -> dict[str, dict[str, Interval]]:
    """Every metric of every model with its interval: `{model: {metric: Interval}}`.

    Users are drawn with replacement, all models on the same draws. A resample in which a metric is not defined (no
    positive truth drawn) is left out of its interval; where that is more than half of them, the ends are None.

    Raises `MissingColumn`, `EmptyInput`, and `BadInput` as `value_metrics` and `classification_metrics` do.

    >>> table = pl.DataFrame({"user_id": ["a", "b", "c"], "spend": [0.0, 5.0, 9.0], "ltv": [1.0, 4.0, 9.0]})
    >>> task = Task(name="ltv_90", kind="value", truth="spend", models=("ltv",))
    >>> bootstrap_metrics(table, task=task)["ltv"]["mae"]
    Interval(value=0.6666666666666666, low=0.0, high=1.0)
    """
    return bootstrap_all(table, task=task, bootstrap=bootstrap)[0]


def bootstrap_all(
    table: pl.DataFrame, *, task: Task, against: str | None = None, bootstrap: BootstrapSpec | None = None
) -> tuple[dict[str, dict[str, Interval]], dict[str, dict[str, Difference]]]:
    """`bootstrap_metrics`, and from the same draws `paired_bootstrap` of one model against each other, by the other.

    Without `against` there are no differences. The figures are those of the two functions, for the work of the first.
    Raises what they do.
    """
    bootstrap = bootstrap or BootstrapSpec()
    if against is not None:
        _need_models(task, against)
    runs = _run(table, task, bootstrap)
    intervals = {
        model: {name: _interval(name, run.values[name], run.replicates[name], bootstrap.level) for name in run.values}
        for model, run in runs.items()
    }
    others = [] if against is None else [name for name in task.models if name != against]
    return intervals, {name: _differences(runs[str(against)], runs[name], bootstrap) for name in others}


def paired_bootstrap(
    table: pl.DataFrame, *, task: Task, first: str, second: str, bootstrap: BootstrapSpec | None = None
) -> dict[str, Difference]:
    """First model minus second on the same draws of users, per metric.

    Better is lower for errors, higher for rankings, nearer to zero for the bias; equal resamples count half.

    Raises what `bootstrap_metrics` does, and `BadInput` when `first` or `second` is not one of the task's models.

    >>> table = pl.DataFrame({"user_id": ["a", "b"], "spend": [0.0, 5.0], "ltv": [0.0, 5.0], "zero": [0.0, 0.0]})
    >>> task = Task(name="ltv_90", kind="value", truth="spend", models=("ltv", "zero"))
    >>> paired_bootstrap(table, task=task, first="ltv", second="zero")["mae"].value
    -2.5
    """
    bootstrap = bootstrap or BootstrapSpec()
    _need_models(task, first, second)
    runs = _run(table, task.with_changes(models=tuple(dict.fromkeys((first, second)))), bootstrap)
    return _differences(runs[first], runs[second], bootstrap)


def _need_models(task: Task, *names: str) -> None:
    strangers = [name for name in names if name not in task.models]
    if strangers:
        raise BadInput(f"evaluate.paired_bootstrap: {strangers} are no models of {task.name}: {list(task.models)}.")


def _differences(one: "_Run", two: "_Run", bootstrap: BootstrapSpec) -> dict[str, Difference]:
    return {
        name: Difference(
            value=_plain(one.values[name] - two.values[name]),
            prob_better=_share_better(name, one.replicates[name], two.replicates[name]),
            **_ends(one.replicates[name] - two.replicates[name], bootstrap.level),
        )
        for name in one.values
    }


@dataclass(frozen=True)
class _Run:
    values: dict[str, float]
    replicates: dict[str, Floats]


def _run(table: pl.DataFrame, task: Task, bootstrap: BootstrapSpec) -> dict[str, _Run]:
    rows = _checked_rows(table, task)
    truth = rows[task.truth].cast(pl.Float64).to_numpy()
    judges = {name: figures(truth, rows[name].cast(pl.Float64).to_numpy(), kind=task.kind) for name in task.models}
    parts: dict[str, list[dict[str, Floats]]] = {name: [] for name in task.models}
    with ThreadPoolExecutor(_workers(len(judges))) as pool:
        for weights in _draws(rows[task.user].rle_id().to_numpy().astype(np.intp), bootstrap):
            drawn = partial(_judged, weights=weights)
            for name, figures_ in zip(judges, pool.map(drawn, judges.values()), strict=True):
                parts[name].append(figures_)
    whole = np.ones((1, len(truth)))
    return {
        name: _Run(
            values={metric: float(value[0]) for metric, value in judge(whole).items()},
            replicates={m: np.concatenate([part[m] for part in parts[name]]) for m in metric_names(task.kind)},
        )
        for name, judge in judges.items()
    }


def _workers(jobs: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(jobs, cores))


def _judged(judge: Callable[[Floats], dict[str, Floats]], *, weights: Floats) -> dict[str, Floats]:
    return judge(weights)


def _checked_rows(table: pl.DataFrame, task: Task) -> pl.DataFrame:
    """The task's columns in an order that the table's own order cannot influence."""
    where = f"evaluate, task {task.name!r},"
    columns = [task.user, task.truth, *task.models]
    need_columns(table, columns, where=where)
    need_rows(table, where=where, mend="Is there any user in the test fold?")
    if table[task.user].null_count():
        raise BadInput(f"{where} found {table[task.user].null_count()} rows without {task.user!r}. Drop them first.")
    for model in task.models:
        checked(table[task.truth], table[model], kind=task.kind, where=f"{where} model {model!r},")
    return table.select(columns).sort(columns)


def _draws(cluster: NDArray[np.intp], bootstrap: BootstrapSpec) -> Iterator[Floats]:
    """How often each row is drawn, batch by batch: (replicates in batch, rows)."""
    rng = np.random.default_rng(bootstrap.seed)
    n_clusters = int(cluster[-1]) + 1
    batch = max(1, BATCH_CELLS // len(cluster))
    for start in range(0, bootstrap.replicates, batch):
        size = min(batch, bootstrap.replicates - start)
        drawn = rng.integers(n_clusters, size=(size, n_clusters)) + n_clusters * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n_clusters).reshape(size, n_clusters)
        yield counts[:, cluster].astype(np.float64)


def _interval(name: str, value: float, replicates: Floats, level: float) -> Interval:
    if METRICS[name].recentred and np.isfinite(replicates).any():
        replicates = np.maximum(replicates - (np.nanmean(replicates) - value), 0)
    return Interval(value=_plain(value), **_ends(replicates, level))


def _ends(replicates: Floats, level: float) -> dict[str, float | None]:
    defined = replicates[np.isfinite(replicates)]
    if 2 * len(defined) < len(replicates):
        return {"low": None, "high": None}
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high)}


def _share_better(name: str, first: Floats, second: Floats) -> float | None:
    better = METRICS[name].better
    if better == "zero":
        first, second = np.abs(first), np.abs(second)
    gain = second - first if better in ("low", "zero") else first - second
    gain = gain[np.isfinite(gain)]
    return float(np.mean((gain > 0) + 0.5 * (gain == 0))) if 2 * len(gain) >= len(first) else None


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
