"""The tables of acquisition as the page reads them: cohorts of acquired users by age, and what is wrong with costs."""

import polars as pl

from sojourn.core import MissingTable, SojournError
from sojourn.dashboard.boards import dimension_values, published
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import Grain
from sojourn.metrics import AcquisitionSpec, daily_costs
from sojourn.metrics.costs import check_channels

COSTS_FIRST = "What users cost and bring back has not been worked out yet. Do so: sojourn metrics acquisition"
DIMS = ["channel", "campaign"]
SIDES = {"forecast": "forecast", "low": "forecast_low", "high": "forecast_high"}
CAMPAIGN = "campaign"


def cohort_grain(filters: Filters) -> Grain:
    """Cohorts of acquisition are weeks or months: months unless weeks are asked for."""
    return "week" if filters.grain == "week" else "month"


def metric_rows(reader: Reader, name: str, filters: Filters, grain: Grain) -> pl.DataFrame:
    """A cohort metric's rows as they lie in its table, of the filters' cohorts, channel and campaign."""
    table, board = f"metric_{name}", reader.spec.board

    def rows() -> pl.DataFrame:
        places = [p for p in reader.warehouse.places(table) if (p["board"], p["grain"]) == (board, grain)]
        if not places:
            raise MissingTable(COSTS_FIRST)
        return reader.warehouse.frame(table, only=places)

    found: pl.DataFrame = reader.kept(f"rows/{table}/{grain}", tables=[table], make=rows)
    for dim, value in filters.conditions(channel=DIMS[0]).items():
        if dim in found.columns:
            found = found.filter(pl.col(dim) == value)
    if filters.start is not None:
        found = found.filter(pl.col("start") >= filters.start)
    if filters.end is not None:
        found = found.filter(pl.col("start") <= filters.end)
    return found


def paid_channels(reader: Reader, filters: Filters) -> pl.DataFrame:
    """`cohort`, `channel`, `cost`: what cost something in each cohort, over all its campaigns."""
    rows = metric_rows(reader, "ltv_cac", filters, cohort_grain(filters)).filter(pl.col("age") == 0)
    paid = rows.group_by("cohort", "channel").agg(cost=pl.col("denominator").cast(pl.Float64).sum())
    return paid.filter(pl.col("cost") > 0)


def per_user(reader: Reader, filters: Filters, name: str) -> pl.DataFrame:
    """A metric per acquired user by `cohort` and `age` in days: `value` (null where not mature), `forecast`, `low`,
    `high`, over all channels and campaigns that the filters let through.
    """
    rows = _with_acquired(metric_rows(reader, name, filters, cohort_grain(filters)))
    return _quotients(
        rows, below=rows.filter(pl.col("age") == 0).group_by("cohort").agg(below=pl.col("acquired").sum())
    )


def over_cost(reader: Reader, filters: Filters, name: str) -> pl.DataFrame:
    """What acquired users brought (`name`: a metric per acquired user) over what they cost; columns as `per_user`.

    Summed over the channels that cost something in that cohort, over all their campaigns: users may have none.
    """
    paid = paid_channels(reader, filters)
    rows = _with_acquired(metric_rows(reader, name, filters, cohort_grain(filters)))
    rows = rows.join(paid.select("cohort", "channel"), on=["cohort", "channel"])
    return _quotients(rows, below=paid.group_by("cohort").agg(below=pl.col("cost").sum()))


def _with_acquired(rows: pl.DataFrame) -> pl.DataFrame:
    # How many were acquired is known from the first day on; the row of a forecast does not say it again.
    rows = rows.with_columns(pl.col("numerator", "denominator").cast(pl.Float64))
    keys = ["cohort", *DIMS]
    acquired = rows.filter(pl.col("age") == 0, pl.col("denominator") > 0).select(*keys, acquired="denominator")
    return rows.join(acquired, on=keys)


def _quotients(rows: pl.DataFrame, *, below: pl.DataFrame) -> pl.DataFrame:
    told = pl.col("acquired").filter(pl.col("forecast").is_not_null()).sum()
    sides = [(pl.col(column) * pl.col("acquired")).sum().alias(name) for name, column in SIDES.items()]
    summed = rows.group_by("cohort", "age").agg(
        pl.col("numerator").sum(), pl.col("mature").all(), *sides, told=told, those=pl.col("acquired").sum()
    )
    whole = rows.filter(pl.col("age") == 0).group_by("cohort").agg(acquired=pl.col("acquired").sum())
    summed = summed.join(whole, on="cohort").join(below, on="cohort").filter(pl.col("below") > 0)
    # A sum over channels of which some have no forecast, or no row, at that age is no figure of the cohort.
    ahead, seen = pl.col("told") == pl.col("acquired"), pl.col("mature") & (pl.col("those") == pl.col("acquired"))
    return summed.select(
        "cohort",
        "age",
        value=pl.when(seen).then(pl.col("numerator") / pl.col("below")),
        **{name: pl.when(ahead).then(pl.col(name) / pl.col("below")) for name in SIDES},
    ).sort("cohort", "age")


def cohorts(reader: Reader, filters: Filters) -> pl.DataFrame:
    """A row a cohort, newest first, each at the latest `age` that all of it has reached.

    `cohort`, `acquired`, `age`, `retention` (active on the day of that age), `revenue` and `margin` per acquired user,
    `cost`, `roas`, `ltv_cac` (of the channels that cost something; null where none did, or costs are not known) and
    `forecast` (of LTV : CAC at the last age that is forecast).
    """
    rows = metric_rows(reader, "acquired_margin", filters, cohort_grain(filters)).filter(pl.col("age") == 0)
    found = rows.group_by("cohort").agg(acquired=pl.col("denominator").cast(pl.Int64).sum())
    margin = per_user(reader, filters, "acquired_margin").filter(pl.col("value").is_not_null())
    found = found.join(margin.group_by("cohort").agg(pl.col("age").max()), on="cohort", how="left")
    ours = {"retention": "acquired_retention", "revenue": "acquired_revenue", "margin": "acquired_margin"}
    for column, name in ours.items():
        found = _at_age(found, per_user(reader, filters, name), column)
    if published(reader, "ltv_cac"):
        cost = paid_channels(reader, filters).group_by("cohort").agg(pl.col("cost").sum())
        back = over_cost(reader, filters, "acquired_margin")
        found = _at_age(
            found.join(cost, on="cohort", how="left"), over_cost(reader, filters, "acquired_revenue"), "roas"
        )
        ahead = back.filter(pl.col("forecast").is_not_null()).group_by("cohort").agg(pl.col("forecast").last())
        found = _at_age(found, back, "ltv_cac").join(ahead, on="cohort", how="left")
    return found.filter(pl.col("acquired") > 0).sort("cohort", descending=True)


def _at_age(found: pl.DataFrame, curve: pl.DataFrame, column: str) -> pl.DataFrame:
    return found.join(curve.select("cohort", "age", pl.col("value").alias(column)), on=["cohort", "age"], how="left")


def campaigns(reader: Reader) -> list[str]:
    """The campaigns by which acquired users or costs are told, in order; none without acquisition."""
    if not published(reader, "acquired_users"):
        return []
    rows = metric_rows(reader, "acquired_margin", Filters(), "month")
    return sorted(rows["campaign"].unique().to_list())


def cost_faults(reader: Reader) -> list[str]:
    """What is wrong with the costs as they lie there now, a sentence each: the ones that `sojourn metrics acquisition`
    refuses them with.
    """
    declared = next((each for each in reader.spec.acquisition if each.name == reader.spec.board), None)
    spec = declared or AcquisitionSpec(name=reader.spec.board)
    if not reader.has(spec.costs):
        return []
    tables = [spec.costs, "rates", "metric_acquired_users", f"metric_values_{reader.spec.board}"]
    return reader.kept("cost_faults", tables=tables, make=lambda: _faults(reader, spec))


def _faults(reader: Reader, spec: AcquisitionSpec) -> list[str]:
    try:
        costs = daily_costs(reader.warehouse, spec)
        used = _channels_of_users(reader)
        if used:
            check_channels(spec, costs=costs.filter(pl.col("cost") > 0)["channel"].unique(), users=used)
    except SojournError as fault:
        return [str(fault)]
    return []


def _channels_of_users(reader: Reader) -> list[str]:
    if published(reader, "acquired_users"):
        rows = metric_rows(reader, "acquired_margin", Filters(), "month")
        return rows.filter(pl.col("denominator") > 0)["channel"].unique().to_list()
    return dimension_values(reader).get(reader.spec.channel, [])
