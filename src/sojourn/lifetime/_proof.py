"""The part of the report that proves: baselines beside the models, calibration, coverage, what moves a prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sojourn.evaluate import (
    METRICS,
    Callout,
    Chart,
    Column,
    Difference,
    Folded,
    Heading,
    Part,
    Prose,
    Scores,
    SideBySide,
    Table,
    calibration_table,
    coverage_chart,
    decile_chart,
    decile_table,
    gain_chart,
    interval_chart,
    number_text,
    range_text,
    reliability_chart,
    scores_part,
)
from sojourn.lifetime._charts import theme_chart
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.effects import feature_effects
from sojourn.lifetime.evidence import Evidence, evidence_parts
from sojourn.lifetime.interval import TRUTH
from sojourn.lifetime.models import model_label
from sojourn.lifetime.segments import segment_scores
from sojourn.lifetime.spec import ChurnSpec, LifetimeSpec, ValueSpec
from sojourn.lifetime.verdict import JUDGED, verdict, verdict_sentence, verdict_tone

RIVAL = {"value": "repeat", "probability": "recency"}
SHOWN = {
    "value": ("mae", "gini", "spearman", "lift_10", "rmse", "bias"),
    "probability": ("auc", "average_precision", "brier", "log_loss", "ece", "bias"),
}
SHOWN_EFFECTS = 15


def proof_parts(comparisons: Sequence[Comparison], spec: LifetimeSpec, evidence: Evidence | None = None) -> list[Part]:
    """For every task: the verdict against the baselines, the table of models, and the charts that test the figures.

    The value task with the longest horizon comes first and is shown in full; others have their charts folded.
    """
    values = [one for one in comparisons if not isinstance(one.spec, ChurnSpec)]
    values.sort(key=lambda one: -one.spec.horizon_days)
    parts: list[Part] = []
    for one in values:
        charts = _value_charts(one, spec, evidence or Evidence())
        shown = charts if one is values[0] else [Folded("Charts", parts=tuple(charts))]
        parts += [*_verdict(one, spec), *shown]
    for one in (each for each in comparisons if isinstance(each.spec, ChurnSpec)):
        parts += [*_verdict(one, spec), *_churn_charts(one)]
    return parts


def _verdict(comparison: Comparison, spec: LifetimeSpec) -> list[Part]:
    kind, rival = comparison.scores.kind, RIVAL[comparison.scores.kind]
    labels = _labels(comparison)
    said = verdict(comparison, labels=labels)
    parts: list[Part] = [
        Heading(f"Can it be believed: {_asked(comparison.spec)}", _tested(comparison)),
        Callout(f"{said[0].upper()}{said[1:]}", tone=verdict_tone(comparison)),
    ]
    if rival in comparison.scores.models:
        parts.append(Prose(verdict_sentence(comparison, rival=rival, unit=spec.unit)))
    tried = scores_part(
        comparison.scores,
        metrics=SHOWN[kind],
        labels=labels,
        title="Every model that was tried",
        caption="On the last fold, with 95 % bootstrap intervals over users. The chosen model is the one that the "
        "earlier folds picked, whatever the last fold says.",
    )
    parts.append(_with_failed(tried, comparison, labels))
    return [
        *parts,
        Folded("How the model was chosen, and how it stands to each other", parts=_choice_tables(comparison)),
    ]


def _with_failed(tried: Table, comparison: Comparison, labels: Mapping[str, str]) -> Table:
    """The table with a row for each model that did not finish or took no part, without figures."""
    heads = [column.name for column in tried.shown_columns]
    unfinished: list[dict[str, object]] = [
        {**dict.fromkeys(heads), heads[0]: f"{labels[name]}: did not finish"}
        for name in comparison.failed
        if name not in comparison.scores.models
    ]
    unfinished += [{**dict.fromkeys(heads), heads[0]: f"{labels[name]}: took no part"} for name in comparison.absent]
    return replace(tried, rows=[*tried.row_dicts, *unfinished])


def _asked(spec: ValueSpec | ChurnSpec) -> str:
    if isinstance(spec, ChurnSpec):
        return "churn"
    if spec.age_days is not None:
        return f"spend by day {spec.horizon_days}, told on day {spec.age_days}"
    return f"spend in {spec.horizon_days} days"


def _tested(comparison: Comparison) -> str:
    fold, age_days = comparison.final.fold, getattr(comparison.spec, "age_days", None)
    n_users = comparison.predictions["user_id"].n_unique()
    if age_days is not None:
        return (
            f"{n_users:,} users had reached day {age_days} by {fold.test}. The models had seen only users whose day "
            f"{comparison.spec.horizon_days} was over by then."
        )
    return (
        f"As of {fold.test} the models knew nothing of the {comparison.spec.horizon_days} days that followed. This is "
        f"how they did on them, for {n_users:,} users."
    )


def _choice_tables(comparison: Comparison) -> tuple[Part, ...]:
    labels, kind = _labels(comparison), comparison.scores.kind
    metrics = JUDGED[kind]
    chosen = labels[comparison.chosen]
    least = min(comparison.choice.loss.values()) or 1.0
    rows = [
        {
            "model": labels[name],
            "loss": loss / least,
            **{
                f"{metric} {result.fold.test}": result.scores.models[name][metric]
                for result in comparison.choice.folds
                for metric in metrics
            },
            **{f"bias {result.fold.test}": result.held_out_bias[name] for result in comparison.choice.folds},
            **{f"rest {result.fold.test}": result.held_out_bias_but_one[name] for result in comparison.choice.folds},
        }
        for name, loss in comparison.choice.loss.items()
    ]
    columns = [
        Column("model", "Model", style="text"),
        Column("loss", "Loss against the best", style="times", digits=3, better="low"),
        *(
            _metric_column(metric, f"{metric} {result.fold.test}", f"{label}, {result.fold.test}")
            for result in comparison.choice.folds
            for metric, label in [
                *((metric, METRICS[metric].label) for metric in metrics),
                ("bias", "Held-out bias"),
                *([("rest", "The same but for one user")] if kind == "value" else []),
            ]
        ),
    ]
    caption = (
        "The loss is the geometric mean, over the earlier folds, of the error, of what the ranking lacks (1 minus its "
        "figure), and of how far totals are off (1 plus the size of the bias on held-out users of the days learned "
        "from; on the fold itself totals move with the season, for all models alike). Beside each bias: what is left "
        "of it without the one user who makes most of it."
    )
    return (
        Table(rows, columns=columns, title="Earlier folds", caption=caption, mark=chosen),
        _differences(comparison.differences, labels, (*metrics, "bias"), chosen),
    )


def _differences(
    differences: Mapping[str, Mapping[str, Difference]], labels: Mapping[str, str], metrics: Sequence[str], chosen: str
) -> Part:
    rows = [
        {"model": labels[name], **{metric: found[metric] for metric in metrics}} for name, found in differences.items()
    ]
    columns = [
        Column("model", "Model", style="text"),
        *(_metric_column(name, name, METRICS[name].label) for name in metrics),
    ]
    if not rows:
        return Prose("There is no other model to compare with.")
    caption = "The chosen model minus the model of the row, on the same resampled users of the last fold."
    return Table(rows, columns=columns, title=f"{chosen}, against each other model", caption=caption)


def _metric_column(metric: str, name: str, label: str) -> Column:
    if metric in ("bias", "rest"):
        return Column(name, label, style="change", digits=1)
    return Column(name, label, digits=None if metric == "mae" else 4)


def _value_charts(comparison: Comparison, spec: LifetimeSpec, evidence: Evidence) -> list[Part]:
    labels, table = _labels(comparison), comparison.predictions
    truth, chosen = table[TRUTH].to_numpy(), table[comparison.chosen].to_numpy()
    ranked = dict.fromkeys(
        (comparison.chosen, *(name for name in ("pace", "repeat") if name in comparison.scores.models))
    )
    parts: list[Part] = [
        Chart(
            interval_chart(_without_constants(comparison.scores), metric="mae", labels=labels),
            "How far off a user's prediction is, on average",
            how_to_read="Further left is better. Overlapping bars do not mean that models are equal: the table of "
            "differences compares them on the same users. Constant predictions are so far off that they are left out.",
        ),
        Chart(
            decile_chart(decile_table(truth, chosen), unit=spec.unit),
            "Predicted and actual spend, from the highest tenth of users to the lowest",
            how_to_read="Users are sorted by prediction and cut into ten equal groups. A diamond at the top of its "
            "bar: the level is right. Falling bars: the order is right.",
        ),
        Chart(
            gain_chart(truth, {labels[name]: table[name].to_numpy() for name in ranked}),
            "How much of the spend the top users hold",
            how_to_read="Take the users with the highest predictions first: a curve nearer to the perfect order finds "
            "the big spenders sooner.",
        ),
    ]
    parts += [*_coverage_parts(comparison), *evidence_parts(comparison, evidence, unit=spec.unit)]
    return [*parts, *_segment_parts(comparison, spec), *_effect_parts(comparison)]


def _segment_parts(comparison: Comparison, spec: LifetimeSpec) -> list[Part]:
    found = segment_scores(comparison)
    if found.is_empty():
        return []
    columns = [
        Column("segment", "Users by", style="text"),
        Column("value", "Which", style="text"),
        Column("users", "Users", digits=0),
        Column("truth", "Spent, mean", unit=spec.unit),
        Column("predicted", "Predicted, mean", unit=spec.unit),
        Column("bias", "Total bias", style="change", digits=1),
        Column("mae", "MAE", unit=spec.unit),
        Column("gini", "Gini", digits=3),
        Column("coverage", "Inside the interval", style="percent", digits=1),
    ]
    lead = Prose("How the chosen model does on each kind of user of the last fold, 50 users at least.")
    return [Folded("By segment", parts=(lead, Table(found.drop("task"), columns=columns)))]


def _without_constants(scores: Scores) -> Scores:
    """The scores of the models that tell users apart; all of them when none does."""
    told = {name: figures for name, figures in scores.models.items() if name not in ("always_mean", "zero")}
    return scores.with_changes(models=told) if scores.chosen in told else scores


def _coverage_parts(comparison: Comparison) -> list[Part]:
    if comparison.coverage is None:
        return []
    overall = comparison.coverage.row(0, named=True)
    held, promised = (
        number_text(value, style="percent", digits=1) for value in (overall["coverage"], comparison.level)
    )
    ends = range_text(
        Difference(value=None, low=overall["low"], high=overall["high"], prob_better=None), style="percent", digits=1
    )
    return [
        Chart(
            coverage_chart(comparison.coverage, level=comparison.level),
            f"The intervals held for {held} of users; {promised} was promised",
            caption=f"95 % interval of the share: {ends}.",
            how_to_read="One dot per tenth of users, the highest predictions at 1. A dot on the line: intervals there "
            "are as wide as they should be. Where most users spend exactly nothing it lies above: zero is always "
            "inside.",
        )
    ]


def _churn_charts(comparison: Comparison) -> list[Part]:
    labels, table = _labels(comparison), comparison.predictions
    shown = [name for name in (comparison.chosen, "recency") if name in comparison.scores.models]
    tables = {labels[name]: calibration_table(table[TRUTH], table[name]) for name in dict.fromkeys(shown)}
    days = comparison.spec.horizon_days
    return [
        SideBySide(
            (
                Chart(
                    reliability_chart(tables),
                    "Of users told a probability, how many left",
                    how_to_read="On the diagonal a probability means what it says: of a hundred users with 30 %, "
                    f"thirty did not buy in {days} days.",
                ),
                Chart(
                    interval_chart(comparison.scores, metric="auc", labels=labels),
                    "How well leavers are told from stayers",
                    how_to_read="The chance that a user who left had the higher probability than one who stayed. 0.5 "
                    "is guessing.",
                ),
            )
        ),
        *_effect_parts(comparison),
    ]


def _effect_parts(comparison: Comparison) -> list[Part]:
    effects = feature_effects(comparison.model, table=comparison.features)
    if effects.is_empty():
        return [Prose("The chosen model reads one rule, so there are no feature effects to show.")]
    of_pace = not isinstance(comparison.spec, ChurnSpec)
    lead = (
        "The trees start from the user's own pace (past spend a day, over several windows) and move it up or down. "
        if of_pace
        else ""
    )
    columns = [
        Column("words", "Feature", style="text"),
        Column("share", "Share of all effects", style="percent", digits=1),
        Column("direction", "With more of it the prediction is", style="text"),
    ]
    return [
        Chart(
            theme_chart(effects),
            "What moves a prediction",
            caption=f"{lead}Shares of the mean absolute SHAP value over users of the last fold.",
            how_to_read="The longer the bar, the more the model leans on that kind of fact. It says what the model "
            "uses, not what would change if a user were made to behave otherwise.",
        ),
        Folded("Single features", parts=(Table(effects.head(SHOWN_EFFECTS), columns=columns),)),
    ]


def _labels(comparison: Comparison) -> dict[str, str]:
    names = (*comparison.spec.models, *comparison.choice.loss, *comparison.failed, *comparison.absent)
    return {name: model_label(name, spec=comparison.spec) for name in names}
