"""Cohorts so far and table `predictions` come in; what each cohort will have brought by later ages goes out."""

import re
from datetime import date

import polars as pl

from sojourn.metrics._cohort_curves import DIMS, Cells, Grain, period_start
from sojourn.metrics._log import ONE_DAY, open_log
from sojourn.metrics.attribution import ACQUIRED
from sojourn.metrics.rates import rated
from sojourn.rollups.dialect import dialect_of
from sojourn.warehouse import Warehouse

PREDICTIONS = "predictions"
NORMAL_80 = 1.2815515655446004  # the normal law lies within so many standard deviations with a chance of 80 %
KEYS = ["acquired_on", *DIMS]


def forecasts(warehouse: Warehouse, cells: Cells, *, grain: Grain) -> pl.DataFrame | None:
    """`cohort, channel, campaign, age, acquired, cost, revenue, low, high, margin, margin_low, margin_high`, all DOUBLE
    but the keys: what the whole cohort is expected to have brought by ages beyond those known when predicted.

    From the latest predictions made by `as_of`: what was known then, and the sum of `ltv_<N>` over its entities at N
    days from then; straight lines between. The band holds the sum with a chance of 80 % as far as the luck of users
    goes, who are taken to spend independently of each other, and not a fault of the model that all share: its variance
    is that sum times the dispersion of the log's last N days, sum(x²) / sum(x) over what each entity spent. An age is
    left out when any day of the cohort has no prediction that reaches it. None without predictions of this entity.
    """
    as_of, horizons = _latest(warehouse, cells)
    if as_of is None or not horizons:
        return None
    expected = _expected(warehouse, cells, as_of=as_of, horizons=horizons)
    ahead = _ahead(cells, expected, as_of=as_of, horizons=horizons)
    week_start = warehouse.spec.week_start
    cohort = period_start(pl.col("acquired_on"), grain=grain, week_start=week_start).alias("cohort")
    days = cells.cohorts.filter(pl.col("acquired") > 0).group_by(cohort, *DIMS).agg(days=pl.len())
    spent = cells.cohorts.group_by(cohort, *DIMS).agg(pl.col("acquired", "cost").sum())
    summed = ahead.group_by(cohort, *DIMS, "age").agg(
        pl.col("base", "coming", "variance").sum(), pl.col("is_ahead").any(), told=pl.len()
    )
    whole = summed.join(days, on=["cohort", *DIMS]).filter(pl.col("told") == pl.col("days"), pl.col("is_ahead"))
    share = _margin_share(cells)
    found = whole.join(spent, on=["cohort", *DIMS]).join(share, on="channel").sort("cohort", *DIMS, "age")
    half = NORMAL_80 * pl.col("variance").sqrt()
    low, high = pl.max_horizontal(pl.col("coming") - half, 0.0), pl.col("coming") + half
    base, base_margin = pl.col("base"), pl.col("base") * pl.col("share")
    money = {"revenue": pl.col("coming"), "low": low, "high": high}
    return found.select(
        "cohort",
        *DIMS,
        "age",
        pl.col("acquired", "cost").cast(pl.Float64),
        **{name: base + each for name, each in money.items()},
        margin=base_margin + pl.col("coming") * pl.col("share"),
        margin_low=base_margin + low * pl.col("share"),
        margin_high=base_margin + high * pl.col("share"),
    )


def _latest(warehouse: Warehouse, cells: Cells) -> tuple[date | None, list[int]]:
    """The day of the latest predictions that were made by the day after the last closed one, and their horizons."""
    days = [date.fromisoformat(place["as_of"]) for place in warehouse.places(PREDICTIONS)]
    days = [day for day in days if cells.first < day <= cells.as_of]
    if not days:
        return None, []
    latest = max(days)
    columns = warehouse.engine.columns(f"SELECT * FROM {_relation(warehouse, latest)}")
    if cells.spec.attribution.entity not in columns:
        return None, []
    return latest, sorted(int(found[1]) for name in columns if (found := re.fullmatch(r"ltv_(\d+)", name)))


def _relation(warehouse: Warehouse, as_of: date) -> str:
    return warehouse.relation(PREDICTIONS, only=[{"as_of": str(as_of)}])


def _expected(warehouse: Warehouse, cells: Cells, *, as_of: date, horizons: list[int]) -> pl.DataFrame:
    """Per cohort day: entities `missing` a prediction, and for each horizon the sum and its variance."""
    entity = dialect_of(warehouse.engine).quote(cells.spec.attribution.entity)
    days = cells.done["acquired_on"].unique().to_list()
    places = [cells.spec.place(day) for day in sorted(days) if day < as_of]
    latest = f"row_number() OVER (PARTITION BY {entity} ORDER BY acquisition DESC) AS place"
    owners = f"SELECT *, {latest} FROM {warehouse.relation(ACQUIRED, only=places)}"
    sums = [f"sum(p.ltv_{n}) AS coming_{n}" for n in horizons]
    found = warehouse.engine.frame(
        f"SELECT o.day AS acquired_on, channel, campaign, count(*) - count(p.{entity}) AS missing, {', '.join(sums)} "
        f"FROM ({owners}) AS o LEFT JOIN {_relation(warehouse, as_of)} AS p ON p.{entity} = o.{entity} "
        "WHERE place = 1 GROUP BY 1, 2, 3"
    )
    spread = {n: _dispersion(warehouse, cells, as_of=as_of, days=n) for n in horizons}
    return found.with_columns(
        (pl.col(f"coming_{n}").clip(lower_bound=0.0) * spread[n]).alias(f"variance_{n}") for n in horizons
    )


def _dispersion(warehouse: Warehouse, cells: Cells, *, as_of: date, days: int) -> float:
    """What the variance of a sum of spends is for each unit of its mean, as of the log's days before `as_of`.

    sum(x²) / sum(x), with x what an entity spent in them, is that of spends whose means were all alike and small; where
    means differ and are known it is more than needed. So the band errs on the wide side.
    """
    log = open_log(warehouse, as_of=as_of)
    recent = log.between(as_of - days * ONE_DAY, as_of)
    if not recent:
        return 0.0
    rows = log.rows(recent)
    rate = "1"
    if "currency" in log.columns:
        rows, rate = rated(warehouse, rows, currency=cells.spec.currency, what="events"), "rate"
    entity = log.sql.quote(cells.spec.attribution.entity)
    each = (
        f"SELECT CAST(sum(amount * {rate}) AS DOUBLE) AS x FROM {rows} AS r WHERE amount IS NOT NULL GROUP BY {entity}"
    )
    [(squares, total)] = warehouse.engine.rows(f"SELECT sum(x * x), sum(x) FROM ({each}) AS e")
    return float(squares) / float(total) if total and total > 0 else 0.0


def _ahead(cells: Cells, expected: pl.DataFrame, *, as_of: date, horizons: list[int]) -> pl.DataFrame:
    """Per cohort day and age: what was brought by the day of prediction, and what is expected from then on."""
    before = pl.col("acquired_on") + pl.duration(days=pl.col("age")) < as_of
    known = cells.done.filter(before).with_columns(pl.col("revenue").cast(pl.Float64)).select(*KEYS, "age", "revenue")
    ages = pl.DataFrame({"age": range(cells.spec.horizon_days + 1)}, schema={"age": pl.Int32})
    whole = expected.filter(pl.col("missing") == 0).with_columns(pl.selectors.numeric().cast(pl.Float64))
    days = cells.cohorts.filter(pl.col("acquired") > 0, pl.col("acquired_on") < as_of).join(whole, on=KEYS, how="left")
    # All entities of a day may have been acquired again later: nothing more is expected of that day.
    gone = cells.cohorts.join(expected, on=KEYS, how="anti").select(*KEYS, is_gone=True)
    days = days.join(gone, on=KEYS, how="left").with_columns(
        pl.when("is_gone").then(0.0).otherwise(pl.col(name)).alias(name)
        for n in horizons
        for name in (f"coming_{n}", f"variance_{n}")
    )
    dense = days.join(ages, how="cross").join(known, on=[*KEYS, "age"], how="left").sort(*KEYS, "age")
    ahead = (pl.col("acquired_on") + pl.duration(days=pl.col("age")) - as_of).dt.total_days() + 1
    return dense.select(
        *KEYS,
        "age",
        base=pl.col("revenue").fill_null(0.0).cum_sum().over(KEYS),
        is_ahead=ahead > 0,
        coming=_line(ahead, "coming", horizons),
        variance=_line(ahead, "variance", horizons),
    ).filter(pl.col("coming").is_not_null())


def _line(ahead: pl.Expr, name: str, horizons: list[int]) -> pl.Expr:
    """Zero up to the day of prediction, straight lines through the sums at each horizon, null beyond the last."""
    line: pl.Expr = pl.lit(None, dtype=pl.Float64)
    for lower, upper in reversed(list(zip([0, *horizons[:-1]], horizons, strict=True))):
        start = pl.col(f"{name}_{lower}") if lower else pl.lit(0.0)
        part = start + (pl.col(f"{name}_{upper}") - start) * (ahead - lower) / (upper - lower)
        line = pl.when(ahead <= upper).then(part).otherwise(line)
    return pl.when(ahead <= 0).then(0.0).otherwise(line)


def _margin_share(cells: Cells) -> pl.DataFrame:
    """The part of revenue that is margin: declared, or what it was in each channel so far, or in all together."""
    spec = cells.spec
    channels = cells.cohorts.select(pl.col("channel").unique())
    if spec.margin is None:
        return channels.with_columns(share=pl.lit(spec.margin_share or 1.0))
    money = [pl.col("revenue", "margin").sum().cast(pl.Float64)]
    of_all = cells.done.select(money).select(pl.col("margin") / pl.col("revenue")).item() if cells.done.height else 0.0
    of_each = cells.done.group_by("channel").agg(money).filter(pl.col("revenue") > 0)
    of_each = of_each.select("channel", share=pl.col("margin") / pl.col("revenue"))
    return channels.join(of_each, on="channel", how="left").with_columns(pl.col("share").fill_null(of_all))


def predicted_on(warehouse: Warehouse, cells: Cells) -> date | None:
    """The last day that the predictions used knew; None without any."""
    as_of, _ = _latest(warehouse, cells)
    return None if as_of is None else as_of - ONE_DAY
