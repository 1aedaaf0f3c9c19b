"""A declared board comes in; the metric tables of acquisition, cost, value and payback go out."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from sojourn.metrics._cohort_curves import DIMS, Cells, Grain, curves, period_end, period_start, read_cells
from sojourn.metrics._cohort_forecast import forecasts, predicted_on
from sojourn.metrics._partitions import EXACT, publish
from sojourn.metrics.acquired_value import write_acquired_value
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.attribution import AcquiredReport, need_activity, write_acquired
from sojourn.metrics.catalogue import GRAINS, MetricSpec
from sojourn.metrics.costs import check_channels
from sojourn.metrics.payback import payback_table
from sojourn.warehouse import Warehouse

PAYBACK = "metric_payback"


def _metrics() -> tuple[MetricSpec, ...]:
    of = MetricSpec
    return (
        of(name="acquired_users", title="Acquired users", unit="users", kind="sum", numerator="acquired",
           formula="entities whose acquisition lies in the period"),
        of(name="acquisition_cost", title="Acquisition cost", unit="money", kind="sum", numerator="cost",
           formula="costs of the period's days, each turned into the declared currency at its day's rate"),
        of(name="cpi", title="Cost per acquired user", unit="money per user", kind="ratio", numerator="cost",
           denominator="acquired", formula="acquisition cost / acquired users"),
        of(name="cac", title="Cost per new customer", unit="money per user", kind="ratio", numerator="cost",
           denominator="customers",
           formula="acquisition cost / those acquired in the period that became customers within customer_days; over "
           "the days for which that time is over"),
        of(name="acquired_retention", title="Retention of acquired users", unit="share", kind="ratio", shape="cohort",
           numerator="active", denominator="acquired", grains=("week", "month"),
           formula="of the acquired, the share active on the day of that age"),
        of(name="acquired_revenue", title="Revenue per acquired user", unit="money per user", kind="ratio",
           shape="cohort", numerator="revenue", denominator="acquired", grains=("week", "month"),
           formula="net revenue up to that age / acquired users"),
        of(name="acquired_margin", title="Margin per acquired user", unit="money per user", kind="ratio",
           shape="cohort", numerator="margin", denominator="acquired", grains=("week", "month"),
           formula="margin up to that age / acquired users: the lifetime value so far"),
        of(name="roas", title="Return on ad spend", unit="share", kind="ratio", shape="cohort", numerator="revenue",
           denominator="cost", grains=("week", "month"), formula="net revenue up to that age / acquisition cost"),
        of(name="ltv_cac", title="LTV : CAC", unit="times", kind="ratio", shape="cohort", numerator="margin",
           denominator="cost", grains=("week", "month"),
           formula="margin up to that age / acquisition cost, which is (margin per customer) / (cost per customer)"),
    )  # fmt: skip


ACQUISITION_METRICS: dict[str, MetricSpec] = {each.name: each for each in _metrics()}
PERIODS = tuple(each for each in ACQUISITION_METRICS.values() if each.shape == "total")
COHORTS = tuple(each for each in ACQUISITION_METRICS.values() if each.shape == "cohort")
NEEDS_COSTS = frozenset({"acquisition_cost", "cpi", "cac", "roas", "ltv_cac"})
# Which columns of a forecast stand for a numerator: the expected sum, and the ends of its band.
AHEAD = {"revenue": ("revenue", "low", "high"), "margin": ("margin", "margin_low", "margin_high")}


@dataclass(frozen=True)
class AcquisitionReport:
    """What a run did: the base tables' days, the metric partitions written, and what lies outside of all figures."""

    acquired: AcquiredReport
    written: int
    current: int
    cost_outside: float
    predicted_on: date | None

    def told(self) -> str:
        """The report in a line."""
        ahead = f"forecast from {self.predicted_on} on" if self.predicted_on else "no predictions to forecast from"
        return (
            f"{len(self.acquired.built):,} days attributed, {self.acquired.current:,} current; "
            f"{self.written:,} partitions of metrics written, {self.current:,} current; {ahead}"
        )


def write_acquisition(warehouse: Warehouse, spec: AcquisitionSpec, *, as_of: date | None = None) -> AcquisitionReport:
    """Bring every table of a board up to the last day before `as_of` (default: of the log).

    Writes `metric_acquired`, `metric_customers`, `metric_acquired_value`, a table for each of `ACQUISITION_METRICS`,
    and `metric_payback`. A warehouse without the table of costs gets the metrics that need none. Partitions whose rows
    are as they were are not written again. Raises as `write_acquired` and `daily_costs` do, and `BadInput` for channels
    that stand on the side of costs or of users alone, and, before anything is written, where nobody is ever active.
    """
    need_activity(warehouse, spec, as_of=as_of)
    done = write_acquired(warehouse, spec, as_of=as_of)
    write_acquired_value(warehouse, spec, as_of=as_of)
    with_costs = warehouse.has(spec.costs)
    cells = read_cells(warehouse, spec, with_costs=with_costs)
    if with_costs:
        users = cells.cohorts.filter(pl.col("acquired") > 0)["channel"].unique()
        check_channels(spec, costs=cells.cohorts.filter(pl.col("cost") > 0)["channel"].unique(), users=users)
    tables = acquisition_tables(warehouse, cells)
    if not with_costs:
        tables = {name: table for name, table in tables.items() if name not in NEEDS_COSTS | {"payback"}}
    written = current = 0
    for name, table in tables.items():
        new, old = publish(warehouse, f"metric_{name}", table, board=spec.name, declared=spec)
        written, current = written + new, current + old
    return AcquisitionReport(done, written, current, cells.cost_outside, predicted_on(warehouse, cells))


def acquisition_tables(warehouse: Warehouse, cells: Cells) -> dict[str, pl.DataFrame]:
    """Every metric of a board by name, in memory, with the columns `grain` and `start`; and `payback`."""
    week_start = warehouse.spec.week_start
    found: dict[str, list[pl.DataFrame]] = {name: [] for name in (*ACQUISITION_METRICS, "payback")}
    for grain in GRAINS:
        periods = _periods(cells, grain=grain, week_start=week_start)
        for metric in PERIODS:
            found[metric.name].append(_figures(periods, metric, grain=grain, mature=_mature(metric)))
    for grain in COHORTS[0].grains:
        observed = curves(cells, grain=grain, week_start=week_start)
        ahead = forecasts(warehouse, cells, grain=grain)
        for metric in COHORTS:
            found[metric.name].append(_cohort_figures(observed, ahead, metric, grain=grain))
        paid = payback_table(observed, forecast=ahead)
        found["payback"].append(paid.with_columns(grain=pl.lit(grain), start=pl.col("cohort")))
    return {name: pl.concat(tables) for name, tables in found.items()}


def _periods(cells: Cells, *, grain: Grain, week_start: str) -> pl.DataFrame:
    """Per period, channel and campaign: acquired, cost, and both sides of CAC over the days whose time is over."""
    keys = ["acquired_on", *DIMS]
    within = cells.done.filter(pl.col("age") <= cells.spec.customer_days)
    customers = within.group_by(keys).agg(customers=pl.col("new_customers").sum().cast(pl.Int64))
    over = pl.col("acquired_on") + pl.duration(days=cells.spec.customer_days) < cells.as_of
    days = cells.cohorts.join(customers, on=keys, how="left").with_columns(
        customers=pl.when(over).then(pl.col("customers").fill_null(0)).otherwise(0),
        cost_of_customers=pl.when(over).then("cost").otherwise(pl.lit(0).cast(EXACT)),
    )
    start = period_start(pl.col("acquired_on"), grain=grain, week_start=week_start)
    sums = ["acquired", "cost", "customers", "cost_of_customers"]
    summed = days.group_by(start.alias("start"), *DIMS).agg(pl.col(*sums).sum())
    end = period_end(pl.col("start"), grain=grain)
    wait = pl.duration(days=cells.spec.customer_days)
    # The log may begin within a period: whoever came in its days before that is not in it.
    is_whole = pl.col("start") >= cells.first
    return summed.with_columns(
        is_over=is_whole & (end <= cells.as_of), is_waited=is_whole & (end + wait <= cells.as_of)
    )


def _mature(metric: MetricSpec) -> str:
    return "is_waited" if metric.name == "cac" else "is_over"


def _figures(table: pl.DataFrame, metric: MetricSpec, *, grain: Grain, mature: str) -> pl.DataFrame:
    numerator = "cost_of_customers" if metric.name == "cac" else metric.numerator
    return table.select(
        pl.lit(grain).alias("grain"),
        "start",
        *DIMS,
        *_ratio(numerator, metric.denominator),
        pl.col(mature).alias("mature"),
    ).sort("start", *DIMS)


def _cohort_figures(
    observed: pl.DataFrame, ahead: pl.DataFrame | None, metric: MetricSpec, *, grain: Grain
) -> pl.DataFrame:
    """A metric by cohort and age: observed where any day of the cohort has reached the age, and forecast beside it."""
    keys = ["cohort", *DIMS, "age"]
    seen = observed.select(*keys, *_ratio(metric.numerator, metric.denominator), "mature")
    names = ("forecast", "forecast_low", "forecast_high")
    if ahead is None or metric.numerator not in AHEAD:
        both = seen.with_columns(pl.lit(None, pl.Float64).alias(name) for name in names)
    else:
        by = pl.col(metric.denominator or "acquired")
        sides = zip(names, AHEAD[metric.numerator], strict=True)
        told = ahead.select(*keys, *(pl.when(by > 0).then(pl.col(each) / by).alias(name) for name, each in sides))
        both = seen.join(told, on=keys, how="full", coalesce=True).with_columns(pl.col("mature").fill_null(value=False))
    return both.select(pl.lit(grain).alias("grain"), pl.col("cohort").alias("start"), pl.all()).sort(keys)


def _ratio(numerator: str, denominator: str | None) -> list[pl.Expr]:
    """The three columns of every metric table: the quotient (null over zero), and its exact sides."""
    top = pl.col(numerator).cast(EXACT)
    if denominator is None:
        nothing = pl.lit(None, EXACT).alias("denominator")
        return [top.cast(pl.Float64).alias("value"), top.alias("numerator"), nothing]
    bottom = pl.col(denominator).cast(EXACT)
    value = pl.when(bottom != 0).then(top.cast(pl.Float64) / bottom.cast(pl.Float64))
    return [value.alias("value"), top.alias("numerator"), bottom.alias("denominator")]
