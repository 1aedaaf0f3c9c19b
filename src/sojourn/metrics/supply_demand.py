"""The log of a two-sided market comes in; supply, demand and how much of it was served, by place and hour, go out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl
from pydantic import Field

from sojourn.core import BadInput, BadSpec, EngineError, Spec, fingerprint
from sojourn.metrics._cohort_curves import period_end, period_start
from sojourn.metrics._log import ONE_DAY, Log, open_log
from sojourn.metrics._partitions import EXACT, publish
from sojourn.metrics.catalogue import GRAINS, MetricSpec
from sojourn.warehouse import Warehouse

HOURS = "metric_market_hours"
SIDES = ("supply", "demand", "served")


class SupplyDemandSpec(Spec):
    """Which rows of table `events` are supply, demand and demand that was served, in which place.

    `place` is a SQL expression over a row (a column such as `city`); `supply`, `demand` and `served` are conditions.
    Supply counts `supply_hours` of each of its rows (SQL: hours that somebody was there), the others count rows. The
    hour is that of the row's `ts` in the warehouse's zone, so the row of what was served must lie in the hour of what
    was asked.

    >>> SupplyDemandSpec(supply="event = 'online'", demand="event = 'request'", served="event = 'trip'").place
    'city'
    """

    name: str = Field(default="market", pattern=r"^[a-z][a-z0-9_]*$")
    place: str = "city"
    supply: str
    supply_hours: str = "1"
    demand: str
    served: str


def supply_demand_from(settings: Mapping[str, Any]) -> SupplyDemandSpec:
    """What section `[supply_demand]` declares. Raises `BadSpec` without one: what is supply, nobody can guess."""
    section = settings.get("supply_demand")
    if not isinstance(section, Mapping):
        raise BadSpec(
            "Supply and demand are not declared. Add to sojourn.toml: [supply_demand] with supply, demand and served, "
            "each a SQL condition over one event, such as supply = \"event = 'online'\""
        )
    return SupplyDemandSpec(**section)


def _metrics() -> tuple[MetricSpec, ...]:
    of = MetricSpec
    return (
        of(name="supply_hours", title="Supply hours", unit="count", kind="sum", numerator="supply",
           formula="hours that somebody was there to serve"),
        of(name="demand", title="Demand", unit="count", kind="sum", numerator="demand",
           formula="rows that ask for something"),
        of(name="fill_rate", title="Fill rate", unit="share", kind="ratio", numerator="served", denominator="demand",
           formula="demand that was served / demand"),
        of(name="pressure", title="Demand per supply hour", unit="count", kind="ratio", numerator="demand",
           denominator="supply", formula="demand / supply hours"),
        of(name="served_per_hour", title="Served per supply hour", unit="count", kind="ratio", numerator="served",
           denominator="supply", formula="demand that was served / supply hours"),
    )  # fmt: skip


MARKET_METRICS: dict[str, MetricSpec] = {each.name: each for each in _metrics()}


@dataclass(frozen=True)
class SupplyDemandReport:
    """The days counted, and the metric partitions written and found current."""

    days: tuple[date, ...]
    written: int
    current: int


def write_supply_demand(
    warehouse: Warehouse, spec: SupplyDemandSpec, *, as_of: date | None = None
) -> SupplyDemandReport:
    """Bring the tables of `MARKET_METRICS` up to the last day before `as_of` (default: of the log).

    `metric_market_hours` has one partition a day, counted again only when that day's log has changed; days, weeks and
    months of the metrics are sums of it. Their dimensions are `place` and `hour` ('00' to '23'). Rows without a place
    are of place 'unknown'. Raises `MissingTable`, `MissingColumn`, `BadInput`.
    """
    log = open_log(warehouse, as_of=as_of)
    days = _count_days(log, spec)
    places = [{"board": spec.name, "day": str(day)} for day in log.days]
    hours = warehouse.engine.frame(
        f"SELECT day, place, hour, supply, demand, served FROM {warehouse.relation(HOURS, only=places)}"
    )
    first, end = min(log.days), max(log.days) + ONE_DAY
    tables = supply_demand_tables(hours, week_start=warehouse.spec.week_start)
    written = current = 0
    for name, table in tables.items():
        rows = table.with_columns(mature=(pl.col("start") >= first) & (pl.col("end") <= end)).drop("end")
        new, old = publish(warehouse, f"metric_{name}", rows, board=spec.name, declared=spec)
        written, current = written + new, current + old
    return SupplyDemandReport(tuple(days), written, current)


def supply_demand_tables(hours: pl.DataFrame, *, week_start: str) -> dict[str, pl.DataFrame]:
    """Every metric by name from `day, place, hour, supply, demand, served`: by grain, start, place and hour."""
    found: dict[str, list[pl.DataFrame]] = {name: [] for name in MARKET_METRICS}
    for grain in GRAINS:
        start = period_start(pl.col("day"), grain=grain, week_start=week_start).alias("start")
        summed = hours.group_by(start, "place", "hour").agg(pl.col(*SIDES).sum().cast(EXACT))
        for metric in MARKET_METRICS.values():
            top, bottom = pl.col(metric.numerator), pl.col(metric.denominator) if metric.denominator else None
            quotient = (
                top if bottom is None else pl.when(bottom != 0).then(top.cast(pl.Float64) / bottom.cast(pl.Float64))
            )
            found[metric.name].append(
                summed.select(
                    pl.lit(grain).alias("grain"),
                    "start",
                    "place",
                    "hour",
                    value=quotient.cast(pl.Float64),
                    numerator=top,
                    denominator=pl.lit(None, EXACT) if bottom is None else bottom,
                    end=period_end(pl.col("start"), grain=grain),
                ).sort("start", "place", "hour")
            )
    return {name: pl.concat(tables) for name, tables in found.items()}


def _count_days(log: Log, spec: SupplyDemandSpec) -> list[date]:
    """Count the days whose log has changed since, and drop those that are gone; the days counted."""
    query = _query(log, spec)
    with log.warehouse.writing(HOURS) as writer:
        stored = {
            date.fromisoformat(info.partition["day"]): info.fingerprint
            for info in log.warehouse.partitions(HOURS, keep=lambda place: place["board"] == spec.name)
        }
        for day in sorted(set(stored) - set(log.days)):
            if day < max(log.days):
                writer.drop({"board": spec.name, "day": str(day)})
        wanted = {
            day: fingerprint("hours", spec.to_json(), log.warehouse.spec.zone, mark) for day, mark in log.days.items()
        }
        stale = [day for day, mark in wanted.items() if stored.get(day) != mark]
        for day in stale:
            rows = query.replace("{log}", log.rows([day]))
            place = {"board": spec.name, "day": str(day)}
            try:
                writer.put(place, rows, order_by=["place", "hour"], fingerprint=wanted[day])
            except EngineError as fault:
                raise BadInput(f"supply and demand: day {day} cannot be counted: {fault}") from fault
    return stale


def _query(log: Log, spec: SupplyDemandSpec) -> str:
    """SQL for one day's counts, with `{log}` where its rows come from."""
    where = f"supply and demand of board {spec.name!r}"
    place = log.usable(f"CAST({spec.place} AS STRING)", where=f"{where}: place")
    conditions = {name: log.usable(getattr(spec, name), where=f"{where}: {name}") for name in SIDES}
    hours = log.usable(f"CAST({spec.supply_hours} AS DECIMAL(18,4))", where=f"{where}: supply_hours")
    supplied = f"CAST(coalesce(sum(CASE WHEN {conditions['supply']} THEN {hours} END), 0) AS DECIMAL(38,4)) AS supply"
    counted = [f"count(CASE WHEN {conditions[name]} THEN 1 END) AS {name}" for name in ("demand", "served")]
    hour = f"lpad(CAST({log.sql.local_hour('ts', log.warehouse.spec.zone)} AS STRING), 2, '0')"
    return (
        f"SELECT coalesce({place}, 'unknown') AS place, {hour} AS hour, {supplied}, {', '.join(counted)} "
        f"FROM {{log}} AS r WHERE {' OR '.join(conditions.values())} GROUP BY 1, 2"
    )
