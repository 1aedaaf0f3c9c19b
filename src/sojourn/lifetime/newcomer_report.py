"""The report on newcomers: cohort by cohort and channel by channel, forecasts beside what came, and their proof."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from sojourn.evaluate import Chart, Column, Folded, Heading, Part, Prose, Report, Table, settings_part
from sojourn.evaluate.theme import COLORS, color_of, plotly_template
from sojourn.lifetime._proof import proof_parts
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.segments import segment_scores
from sojourn.lifetime.spec import LifetimeSpec, NewcomerSpec

EVERYONE = "everyone"
MOST_SHOWN = 8


def newcomer_report(comparisons: Sequence[Comparison], *, cohorts: pl.DataFrame, spec: NewcomerSpec) -> Report:
    """The report on these comparisons, the oldest age first, and on their cohorts (see `Newcomers`)."""
    tested = max(each.final.fold.test for each in comparisons)
    oldest = cohorts.filter(pl.col("age_days") == max(spec.ages_days))
    parts = [
        Heading(
            "What newcomers are worth",
            f"Spend per newcomer in their first {spec.by_days} days, cohort by cohort: what came, and what was said of "
            f"it when the last of the cohort were {max(spec.ages_days)} days old.",
        ),
        Chart(
            cohort_chart(oldest.filter(pl.col("segment") == EVERYONE), unit=spec.unit),
            f"Spend by day {spec.by_days} per newcomer",
            how_to_read="Solid: what came. Diamonds: what was foretold before it came, by models that had not seen it. "
            "Dashed: what is foretold now, for cohorts whose days are not over.",
        ),
        *_by_segment(oldest, comparisons[0], spec),
        *proof_parts(comparisons, LifetimeSpec(unit=spec.unit)),
        Heading("Details"),
        settings_part(spec),
    ]
    subtitle = f"Seen on day {', '.join(map(str, sorted(spec.ages_days)))}; tested on newcomers up to {tested}."
    return Report("What newcomers will be worth", subtitle=subtitle, parts=tuple(parts))


def cohort_chart(cohorts: pl.DataFrame, *, unit: str = "") -> Any:
    """Spend per newcomer by cohort: what came, what was foretold of it, and what is foretold of cohorts to come."""
    import plotly.graph_objects as go

    figure = go.Figure(layout={"template": plotly_template()})
    over, coming = (cohorts.filter(pl.col("spent").is_null() == open_) for open_ in (False, True))
    told = over.drop_nulls("forecast")
    hover = f"%{{x|%d %b %Y}}<br>{unit}%{{y:,.4~g}}<extra></extra>"
    figure.add_scatter(
        x=over["as_of"].to_list(),
        y=over["spent"].to_list(),
        mode="lines+markers",
        name="What came",
        line={"color": COLORS["ink"], "width": 2.5},
        hovertemplate=hover,
    )
    figure.add_scatter(
        x=coming["as_of"].to_list(),
        y=coming["forecast"].to_list(),
        mode="lines+markers",
        name="Foretold, days not over",
        line={"color": color_of(0), "width": 2.5, "dash": "dash"},
        hovertemplate=hover,
    )
    figure.add_scatter(
        x=told["as_of"].to_list(),
        y=told["forecast"].to_list(),
        mode="markers",
        name="Foretold before it came",
        marker={"symbol": "diamond", "size": 11, "color": color_of(1), "line": {"width": 1.5, "color": "#fff"}},
        hovertemplate=hover,
    )
    figure.update_xaxes(title_text="Cohort: the last of it reached this age by")
    return figure.update_yaxes(title_text="Mean per newcomer", tickprefix=unit, rangemode="tozero", tickformat=",.4~g")


def _by_segment(cohorts: pl.DataFrame, comparison: Comparison, spec: NewcomerSpec) -> list[Part]:
    """Per word of the portrait: the last fold's newcomers beside what was foretold, and those whose days run."""
    judged = segment_scores(comparison).select("segment", "value", "users", "truth", "predicted", "bias")
    running = cohorts.filter(pl.col("spent").is_null(), pl.col("segment") != EVERYONE)
    coming = running.group_by("segment", "value").agg(
        now=pl.col("users").sum(),
        foretold=(pl.col("forecast") * pl.col("users")).sum() / pl.col("users").sum(),
        money=(pl.col("forecast") * pl.col("users")).sum(),
    )
    rows = coming.join(judged, on=["segment", "value"], how="left").sort("segment", "money", descending=[False, True])
    if rows.is_empty():
        return [Prose("Newcomers have no portrait with few words, such as a channel or a country, to be parted by.")]
    columns = [
        Column("value", "Newcomers", style="text"),
        Column("users", "Tested", digits=0),
        Column("truth", "Spent each", unit=spec.unit),
        Column("predicted", "Foretold each", unit=spec.unit),
        Column("bias", "Total off by", style="change", digits=0),
        Column("now", "Days not over", digits=0),
        Column("foretold", "Foretold each", unit=spec.unit),
        Column("money", "In all", digits=0, unit=spec.unit),
    ]
    lead = (
        f"Left: newcomers of the last test, and what was foretold of their first {spec.by_days} days. Right: those "
        "whose days are not over: a price per newcomer below what is foretold of each is earned back by then."
    )
    names = rows["segment"].unique(maintain_order=True).to_list()
    first = "channel" if "channel" in names else names[0]
    tables = {
        name: Table(rows.filter(pl.col("segment") == name).drop("segment"), columns=columns, title=f"By {name}")
        for name in names[:MOST_SHOWN]
    }
    others = tuple(table for name, table in tables.items() if name != first)
    return [
        Heading("Channel by channel" if first == "channel" else f"By {first}", lead),
        tables.get(first) or Table(rows.filter(pl.col("segment") == first).drop("segment"), columns=columns),
        *([Folded("By other words of the portrait", parts=others)] if others else []),
    ]
