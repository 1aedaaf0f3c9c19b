"""The report for a person: who comes back, can the forecast be believed, when are users lost, and what pushes do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from sojourn.core import need
from sojourn.evaluate import (
    Callout,
    Card,
    Cards,
    Chart,
    Column,
    Heading,
    Part,
    Prose,
    Report,
    SideBySide,
    Table,
    calibration_table,
    interval_note,
    number_text,
    reliability_chart,
    scores_part,
    settings_part,
)
from sojourn.lifetime._charts import theme_chart
from sojourn.lifetime.effects import feature_effects
from sojourn.lifetime.retention import _charts as charts
from sojourn.lifetime.retention.compare import RetentionComparison
from sojourn.lifetime.retention.judge import FIGURES, TRUTH
from sojourn.lifetime.retention.lifespans import hazard_by_day, segment_of
from sojourn.lifetime.retention.models import LABELS
from sojourn.lifetime.retention.push_effect import PushEffect
from sojourn.lifetime.retention.spec import RetentionSpec

SHOWN_TRAITS = 10
LEAST_OF_SEGMENT = 30
SMALLEST_SHOWN = 5e-4


@dataclass(frozen=True)
class RetentionViews:
    """What a report shows beside the comparison: `triangle` of `cohort_triangle`, `lives` of `lifespans`, effects."""

    triangle: pl.DataFrame
    lives: pl.DataFrame
    effect: PushEffect | None = None


def retention_report(found: RetentionComparison, *, views: RetentionViews) -> Report:
    """The report, to be written or to be joined to another.

    Raises `MissingExtra` when `spec.segment` is set and the library lifelines is not installed.
    """
    fold, users = found.final.fold, found.final.predictions.height
    subtitle = (
        f"{users:,} users as of {_day(fold.test)}, {found.spec.horizon_days} days ahead. Chosen on earlier dates, "
        "tested once on days that no choice has seen."
    )
    parts: list[Part] = [
        *_headline(found),
        *_curves(found),
        *_triangle(views.triangle),
        *_proof(found),
        *_lives(views.lives, found.spec),
        *_moves(found),
        *_pushes(views.effect),
        *_details(found),
    ]
    return Report("Who comes back, and for how long", subtitle=subtitle, parts=tuple(parts))


def _headline(found: RetentionComparison) -> list[Part]:
    chosen, scores, curve = found.chosen, found.scores.models, found.final.judged.curve
    predicted, came = float(curve[chosen].sum()), float(curve["observed"].sum())
    best = _best_baseline(found)
    figures = scores[chosen]
    cards = [
        Card("Active days ahead, a user", number_text(predicted, digits=2), f"observed {number_text(came, digits=2)}"),
        Card("Brier score", number_text(figures["brier"].value, digits=4), interval_note(figures["brier"], digits=4)),
        Card(
            "AUC, mean over days", number_text(figures["auc"].value, digits=3), interval_note(figures["auc"], digits=3)
        ),
    ]
    if best is not None:
        difference = found.differences[best]["brier"]
        told = interval_note(difference, digits=4)
        cards.append(Card(f"Brier beside: {LABELS[best]}", number_text(difference.value, digits=4), told))
    return [Cards(tuple(cards))]


def _curves(found: RetentionComparison) -> list[Part]:
    shown = [name for name in (found.chosen, _best_baseline(found)) if name is not None]
    figure = charts.curve_chart(found.final.judged.curve, {name: LABELS[name] for name in shown})
    read = "Black is what came; the band is its 95 % interval over users. A good forecast stays inside it."
    heading = Heading("Who will be active", "The share of today's users who are active on each of the coming days.")
    return [heading, Chart(figure, "Retention ahead: forecast and what came", how_to_read=read)]


def _triangle(triangle: pl.DataFrame) -> list[Part]:
    if triangle.is_empty():
        return []
    read = (
        "Plain cells are observed. Framed cells lie ahead (dotted: partly): in bold the forecast, below it what came "
        "of the same user-days (a dash where it is not known yet: not 0)."
    )
    chart = Chart(charts.triangle_chart(triangle), "Share of days active, by cohort and week", how_to_read=read)
    return [Heading("Cohorts", "Users by the week in which they were first seen."), chart]


def _proof(found: RetentionComparison) -> list[Part]:
    labels = {name: LABELS[name] for name in (found.chosen, *(n for n in found.spec.compared() if n != found.chosen))}
    caption = (
        "On the last fold, which no choice has seen; brackets are 95 % intervals over users. AUC is the mean over the "
        "days ahead of the chance that a user who is active that day is scored above one who is not."
    )
    table = scores_part(found.scores, metrics=FIGURES, labels=LABELS, title="Every model", caption=caption)
    by_day = found.final.judged.by_day
    brier = Chart(
        charts.day_chart(by_day, labels, figure_name="brier", title="Brier score"),
        "Brier score by day ahead",
        how_to_read="Lower is better.",
    )
    auc = Chart(
        charts.day_chart(by_day, labels, figure_name="auc", title="AUC"),
        "AUC by day ahead",
        how_to_read="Higher is better; 0.5 is a coin.",
    )
    calibration = Chart(
        reliability_chart(_calibration(found)),
        "Calibration by how far ahead",
        how_to_read="On the diagonal, of users with 30 % probability 30 % came.",
    )
    return [Heading("Can it be believed?"), *_verdict(found), table, SideBySide((brier, auc)), calibration]


def _verdict(found: RetentionComparison) -> list[Part]:
    """A plain sentence where a baseline is not worse."""
    level = [name for name, figures in found.differences.items() if (figures["brier"].high or 0.0) >= 0]
    if not level:
        return [
            Callout(f"{LABELS[found.chosen]} has a lower Brier score than every other model, beyond chance.", "good")
        ]
    names = ", ".join(LABELS[name] for name in level)
    return [Callout(f"The picked model ({LABELS[found.chosen]}) is not ahead beyond chance of: {names}.", "warning")]


def _calibration(found: RetentionComparison) -> Mapping[str, pl.DataFrame]:
    """A reliability table for each week ahead."""
    rows = found.final.predictions.select(TRUTH, prob=pl.col(found.chosen))
    rows = rows.with_columns(day=pl.int_ranges(0, pl.col("prob").list.len())).explode(
        TRUTH, "prob", "day", empty_as_null=False
    )
    weeks = (
        rows.with_columns(week=pl.col("day") // 7)
        .filter(pl.col(TRUTH).is_not_null())
        .partition_by("week", as_dict=True)
    )
    return {
        f"Days {7 * int(week)} to {7 * int(week) + 6}": calibration_table(part[TRUTH], part["prob"])
        for (week,), part in sorted(weeks.items())
        if int(week) in (0, 1, 3)
    }


def _lives(lives: pl.DataFrame, spec: RetentionSpec) -> list[Part]:
    if lives.is_empty():
        return []
    lead = f"Lost: not active for more than {spec.lost_after_days} days. Who came too lately to tell is left out."
    read = "The chance to be lost on that day for those still there (logarithmic scale)."
    parts: list[Part] = [
        Chart(charts.hazard_chart(hazard_by_day(lives)), "Chance to be lost, day by day", how_to_read=read)
    ]
    if spec.segment is not None:
        title = f"How long users stay, by {spec.segment.replace('_', ' ')}"
        curves = kaplan_meier(lives, segment=spec.segment)
        parts.append(Chart(charts.survival_chart(curves), title, how_to_read="Kaplan-Meier, with 95 % bands."))
    return [Heading("When users are lost", lead), *([SideBySide(tuple(parts))] if len(parts) > 1 else parts)]


def kaplan_meier(lives: pl.DataFrame, *, segment: str) -> dict[str, pl.DataFrame]:
    """`day, survival, low, high` by segment, from lifelines. Raises `MissingExtra`, `MissingColumn`."""
    lifelines = need("lifelines", extra="survival", for_="Kaplan-Meier curves in the retention report")
    found = {}
    for (name,), part in sorted(
        lives.with_columns(_segment=segment_of(lives, segment)).partition_by("_segment", as_dict=True).items()
    ):
        if part.height < LEAST_OF_SEGMENT:
            continue
        fitter = lifelines.KaplanMeierFitter().fit(part["duration_days"].to_numpy(), part["lost"].to_numpy())
        ends = fitter.confidence_interval_survival_function_.to_numpy()
        survival = fitter.survival_function_.to_numpy()[:, 0]
        days = fitter.survival_function_.index.to_numpy()
        found[f"{name} ({part.height:,})"] = pl.DataFrame(
            {"day": days, "survival": survival, "low": ends[:, 0], "high": ends[:, 1]}
        )
    return found


def _moves(found: RetentionComparison) -> list[Part]:
    effects = feature_effects(found.model, table=found.users)
    if effects.is_empty():
        return []
    columns = (
        Column("words", "Feature", style="text"),
        Column("share", "Share", style="percent", digits=1),
        Column("direction", "Direction", style="text"),
    )
    read = "The mean size of each feature's part in the predictions, as a share of all."
    return [
        Heading("What moves a prediction"),
        SideBySide(
            (
                Chart(theme_chart(effects), "By theme", how_to_read=read),
                Table(effects.head(10), columns=columns, title="Most of all"),
            )
        ),
    ]


def _pushes(effect: PushEffect | None) -> list[Part]:
    if effect is None:
        return []
    lead = (
        f"Learned from {effect.decisions_:,} decisions whose probability was recorded: who was pushed by chance, "
        "beside who was not."
    )
    read = "Above 0, a push makes activity likelier that many days later. 0.1 is about 10 % higher odds."
    return [
        Heading("What a push changes", lead),
        SideBySide(
            (
                Chart(charts.effect_chart(effect.curve()), "One push, and the days after it", how_to_read=read),
                _differences(effect),
            )
        ),
    ]


def _differences(effect: PushEffect) -> Part:
    traits = effect.differences().head(SHOWN_TRAITS)
    if traits.filter(pl.col("effect").abs() > SMALLEST_SHOWN).is_empty():
        return Prose("Users left out did not ask for any difference between users: all get the mean effect.")
    columns = (
        Column("trait", "Trait", style="text"),
        Column("effect", "Log-odds", digits=3),
        Column("low", "From", digits=3),
        Column("high", "To", digits=3),
    )
    caption = "On the day of the push, for one standard deviation more of the trait; shrunk towards no difference."
    return Table(traits, columns=columns, title="Who answers differently", caption=caption)


def _details(found: RetentionComparison) -> list[Part]:
    spec = found.spec
    folds = [("choice", each.fold) for each in found.folds] + [("last test", found.final.fold)]
    rows = [
        {"use": use, "train": f"{fold.train[-spec.train_as_ofs :][0]} to {fold.train[-1]}", "test": str(fold.test)}
        for use, fold in folds
    ]
    labels = (("use", "Used for"), ("train", "Learned from, as of"), ("test", "Judged from"))
    columns = tuple(Column(name, label, style="text") for name, label in labels)
    caption = (
        f"Split {found.fingerprint}. No day that was learned from lies on or after the day that a test begins with."
    )
    return [Heading("Details"), Table(rows, columns=columns, caption=caption), settings_part(spec)]


def _best_baseline(found: RetentionComparison) -> str | None:
    """The other model with the lowest Brier score."""
    others = {name: figures["brier"] for name, figures in found.final.judged.values.items() if name != found.chosen}
    return min(others, key=others.__getitem__) if others else None


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
