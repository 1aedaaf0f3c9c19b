"""What was watched comes in; what somebody should know about comes out, as a table with a row per alert."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from sojourn.core import UnreadableSource, fingerprint
from sojourn.operate.checks import Severity
from sojourn.operate.declared import WatchSpec
from sojourn.operate.drift import TABLE as DRIFT
from sojourn.operate.prediction_log import BACKTESTS
from sojourn.operate.registry import Registry
from sojourn.warehouse import Warehouse

TABLE = "alerts"
NAMED = 3
ERRORS = ("mae", "brier")
SCHEMA = {
    "source": pl.String,
    "name": pl.String,
    "severity": pl.String,
    "told": pl.String,
    "figure": pl.Float64,
    "limit": pl.Float64,
}


@dataclass(frozen=True)
class Alert:
    """Something to know about: `source` is check, step, drift, calibration, error or age; `figure` is over `limit`."""

    source: str
    name: str
    severity: Severity
    told: str
    figure: float | None = None
    limit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The alert as plain values."""
        return dict(vars(self))


def watch_alerts(
    warehouse: Warehouse, registry: Registry, version: str, *, as_of: date, watch: WatchSpec
) -> list[Alert]:
    """The alerts about the predictions of one kind of model, as seen on a day: drift, calibration, error, age."""
    found = [
        *_of_drift(warehouse, registry, as_of, watch),
        *_of_backtests(warehouse, registry, as_of, watch),
        *_of_age(registry, version, as_of, watch),
    ]
    return sorted(found, key=lambda each: (each.source, each.name))


def write_alerts(warehouse: Warehouse, alerts: Sequence[Alert], *, day: date) -> None:
    """Have the day's alerts be these: partition `day` of table `alerts`, without rows where there is none."""
    rows = pl.DataFrame([each.as_dict() for each in alerts], schema=SCHEMA)
    wanted = fingerprint("alerts", str(day), *map(str, rows.rows()))
    place = {"day": str(day)}
    with warehouse.writing(TABLE) as writer:
        if _mark_of(warehouse, place) != wanted:
            writer.put(place, rows, order_by=["source", "name"], fingerprint=wanted)


def _mark_of(warehouse: Warehouse, place: dict[str, str]) -> str | None:
    """The stored alerts' fingerprint; none where their file is damaged, since they are written whole in any case."""
    try:
        return warehouse.fingerprint_of(TABLE, place)
    except UnreadableSource:
        return None


def _of_drift(warehouse: Warehouse, registry: Registry, as_of: date, watch: WatchSpec) -> Iterator[Alert]:
    place = {"model": registry.kind, "as_of": str(as_of)}
    if watch.max_psi is None or warehouse.partition(DRIFT, place) is None:
        return
    looked = warehouse.frame(DRIFT, only=[place]).filter(~pl.col("feature").is_in(watch.ignore))
    over = looked.filter(pl.col("psi") > watch.max_psi).sort("psi", "feature", descending=[True, False])
    if over.height:
        named = ", ".join(f"{name} {psi:.2f}" for name, psi in over.select("feature", "psi").head(NAMED).rows())
        told = (
            f"of {looked.height} features of model {registry.kind!r}, {over.height} stand elsewhere than when it was "
            f"fitted (PSI above {watch.max_psi:g}): {named}. See table drift, or fit a candidate: "
            f"sojourn model fit {registry.kind}"
        )
        yield Alert("drift", registry.kind, watch.severity, told, over["psi"][0], watch.max_psi)


def _of_backtests(warehouse: Warehouse, registry: Registry, as_of: date, watch: WatchSpec) -> Iterator[Alert]:
    only = [place for place in warehouse.places(BACKTESTS) if place["model"] == registry.kind]
    if not only:
        return
    known = pl.col("as_of") + pl.duration(days=pl.col("days")) <= as_of
    judged = warehouse.frame(BACKTESTS, only=only).filter(known).sort("as_of", "made", "task", "metric")
    for task in judged["task"].unique(maintain_order=True).sort():
        of_task = judged.filter(pl.col("task") == task)
        latest = of_task.filter(pl.col("as_of") == of_task["as_of"].max())
        latest = latest.filter(pl.col("made") == latest["made"].max())
        first = of_task.filter(pl.col("version") == latest["version"][0])
        first = first.filter(pl.col("as_of") == first["as_of"].min())
        yield from _of_bias(latest, task, watch)
        if first["as_of"][0] < latest["as_of"][0]:
            yield from _of_error(first, latest, task, watch)


def _of_bias(latest: pl.DataFrame, task: str, watch: WatchSpec) -> Iterator[Alert]:
    bias, low, high = _figure(latest, "bias")
    sure = low is not None and high is not None and (low > 0 or high < 0)
    if watch.max_bias is not None and bias is not None and abs(bias) > watch.max_bias and sure:
        told = (
            f"predictions of {task} as of {latest['as_of'][0]} were {bias:+.0%} off what came, "
            f"[{low:+.0%}, {high:+.0%}], all users together; at most {watch.max_bias:.0%} is allowed: table backtests"
        )
        yield Alert("calibration", task, watch.severity, told, bias, watch.max_bias)


def _of_error(first: pl.DataFrame, latest: pl.DataFrame, task: str, watch: WatchSpec) -> Iterator[Alert]:
    metric = next(name for name in ERRORS if name in latest["metric"].to_list())
    (then, _, _), (now, low, _) = _figure(first, metric), _figure(latest, metric)
    if watch.max_worse is None or then is None or now is None or low is None or then <= 0:
        return
    worse = now / then - 1
    if worse > watch.max_worse and low > then:
        told = (
            f"the {metric.upper() if metric == 'mae' else 'Brier score'} of {task} is {now:.4g} as of "
            f"{latest['as_of'][0]}, {worse:.0%} above the {then:.4g} as of {first['as_of'][0]}; at most "
            f"{watch.max_worse:.0%} is allowed. See table backtests"
        )
        yield Alert("error", task, watch.severity, told, worse, watch.max_worse)


def _of_age(registry: Registry, version: str, as_of: date, watch: WatchSpec) -> Iterator[Alert]:
    known = registry.about(version).known_until
    age = (as_of - known).days
    if watch.max_age_days is not None and age > watch.max_age_days:
        told = (
            f"model {registry.kind!r} {version} knows nothing from {known} on, which is {age} days ago; at most "
            f"{watch.max_age_days} are allowed. Fit a candidate: sojourn model fit {registry.kind}"
        )
        yield Alert("age", registry.kind, watch.severity, told, float(age), float(watch.max_age_days))


def _figure(rows: pl.DataFrame, metric: str) -> tuple[float | None, float | None, float | None]:
    found = rows.filter(pl.col("metric") == metric).select("value", "low", "high").rows()
    return found[0] if found else (None, None, None)
