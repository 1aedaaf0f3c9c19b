"""What a report shows beside comparisons: tasks left out, spreads, cohorts, and who is alive."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from sojourn.core import need_columns
from sojourn.evaluate import Callout, Chart, Column, Folded, Part, Table, number_text
from sojourn.lifetime._evidence_charts import cohorts_chart, places_chart
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.distribution_proof import DISTRIBUTION, INTERVAL, LIKE_PACE, DistributionProof
from sojourn.lifetime.models import model_label
from sojourn.lifetime.process_charts import alive_chart
from sojourn.lifetime.process_value import ProcessValue, columns_read
from sojourn.lifetime.spec import ValueSpec

MOST_PURCHASES, LEAST_PURCHASES = 20, 5


@dataclass(frozen=True)
class Evidence:
    """What goes beside comparisons, by task: why some were left out, `judge_distribution` and `value_cohorts`.

    `cut` says in a sentence that horizons were cut to what the log can judge; empty where none was.
    """

    left_out: Mapping[str, str] = field(default_factory=dict)
    distributions: Mapping[str, DistributionProof] = field(default_factory=dict)
    cohorts: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    cut: str = ""


def left_out_parts(evidence: Evidence) -> list[Part]:
    """A callout for horizons that were cut, and one for each task that could not be judged."""
    cut: list[Part] = [Callout(evidence.cut, tone="warning")] if evidence.cut else []
    return cut + [
        Callout(f"**{name}** is left out: {why.rstrip('.')}.", tone="warning")
        for name, why in evidence.left_out.items()
    ]


def evidence_parts(comparison: Comparison, evidence: Evidence, *, unit: str) -> list[Part]:
    """What there is for this value task: its spread, its cohorts, and who is alive by the best purchase process."""
    name = comparison.spec.name
    parts: list[Part] = []
    if name in evidence.distributions:
        parts += _spread_parts(comparison, evidence.distributions[name], unit)
    if name in evidence.cohorts:
        parts += _cohort_parts(comparison, evidence.cohorts[name], unit)
    return [*parts, *_alive_parts(comparison)]


def _spread_parts(comparison: Comparison, proof: DistributionProof, unit: str) -> list[Part]:
    labels = {
        DISTRIBUTION: "Distribution of each user",
        LIKE_PACE: "What users of like pace spent",
        INTERVAL: f"Interval of the chosen model ({model_label(comparison.chosen, spec=comparison.spec)})",
    }
    figures = {row["spread"]: row for row in proof.table.iter_rows(named=True)}
    columns = [
        Column("spread", "Spread", style="text"),
        Column("crps", "CRPS", better="low", unit=unit),
        Column("pit_distance", "Distance from even places", digits=3, better="low"),
        Column("width", "Width, mean", unit=unit),
        Column("inside", "Inside", style="percent", digits=1),
        Column("inside_top", "Inside, top three tenths", style="percent", digits=1),
    ]
    level = number_text(float(proof.table["level"][0]), style="percent", digits=0)
    gain = 1 - figures[DISTRIBUTION]["crps"] / figures[LIKE_PACE]["crps"] if figures[LIKE_PACE]["crps"] else None
    ahead = number_text(None if gain is None else -gain, style="change", digits=0)
    return [
        Table(
            [{**row, "spread": labels[row["spread"]]} for row in figures.values()],
            columns=columns,
            title=f"Spread of single users, {level} within",
            caption="On users of the last fold. CRPS is the error of a whole distribution, in units of the value: "
            f"{ahead} against what users of like pace spent, which needs no model. Where most spend nothing, more than "
            "promised lie inside, as nothing is always inside.",
        ),
        Chart(
            places_chart({labels[key]: places for key, places in proof.pit.items()}),
            "Where users came to lie in what was predicted of them",
            how_to_read="Each user's spend has a place in its own predicted distribution (randomised PIT). Calibrated: "
            "all bars at the line. A hump: too wide; high ends: too narrow; a slope: too high or too low.",
        ),
    ]


def _cohort_parts(comparison: Comparison, cells: pl.DataFrame, unit: str) -> list[Part]:
    if cells.filter(pl.col("state") == "observed")["period"].n_unique() < 2:
        return []
    days = comparison.spec.horizon_days
    return [
        Chart(
            cohorts_chart(cells, unit=unit, days=days),
            "What each cohort spent, and what was foretold of its next period",
            how_to_read=f"A row is the users first seen in the same {days} days, a column {days} days of their time, "
            "figures are means per user. Framed, bold: what the chosen model foretold of the period ahead; below it "
            "what came. The first period is half over on average when it ends.",
        )
    ]


def _alive_parts(comparison: Comparison) -> list[Part]:
    """The P(alive) matrix of the purchase process that did best on the earlier folds, where one took part."""
    fitted = {name: model for name, model in comparison.final.models.items() if isinstance(model, ProcessValue)}
    if not fitted:
        return []
    best = min(fitted, key=lambda name: comparison.choice.loss.get(name, float("inf")))
    assert isinstance(comparison.spec, ValueSpec)
    features = comparison.features
    need_columns(features, columns_read(comparison.spec.value), where="lifetime.evidence_parts")
    bought = features.filter(pl.col("purchase_days_all").fill_null(0) > 0)
    if bought.is_empty():
        return []
    age = int(bought["purchase_tenure_days"].cast(pl.Float64).quantile(0.75) or 1)
    many = int(bought["purchase_days_all"].cast(pl.Float64).quantile(0.95) or 1)
    label = model_label(best, spec=comparison.spec)
    most = min(max(many, LEAST_PURCHASES), MOST_PURCHASES)
    chart = Chart(
        alive_chart(fitted[best].process_, age_days=max(age, 7), most=most),
        "Who is still alive, by how often and how recently they bought",
        caption=f"By {label}, for customers whose first purchase was {max(age, 7)} days ago.",
        how_to_read="Dark: surely still a customer. The more often someone bought, the sooner silence means that they "
        "are gone.",
    )
    return [chart] if best == comparison.chosen else [Folded(f"Who is alive, by {label}", parts=(chart,))]
