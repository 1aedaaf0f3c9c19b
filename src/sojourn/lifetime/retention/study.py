"""The whole work on a warehouse, one function per verb: compare, fit, predict."""

import json
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path

import polars as pl

from sojourn import __version__
from sojourn.core import BadInput, Estimator, UnreadableSource, fingerprint, progress, say
from sojourn.evaluate import as_of_grid, write_metrics
from sojourn.evaluate.scores import write_whole
from sojourn.features import FeatureSpec
from sojourn.lifetime._store import write_table
from sojourn.lifetime.history import days_needed, longest_horizon
from sojourn.lifetime.log_end import log_days
from sojourn.lifetime.retention.activity import activity_table, decision_table
from sojourn.lifetime.retention.compare import (
    CHOICE,
    RetentionComparison,
    compare_activity,
    split_days,
    whole_horizons,
)
from sojourn.lifetime.retention.lifespans import lifespans
from sojourn.lifetime.retention.models import load_retention_model, retention_model
from sojourn.lifetime.retention.plan import NudgePlan, planned_days
from sojourn.lifetime.retention.push_effect import PushEffect
from sojourn.lifetime.retention.report import RetentionViews, retention_report
from sojourn.lifetime.retention.spec import RetentionSpec
from sojourn.lifetime.retention.triangle import cohort_triangle
from sojourn.warehouse import Warehouse

METRICS_FILE, BY_DAY_FILE, REPORT_FILE = "metrics.json", "by_day.csv", "report.html"
PREDICTIONS_FILE, PUSH_LIST_FILE, FITTED_FILE = "retention.parquet", "whom_to_push.csv", "retention.json"
ACTIVITY, EFFECT = "activity", "push_effect"


@dataclass(frozen=True)
class FittedRetention:
    """A fitted model of daily activity, and what pushes change where the log could tell (else None).

    `trained_on` are the as-of dates that the model learned from; `mark` are sixteen digits for the settings and every
    byte that the models are saved as.
    """

    spec: RetentionSpec
    name: str
    model: Estimator
    effect: PushEffect | None
    trained_on: tuple[date, ...]

    @property
    def mark(self) -> str:
        """The fingerprint that predictions carry."""
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            self._save_parts(Path(folder))
            files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            texts = [part for path in files for part in (path.name, sha256(path.read_bytes()).hexdigest())]
        return fingerprint(self.spec.to_json(), *texts)

    def save(self, path: Path) -> None:
        """Write `retention.json` and one folder a model into the folder `path`."""
        self._save_parts(path)
        days = [day.isoformat() for day in self.trained_on]
        whole = {
            "spec": self.spec.model_dump(mode="json"),
            "name": self.name,
            "trained_on": days,
            "effect": self.effect is not None,
        }
        write_whole(path / FITTED_FILE, json.dumps(whole, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "FittedRetention":
        """What `save` wrote. Raises `UnreadableSource`."""
        try:
            whole = json.loads((path / FITTED_FILE).read_text(encoding="utf-8"))
            days = tuple(date.fromisoformat(day) for day in whole["trained_on"])
            spec, name, has_effect = RetentionSpec(**whole["spec"]), whole["name"], whole["effect"]
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise UnreadableSource(
                f"lifetime: {path} holds no fitted retention ({fault}). "
                f"Fit it first: sojourn retention fit --out {path}"
            ) from fault
        effect = PushEffect.load(path / EFFECT) if has_effect else None
        return cls(spec, name, load_retention_model(path / ACTIVITY), effect, days)

    def _save_parts(self, path: Path) -> None:
        self.model.save(path / ACTIVITY)
        if self.effect is not None:
            self.effect.save(path / EFFECT)


def compare_retention(
    warehouse: Warehouse,
    *,
    spec: RetentionSpec,
    out: Path,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> RetentionComparison:
    """Compare every model of daily activity; write `metrics.json`, `by_day.csv` and `report.html` into `out`.

    `end` is the first day that is not known (default: the day after the last in the log). A horizon that nobody asked
    for is cut to what the log can judge, which a line on stderr says. Raises `BadInput` when the log is too short for
    the one asked for, and what `activity_table` does.
    """
    spec = _within_log(warehouse, spec, features, end)
    table = retention_table(warehouse, spec=spec, features=features, end=end)
    with progress("Models of daily activity compared", total=1) as advance:
        found = compare_activity(table, spec=spec)
        advance(1)
    with progress("Report", total=1) as advance:
        views = _views(warehouse, found, features=features)
        write_metrics(out / METRICS_FILE, [found.scores])
        write_whole(out / BY_DAY_FILE, found.by_day().write_csv())
        retention_report(found, views=views).write(out / REPORT_FILE)
        advance(1)
    return found


def fit_retention(
    warehouse: Warehouse,
    *,
    spec: RetentionSpec,
    out: Path,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> FittedRetention:
    """Fit the model named in the spec, else the one that earlier folds pick, on all that is known; save it into `out`.

    A horizon is cut as by `compare_retention`. Where there is a table `pushes`, the effect of pushes is learned too,
    unless chance decided too few of them.
    """
    spec = _within_log(warehouse, spec, features, end)
    table = retention_table(warehouse, spec=spec, features=features, end=end)
    name = spec.model or compare_activity(table, spec=spec, bootstrap=CHOICE).chosen
    known = whole_horizons(table, where="lifetime.fit_retention")
    days = tuple(known["as_of"].unique().sort()[-spec.train_as_ofs :])
    model = retention_model(name, spec=spec.task()).fit(known.filter(pl.col("as_of").is_in(days)))
    fitted = FittedRetention(spec, name, model, _effect(warehouse, spec, features, end), days)
    fitted.save(out)
    return fitted


def predict_retention(
    warehouse: Warehouse,
    *,
    fitted: FittedRetention,
    out: Path,
    plan: NudgePlan | None = None,
    features: FeatureSpec | None = None,
    as_of: date | None = None,
) -> pl.DataFrame:
    """Predict every user as of a day (default: the day after the last in the log), into `out`.

    `retention.parquet` has `user_id, as_of, active_prob` (a list, one probability per day ahead), `expected_days`,
    `model_version` and `fingerprint`. With a plan it also has what `planned_days` says (`expected_days` then is without
    the plan), and `whom_to_push.csv` has the users to push, best first.

    Raises `BadInput` for a plan where no effect of pushes was learned.
    """
    day = as_of or log_days(warehouse)[1]
    table = activity_table(warehouse, [day], spec=fitted.spec, features=features, end=day)
    said = fitted.model.predict(table)
    if plan is not None:
        if fitted.effect is None:
            raise BadInput(
                "lifetime.predict_retention: no effect of pushes was learned, so a plan changes nothing that is known. "
                "Fit on a warehouse with a table 'pushes' (user_id, day, propensity, sent), or leave the plan out."
            )
        planned = planned_days(table, forecast=said, effect=fitted.effect, plan=plan)
        said = said.drop("expected_days").with_columns(planned.drop("user_id", "as_of"))
        _write_list(said, out / PUSH_LIST_FILE)
    said = said.with_columns(model_version=pl.lit(f"sojourn {__version__}"), fingerprint=pl.lit(fitted.mark))
    write_table(said, out / PREDICTIONS_FILE)
    return said


def retention_table(
    warehouse: Warehouse, *, spec: RetentionSpec, features: FeatureSpec | None = None, end: date | None = None
) -> pl.DataFrame:
    """`activity_table` at the as-of dates that the folds and a last fit need. Raises `BadInput` when there are none."""
    first, last = log_days(warehouse)
    end = min(end or last, last)
    grid = as_of_grid(
        first,
        end_day=end,
        horizon_days=spec.horizon_days,
        step_days=spec.step_days,
        history_days=_history_days(spec, features),
    )
    wanted = set(grid[-spec.train_as_ofs :])
    try:
        folds = split_days(list(grid), spec=spec).folds
    except BadInput:
        folds = ()  # too short to choose on: a named model can still be fitted, and a comparison will say why not
    for fold in folds:
        wanted |= {*fold.train[-spec.train_as_ofs :], fold.test}
    with progress("Activity of past dates", total=1) as advance:
        table = activity_table(warehouse, sorted(wanted), spec=spec, features=features, end=end)
        advance(1)
    return table


def retention_summary(found: RetentionComparison) -> pl.DataFrame:
    """A short table: `model, chosen, brier, auc, log_loss, ece, bias`, and chosen minus each in Brier score."""
    rows = [
        {
            "model": name,
            "chosen": "*" if name == found.chosen else "",
            **{figure: one.value for figure, one in figures.items()},
            "chosen_minus_it_brier": _told(found, name),
        }
        for name, figures in found.scores.models.items()
    ]
    return pl.DataFrame(rows)


def _within_log(
    warehouse: Warehouse, spec: RetentionSpec, features: FeatureSpec | None, end: date | None
) -> RetentionSpec:
    """The settings, looking no further ahead than the log can judge where nobody asked how far; and a line says so."""
    first, last = log_days(warehouse)
    days, history = (min(end or last, last) - first).days, _history_days(spec, features)
    most = longest_horizon(days - history, step_days=spec.step_days)
    if most >= spec.horizon_days or spec.model is not None:
        return spec
    needed = history + days_needed(spec.horizon_days, step_days=spec.step_days)
    if not most or "horizon_days" in spec.model_fields_set:
        instead = f", or look less far ahead: horizon_days = {most} in [retention] of sojourn.toml" if most else ""
        raise BadInput(
            f"lifetime.retention: the log is too short to look {spec.horizon_days} days ahead: it has {days} days, and "
            f"{needed} are needed, {history} of history and windows of {spec.horizon_days} days to learn from, to "
            f"choose on and to test on. Bring a longer log{instead}"
        )
    say(
        f"{most} days ahead: the log is too short for {spec.horizon_days}. It has {days} days, and {needed} are needed."
    )
    return spec.with_changes(horizon_days=most)


def _history_days(spec: RetentionSpec, features: FeatureSpec | None) -> int:
    return max(spec.history_days, spec.features(features).history_days)


def _told(found: RetentionComparison, name: str) -> str:
    if name not in found.differences:
        return ""
    one = found.differences[name]["brier"]
    ends = "" if one.low is None or one.high is None else f" [{one.low:+.4f}, {one.high:+.4f}]"
    return f"{one.value or 0.0:+.4f}{ends}"


def _views(warehouse: Warehouse, found: RetentionComparison, *, features: FeatureSpec | None) -> RetentionViews:
    spec, test = found.spec, found.final.fold.test
    forecast = found.final.predictions.select("user_id", "as_of", active_prob=pl.col(found.chosen))
    triangle = cohort_triangle(warehouse, spec=spec, users=found.users, forecast=forecast, features=features)
    effect = _effect(warehouse, spec, features, test)
    return RetentionViews(triangle, lifespans(found.users, lost_after_days=spec.lost_after_days), effect)


def _effect(
    warehouse: Warehouse, spec: RetentionSpec, features: FeatureSpec | None, end: date | None
) -> PushEffect | None:
    """What pushes change, or None where the log cannot tell."""
    if not warehouse.has("pushes"):
        return None
    with progress("Effect of pushes", total=1) as advance:
        table = decision_table(warehouse, spec=spec, features=features, end=end)
        found = PushEffect(spec.task()).fit(table) if PushEffect.can_learn(table) else None
        advance(1)
    return found


def _write_list(said: pl.DataFrame, path: Path) -> None:
    """The users to push, the best gain per cost first."""
    rank = pl.coalesce("gain_days_per_cost", "gain_days")
    columns = ("user_id", "gain_days", "gain_low", "gain_high", "pushes", "cost")
    chosen = said.filter("push").sort(rank, "user_id", descending=[True, False]).select(columns)
    write_whole(path, chosen.write_csv())
