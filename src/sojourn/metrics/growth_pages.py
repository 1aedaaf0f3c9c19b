"""Tables of acquisition and explanations come in; pages for a reader go out."""

from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput
from sojourn.evaluate import Callout, Card, Cards, Chart, Column, Folded, Heading, Prose, Report, Table, settings_part
from sojourn.evaluate.formats import number_text
from sojourn.evaluate.parts import Part, Style
from sojourn.metrics._cohort_curves import Cells, Grain, curves, read_cells
from sojourn.metrics._cohort_forecast import predicted_on
from sojourn.metrics.acquisition import ACQUISITION_METRICS, NEEDS_COSTS, acquisition_tables
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.catalogue import METRICS
from sojourn.metrics.growth_charts import payback_chart, period_text, retention_chart, why_chart
from sojourn.metrics.payback import PAID
from sojourn.metrics.supply_demand import MARKET_METRICS
from sojourn.metrics.why import Why
from sojourn.warehouse import Warehouse

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
SHOWN_COHORTS = 6
ALL = "(all)"
KNOWN = METRICS | ACQUISITION_METRICS | MARKET_METRICS


def channel_summary(warehouse: Warehouse, spec: AcquisitionSpec, *, age: int | None = None) -> pl.DataFrame:
    """One row per channel and one of `(all)`: those acquired so long ago that `age` days of each are known.

    `age` defaults to the board's `customer_days`. Columns: `acquired, cost, customers, cpi, cac, paying_share, revenue,
    margin` (per acquired, up to that age), `roas, ltv_cac` (null where nothing was spent).
    """
    return _summary(read_cells(warehouse, spec, with_costs=warehouse.has(spec.costs)), warehouse, age=age)


def acquisition_page(
    warehouse: Warehouse, spec: AcquisitionSpec, *, grain: Grain = "month", title: str = "Acquisition and payback"
) -> Report:
    """The page of a board whose tables are written: channels side by side, payback by cohort and by channel."""
    with_costs = warehouse.has(spec.costs)
    cells = read_cells(warehouse, spec, with_costs=with_costs)
    tables, unit = acquisition_tables(warehouse, cells), SYMBOLS.get(spec.currency, f"{spec.currency} ")
    summary = _summary(cells, warehouse, age=None)
    parts: list[Part] = [_cards(summary, spec, unit)]
    parts += [Heading("Channels", lead=_mature_lead(spec)), _channels(summary, unit, with_costs=with_costs)]
    if with_costs:
        parts += _payback_parts(warehouse, cells, tables, grain=grain, unit=unit)
    retained = tables["acquired_retention"].filter(pl.col("grain") == grain)
    parts += [
        Heading("Who stays", lead="Share active on each day after acquisition, all cohorts together."),
        Chart(
            retention_chart(retained),
            title="Retention by channel",
            caption="Each age counts those who have reached it; a point is the mean of the seven days around it.",
            how_to_read="Lines that lie higher hold on to more of those they brought.",
        ),
        _definitions(with_costs=with_costs),
        settings_part(spec),
    ]
    last = cells.as_of - timedelta(days=1)
    return Report(title, subtitle=f"Board {spec.name}, {cells.first} to {last}, in {spec.currency}", parts=tuple(parts))


def why_page(why: Why, *, currency: str = "USD") -> Report:
    """The page that explains a change: the waterfall, and every segment with its rate and mix effect.

    Shares are shown as percentages, money in `currency`.
    """
    by, metric = ", ".join(why.spec.by), KNOWN.get(why.spec.name)
    styles: dict[str, Style] = {"share": "percent", "times": "times"}
    style: Style = "number" if metric is None else styles.get(metric.unit, "number")
    is_money = metric is not None and metric.unit.startswith("money")
    unit = SYMBOLS.get(currency, f"{currency} ") if is_money else ""
    title = metric.title if metric is not None else why.spec.name.replace("_", " ")
    name = title if title[:2].isupper() else title[:1].lower() + title[1:]
    how = "What a segment's own value moved (rate) and what its changed weight did (mix); together they are the change."
    columns = [*(Column(name, name.capitalize(), style="text") for name in why.spec.by)]
    columns += [
        Column("value_before", "Before", style=style, unit=unit),
        Column("value_after", "After", style=style, unit=unit),
    ]
    change: Style = "change" if style in ("percent", "change") else style
    if why.is_ratio:
        columns += [
            Column("weight_before", "Weight before", style="percent"),
            Column("weight_after", "Weight after", style="percent"),
            Column("rate_effect", "Rate effect", style=change, digits=2 if change == "change" else None, unit=unit),
            Column("mix_effect", "Mix effect", style=change, digits=2 if change == "change" else None, unit=unit),
        ]
    columns += [
        Column("effect", "Effect", style=change, digits=2 if change == "change" else None, unit=unit),
        Column("share", "Of the change", style="percent", digits=0),
    ]
    parts: list[Part] = [] if why.mature else [Callout(why.caution(), tone="warning")]
    parts += [
        Chart(
            why_chart(why, style=style, unit=unit),
            title=f"What moved {name}, by {by}",
            caption="From one period to the other, the largest movers first. The axis does not begin at 0.",
            how_to_read=how if why.is_ratio else "Each bar is the change of one segment.",
        ),
        Table(why.table(), columns=columns, title="Every segment", caption="The effects sum to the change."),
        settings_part(why.spec),
    ]
    return Report(f"Why did {name} move?", subtitle=why.headline(), parts=tuple(parts))


def _summary(cells: Cells, warehouse: Warehouse, *, age: int | None) -> pl.DataFrame:
    age = cells.spec.customer_days if age is None else age
    if not 0 <= age <= cells.spec.horizon_days:
        raise BadInput(
            f"acquisition: age {age} lies outside of the horizon, {cells.spec.horizon_days} days. Ask for a lower one."
        )
    at_age = curves(cells, grain="day", week_start=warehouse.spec.week_start).filter(pl.col("age") == age)
    sums = [pl.col("acquired", "cost", "customers", "revenue", "margin").sum()]
    by_channel = at_age.group_by("channel").agg(sums)
    both = pl.concat([by_channel, by_channel.select(pl.lit(ALL).alias("channel"), *sums)])
    money = both.with_columns(pl.col("cost", "revenue", "margin").cast(pl.Float64))

    def over(top: str, bottom: str) -> pl.Expr:
        return pl.when(pl.col(bottom) > 0).then(pl.col(top) / pl.col(bottom))

    found = money.select(
        "channel",
        "acquired",
        "cost",
        "customers",
        cpi=over("cost", "acquired"),
        cac=over("cost", "customers"),
        paying_share=over("customers", "acquired"),
        revenue=over("revenue", "acquired"),
        margin=over("margin", "acquired"),
        roas=over("revenue", "cost"),
        ltv_cac=over("margin", "cost"),
    )
    return found.sort(pl.col("channel") == ALL, pl.col("acquired"), "channel", descending=[False, True, False])


def _cards(summary: pl.DataFrame, spec: AcquisitionSpec, unit: str) -> Cards:
    row = summary.filter(pl.col("channel") == ALL).row(0, named=True)
    age = spec.customer_days
    cards = [
        Card("Acquired", number_text(row["acquired"]), f"at least {age} days ago"),
        Card(f"Margin per user by day {age}", number_text(row["margin"], unit=unit), "all channels"),
        Card("Became customers", number_text(row["paying_share"], style="percent"), f"within {age} days"),
    ]
    if row["cost"]:
        cards[1:1] = [
            Card("Cost per user", number_text(row["cpi"], unit=unit), "blended: organic users included"),
            Card("Cost per customer", number_text(row["cac"], unit=unit), "blended CAC"),
        ]
        cards.append(
            Card(f"LTV : CAC by day {age}", number_text(row["ltv_cac"], style="times", digits=2), "margin ÷ cost")
        )
    return Cards(cards)


def _channels(summary: pl.DataFrame, unit: str, *, with_costs: bool) -> Table:
    costs = [
        Column("cost", "Cost", unit=unit, digits=0),
        Column("cpi", "Per user", unit=unit, digits=2),
        Column("cac", "Per customer (CAC)", unit=unit, digits=2),
    ]
    ratios = [
        Column("roas", "ROAS", style="percent", digits=0),
        Column("ltv_cac", "LTV : CAC", style="times", digits=2),
    ]
    columns = [
        Column("channel", "Channel", style="text"),
        Column("acquired", "Acquired"),
        *(costs if with_costs else []),
        Column("paying_share", "Customers", style="percent"),
        Column("revenue", "Revenue per user", unit=unit, digits=2),
        Column("margin", "Margin per user", unit=unit, digits=2),
        *(ratios if with_costs else []),
    ]
    return Table(summary, columns=columns, mark=ALL, mark_label="together")


def _mature_lead(spec: AcquisitionSpec) -> str:
    days = spec.customer_days
    return f"Those acquired at least {days} days ago, and what they brought in their first {days} days."


def _payback_parts(
    warehouse: Warehouse, cells: Cells, tables: dict[str, pl.DataFrame], *, grain: Grain, unit: str
) -> list[Part]:
    ratio = tables["ltv_cac"].filter(pl.col("grain") == grain)
    paid = tables["payback"].filter(pl.col("grain") == grain)
    cohorts = sorted(paid.filter(pl.col("cost") > 0)["cohort"].unique())
    if not cohorts:
        return [Callout("Nothing was spent in these days, so there is nothing to pay back.")]
    told = predicted_on(warehouse, cells)
    dashed = (
        f"Dashed: forecast from what was predicted on {told}, with a band for the luck of users (80 %)."
        if told
        else "There are no predictions in this warehouse, so nothing is drawn ahead: sojourn ltv score"
    )
    margin = tables["acquired_margin"].filter(pl.col("grain") == grain)
    shown = [table.filter(pl.col("cohort").is_in(cohorts[-SHOWN_COHORTS:])) for table in (margin, ratio)]
    latest = _latest_with_curve(ratio, cohorts)
    return [
        Heading("Payback", lead="Margin of those who came by channels that cost something, over what these cost."),
        Chart(
            payback_chart(*shown, grain=grain),
            title=f"Payback by {grain} of acquisition",
            caption=f"Solid: observed, for ages that all of the cohort has reached. {dashed}",
            how_to_read="A line has paid back where it crosses 1×.",
        ),
        Chart(
            payback_chart(margin, ratio, cohort=latest),
            title=f"Payback by channel, acquired in {period_text(latest, grain)}",
            caption="Channels that cost nothing are left out.",
            how_to_read="A line that flattens below 1× does not earn its cost back.",
        ),
        _payback_rows(
            paid.filter(pl.col("cohort").is_in(cohorts[-SHOWN_COHORTS:]), pl.col("channel") == PAID),
            unit,
            grain=grain,
            title="When each cohort pays back, channels that cost something together",
        ),
        _payback_rows(
            paid.filter(pl.col("cohort") == latest, pl.col("channel") != PAID),
            unit,
            grain=grain,
            title=f"When each channel pays back, acquired in {period_text(latest, grain)}",
        ),
    ]


def _latest_with_curve(ratio: pl.DataFrame, cohorts: list[date]) -> date:
    """The latest cohort of which all have reached a week, else the first."""
    reached = ratio.filter("mature", pl.col("age") >= 7, pl.col("cohort").is_in(cohorts))["cohort"]
    return max(reached) if reached.len() else cohorts[0]


def _payback_rows(paid: pl.DataFrame, unit: str, *, grain: Grain, title: str) -> Table:
    days = (
        pl.when(pl.col("payback_days").is_not_null()).then(pl.format("day {}", "payback_days")).otherwise(pl.lit("–"))
    )
    ends = [pl.col(name).cast(pl.String).fill_null("later") for name in ("low", "high")]
    band = pl.when(pl.col("status") == "forecast").then(pl.format("day {} – {}", *ends)).otherwise(pl.lit(""))
    rows = (
        paid.filter(pl.col("status") != "free")
        .with_columns(
            pl.col("cost", "margin").cast(pl.Float64),
            back=(pl.col("margin") / pl.col("cost")).cast(pl.Float64),
            days=days,
            band=band,
            acquired_in=pl.col("cohort").map_elements(lambda day: period_text(day, grain), return_dtype=pl.String),
        )
        .sort("cohort", "channel", descending=[True, False])
    )
    columns = [
        Column("acquired_in", "Acquired in", style="text"),
        Column("channel", "Channel", style="text"),
        Column("acquired", "Acquired"),
        Column("cost", "Cost", unit=unit, digits=0),
        Column("margin", "Margin so far", unit=unit, digits=0),
        Column("back", "Paid back", style="percent", digits=0),
        Column("days", "Pays back on", style="text"),
        Column("status", "Which is", style="text"),
        Column("band", "Band", style="text"),
    ]
    return Table(rows.sort("cohort", "channel", descending=[True, False]), columns=columns, title=title)


def _definitions(*, with_costs: bool) -> Folded:
    shown = [each for each in ACQUISITION_METRICS.values() if with_costs or each.name not in NEEDS_COSTS]
    rows = [{"metric": each.title, "formula": each.formula} for each in shown]
    columns = [Column("metric", "Metric", style="text"), Column("formula", "Formula", style="text")]
    return Folded(
        "How each figure is defined",
        parts=(Table(rows, columns=columns), Prose("Costs belong to the day on which they were spent.")),
    )
