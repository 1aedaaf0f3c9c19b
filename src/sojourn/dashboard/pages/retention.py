"""Retention: how many of those who came are still there, cohort by cohort, and for how long."""

from collections.abc import Sequence

import polars as pl

from sojourn.core import MissingTable
from sojourn.dashboard.boards import grain_of, metric, published
from sojourn.dashboard.figures import curve_chart, triangle_chart
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.numbers import figure_text
from sojourn.dashboard.pages._shared import EDGES, channels, definition_of, heading, no_metric, style_of, unit_of
from sojourn.dashboard.parts import Drawn, Part, Tile, View, nothing
from sojourn.dashboard.reader import Reader
from sojourn.metrics import METRICS

Z = 1.959964
TOO_YOUNG = "No cohort is old enough for one more period to be over. Choose a shorter period, or come back later."
KEY_AGES = {"day": (1, 7, 28), "week": (1, 4, 8, 12), "month": (1, 3, 6)}
SHOWN_COHORTS = {"day": 60, "week": 26, "month": 24}
COHORTS = (
    "Of the cohorts that began between From and To; without a first day, of the latest "
    + ", ".join(f"{most} {grain}s" for grain, most in SHOWN_COHORTS.items())
    + "."
)


def cohort_table(reader: Reader, filters: Filters, name: str, *, by: Sequence[str] = ()) -> pl.DataFrame:
    """`by`, `cohort`, `age` and the figures of a cohort metric, of the cohorts that began between the filters' days.

    Without a first day, of the latest `SHOWN_COHORTS`, whatever they are parted by: all parts of the page tell of the
    same users.
    """
    grain = grain_of(reader, filters)
    table = between(metric(reader, name, filters, by=[*by, "cohort", "age"], ever=True).drop("start"), filters)
    cohorts = table["cohort"].unique().sort().tail(SHOWN_COHORTS[grain] if filters.start is None else len(table))
    return table.filter(pl.col("cohort").is_in(cohorts.implode())).sort("cohort", "age", *by)


def between(table: pl.DataFrame, filters: Filters) -> pl.DataFrame:
    """The rows of cohorts that began between the filters' days."""
    if filters.start is not None:
        table = table.filter(pl.col("cohort") >= filters.start)
    if filters.end is not None:
        table = table.filter(pl.col("cohort") <= filters.end)
    return table


def by_age(table: pl.DataFrame, *, by: list[str] | None = None) -> pl.DataFrame:
    """Retention by `age` over all mature cohorts, with Wilson's 95 % interval as `low` and `high`."""
    mature = table.filter(pl.col("mature"))
    found = mature.group_by(*(by or []), "age").agg(
        pl.col("numerator").sum(), pl.col("denominator").sum(), cohorts=pl.col("cohort").n_unique()
    )
    n, share = pl.col("denominator"), pl.col("numerator") / pl.col("denominator")
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * (share * (1 - share) / n + Z**2 / (4 * n**2)).clip(0).sqrt()
    return (
        found.filter(n > 0)
        .with_columns(value=share, low=(centre - half).clip(0, 1), high=(centre + half).clip(0, 1))
        .sort(*(by or []), "age")
    )


def _triangle(name: str) -> Part:
    def make(reader: Reader, filters: Filters) -> Drawn:
        if not published(reader, name):
            return nothing(no_metric(name, reader))
        spec, grain = METRICS[name], grain_of(reader, filters)
        table = cohort_table(reader, filters, name)
        if table.is_empty():
            return nothing("No cohort began between these days. Choose other days, or clear the filters.")
        style, unit = style_of(spec), unit_of(spec, reader)
        # At age 0 everybody is there by definition: that column would take the colour from all others.
        shown = table.filter(pl.col("age") > 0) if name == "retention" else table
        if shown.is_empty():
            return nothing(TOO_YOUNG)
        figure = triangle_chart(shown, grain=grain, style=style, unit=unit)
        note = "Grey cells are not over yet, or not seen whole." if not table["mature"].all() else ""
        said = f"{spec.title}: {table['cohort'].n_unique()} cohorts, oldest {min(table['cohort'])}."
        return Drawn(table, figure, said=said, note=note)

    title = {"retention": "Retention of each cohort", "cohort_revenue": "Revenue of each cohort"}.get(
        name, METRICS[name].title
    )
    return Part(name, title, definition_of(name), make, height=480)


def _curve(reader: Reader, filters: Filters) -> Drawn:
    if not published(reader, "retention"):
        return nothing(no_metric("retention", reader))
    table = by_age(cohort_table(reader, filters, "retention"))
    if table.is_empty():
        return nothing(TOO_YOUNG)
    grain = grain_of(reader, filters)
    shown = table.filter(pl.col("age") > 0)
    if shown.is_empty():
        return nothing(TOO_YOUNG)
    figure = curve_chart(shown, x="age", x_title=f"{grain.capitalize()}s since the first")
    said = f"Retention falls to {figure_text(shown['value'][-1], style='percent')} at {grain} {shown['age'][-1]}."
    return Drawn(table, figure, said=said)


def _curves_by_channel(reader: Reader, filters: Filters) -> Drawn:
    if not published(reader, "retention"):
        return nothing(no_metric("retention", reader))
    channel = reader.spec.channel
    table = cohort_table(reader, filters, "retention", by=[channel])
    found = by_age(table, by=[channel]).filter(pl.col("age") > 0)
    if found.is_empty():
        return nothing(TOO_YOUNG)
    grain = grain_of(reader, filters)
    figure = curve_chart(
        found.drop("low", "high"),
        x="age",
        x_title=f"{grain.capitalize()}s since the first",
        by=channel,
        order=channels(reader),
    )
    return Drawn(found, figure, said=f"Retention by age for {found[channel].n_unique()} channels.")


def _brackets(reader: Reader, filters: Filters) -> Drawn:
    rows = []
    for name, kind in (
        ("bracket_retention", "Came back within days"),
        ("unbounded_retention", "Came back on or after day"),
    ):
        try:
            by = ["age", "bracket"] if name == "bracket_retention" else ["age"]
            table = between(metric(reader, name, filters, by=["cohort", *by], ever=True, grain="day"), filters)
        except MissingTable:
            continue
        mature = table.filter(pl.col("mature"))
        found = mature.group_by(by).agg(pl.col("numerator").sum(), pl.col("denominator").sum()).sort("age")
        label = pl.col("bracket") if name == "bracket_retention" else pl.col("age").cast(pl.String)
        rows.append(
            found.select(
                kind=pl.lit(kind), days=label, share=pl.col("numerator") / pl.col("denominator"), users="denominator"
            )
        )
    if not rows or sum(part.height for part in rows) == 0:
        return nothing(
            "Bracket and unbounded retention have no cohort between these days that is over yet. Choose earlier days."
            if filters.start or filters.end
            else "Bracket and unbounded retention have no cohort that is over yet. Make them: sojourn metrics backfill"
        )
    table = pl.concat(rows)
    cells = {"kind": heading("measure"), "days": heading("days"), "share": heading("share", "percent"),
             "users": heading("users", "number", digits=0)}  # fmt: skip
    return Drawn(table, cells=cells, said="Bracket and unbounded retention over all mature cohorts.")


def _tiles(reader: Reader, filters: Filters) -> list[Tile]:
    if not published(reader, "retention"):
        return []
    grain = grain_of(reader, filters)
    table = cohort_table(reader, filters, "retention")
    tiles = []
    for age in KEY_AGES[grain]:
        cohorts = table.filter(pl.col("age") == age, pl.col("mature"), pl.col("denominator") > 0)
        if cohorts.is_empty():
            continue
        users = float(cohorts["denominator"].sum())
        share = float(cohorts["numerator"].sum()) / users
        told = f"of {figure_text(users)} users in {cohorts.height} cohorts"
        label = f"{grain.capitalize()} {age} retention"
        values = cohorts["value"].to_list()
        tiles.append(
            Tile(
                label,
                figure_text(share, style="percent"),
                against=told,
                line=values,
                definition=definition_of("retention"),
            )
        )
    return tiles


RETENTION = View(
    "retention",
    "Retention",
    "Of those who came, how many are still here.",
    (
        Part(
            "curve",
            "Retention by age",
            (
                "Active users of age a / users whose age a is over; the band is Wilson's 95 % interval. "
                f"{COHORTS} {EDGES}"
            ),
            _curve,
            "half",
        ),
        Part(
            "by_channel",
            "Retention by channel",
            f"The same, of the same cohorts, by the channel through which users came. {EDGES}",
            _curves_by_channel,
            "half",
        ),
        _triangle("retention"),
        _triangle("cohort_revenue"),
        Part(
            "brackets",
            "Brackets and unbounded",
            (
                f"Bracket: {METRICS['bracket_retention'].formula}. Unbounded: "
                f"{METRICS['unbounded_retention'].formula}. Of all cohorts of days that began between From and To. "
                f"{EDGES}"
            ),
            _brackets,
        ),
    ),
    tiles=_tiles,
)
