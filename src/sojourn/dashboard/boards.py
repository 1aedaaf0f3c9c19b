"""Metric tables as the pages read them: summed over the dimensions that are not asked for, between two days."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput, MissingTable
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.homes import CATALOGUE, FUNNEL, dims_of_metric, held_of, home_of, is_ratio, places_of, rows_of
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import Grain

GRAINS: tuple[Grain, ...] = ("day", "week", "month")
PARTS = ("cohort", "age", "state", "bracket", "step", "step_name")


def grain_of(reader: Reader, filters: Filters) -> Grain:
    """The grain that is shown."""
    return filters.grain or reader.spec.grain


def metric(
    reader: Reader,
    name: str,
    filters: Filters,
    *,
    by: Sequence[str] = (),
    grain: Grain | None = None,
    ever: bool = False,
) -> pl.DataFrame:
    """A metric's figures by `start` and `by`, sorted: `value`, `numerator`, `denominator`, `mature`.

    `by` names dimensions and parts (`cohort`, `age`, `state`, `bracket`, `step`). Summed over everything else, of the
    rows that the filters let through; the value of a ratio is the quotient of the sums, null over zero, and any other's
    the numerator. A figure is mature when all it is made of is. `ever` reads every period, whatever the dates.

    Raises `MissingTable` for a metric that the board has not published, `BadInput` for a filter or `by` that is not
    among its dimensions, and for dates without a figure.
    """
    grain = grain or grain_of(reader, filters)
    dims = dims_of_metric(reader, name, grain=grain)
    wanted = filters.conditions(channel=reader.spec.channel)
    _check_dims([*wanted, *(each for each in by if each not in PARTS)], dims, name)
    _check_parts([each for each in by if each in PARTS], reader, name, grain)
    params: dict[str, object] = {f"dim{at}": value for at, value in enumerate(wanted.values())}
    where = [f'"{dim}" = $dim{at}' for at, dim in enumerate(wanted)]
    if not ever:
        first, last = span(reader, filters, grain=grain, name=name)
        where = [*where, "start BETWEEN $first AND $last"]
        params |= {"first": first, "last": last}
    keys = ", ".join(["start", *(f'"{column}"' for column in by)])
    value = "numerator / nullif(denominator, 0)" if is_ratio(name) else "numerator"
    sql = (
        f"SELECT {keys}, {value} AS value, numerator, denominator, mature FROM (SELECT {keys}, "
        f"sum(numerator)::DOUBLE AS numerator, sum(denominator)::DOUBLE AS denominator, bool_and(mature) AS mature "
        f"FROM {rows_of(reader, name, grain=grain)} WHERE {' AND '.join(where) or 'true'} GROUP BY ALL) ORDER BY {keys}"
    )
    return reader.asked(sql, stamps=[reader.stamp(home_of(name, board=reader.spec.board).table)], params=params)


def published(reader: Reader, name: str) -> bool:
    """Whether the board has this metric at all."""
    places = places_of(reader, name)
    if not places:
        return False
    home = home_of(name, board=reader.spec.board)
    if home.where is None or home.is_cohorts:
        return True
    told: tuple[Grain, ...] = GRAINS if name.startswith(FUNNEL) else CATALOGUE[name].grains
    there = {place["grain"] for place in places}
    # The longest grain has the fewest files.
    grain = next((grain for grain in reversed(GRAINS) if grain in told and grain in there), None)
    if grain is None:
        return False
    held = held_of(reader, name, grain=grain)
    names = reader.asked(
        f"SELECT DISTINCT {home.where.split()[0]} AS name FROM {held}", stamps=[reader.stamp(home.table)]
    )
    return home.where.rpartition(" = ")[2].strip("'") in names["name"].to_list()


def funnels(reader: Reader) -> list[str]:
    """The names of the funnels that the board has published."""
    table = f"metric_funnels_{reader.spec.board}"
    places = reader.kept(f"places/{table}", tables=[table], make=lambda: reader.warehouse.places(table))
    if not places:
        return []
    grain = next(each for each in reversed(GRAINS) if any(place["grain"] == each for place in places))
    held = held_of(reader, "funnel_", grain=grain)
    return reader.asked(f"SELECT DISTINCT funnel FROM {held} ORDER BY 1", stamps=[reader.stamp(table)])[
        "funnel"
    ].to_list()


def span(reader: Reader, filters: Filters, *, grain: Grain, name: str = "active_users") -> tuple[date, date]:
    """The starts of a metric's first and last period that the filters let through, of those that there are.

    Without dates: the latest periods that have figures, as many as the dashboard declares. Raises `MissingTable` for a
    warehouse without metrics and `BadInput` for dates without a figure.
    """
    starts = [date.fromisoformat(place["start"]) for place in places_of(reader, name, grain=grain)]
    if not starts:
        raise MissingTable(
            f"Board {reader.spec.board!r} has no metric {name!r} by {grain} yet. Make it: sojourn metrics backfill"
        )
    begin, end = filters.start, filters.end
    found = [day for day in starts if (end is None or day <= end) and (begin is None or _after(day, grain) > begin)]
    if not found:
        raise BadInput(
            f"There is no figure between {begin or starts[0]} and {end or starts[-1]}: the "
            f"metrics begin on {starts[0]} "
            f"and end with the {grain} of {starts[-1]}. Choose dates between them."
        )
    return (found[0] if begin else found[-min(len(found), reader.spec.periods(grain))]), found[-1]


def dimension_values(reader: Reader) -> dict[str, list[str]]:
    """Every dimension of the board with its values, those with most new users first; empty without metrics."""
    if not published(reader, "new_users"):
        return {}
    rows = rows_of(reader, "new_users", grain="month")
    stamps = [reader.stamp(home_of("new_users", board=reader.spec.board).table)]
    return {
        dim: reader.asked(
            f'SELECT "{dim}" AS value FROM {rows} GROUP BY 1 ORDER BY sum(numerator) DESC, 1', stamps=stamps
        )["value"].to_list()
        for dim in dims_of_metric(reader, "new_users", grain="month")
    }


def _check_dims(wanted: Sequence[str], dims: Sequence[str], name: str) -> None:
    missing = [dim for dim in wanted if dim not in dims]
    if missing:
        raise BadInput(
            f"Metric {name!r} is not told by {missing[0]!r}; its dimensions are "
            f"{list(dims) or 'none'}. Clear that filter, "
            "or declare it in [metrics.boards] and run: sojourn metrics backfill"
        )


def _check_parts(wanted: Sequence[str], reader: Reader, name: str, grain: Grain) -> None:
    if home_of(name, board=reader.spec.board).is_cohorts:
        return
    found = reader.columns(held_of(reader, name, grain=grain))
    if missing := [part for part in wanted if part not in found]:
        raise MissingTable(
            f"Metric {name!r} of board {reader.spec.board!r} is there without {missing[0]!r}. Make it: sojourn metrics "
            "backfill"
        )


def _after(day: date, grain: Grain) -> date:
    """The first day after the period that starts on this day."""
    if grain == "month":
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timedelta(days=7 if grain == "week" else 1)
