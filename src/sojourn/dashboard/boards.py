"""Metric tables as the pages read them: summed over the dimensions that are not asked for, between two days."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput, MissingTable
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import Grain
from sojourn.warehouse import Warehouse

BESIDE = ("cohort", "age", "state", "bracket", "step", "step_name")
OTHERS = {*BESIDE, "board", "grain", "start", "value", "numerator", "denominator", "mature"}


def grain_of(reader: Reader, filters: Filters) -> Grain:
    """The grain that is shown."""
    return filters.grain or reader.spec.grain


def metric(
    reader: Reader, name: str, filters: Filters, *, by: Sequence[str] = (), grain: Grain | None = None, ever: bool = False
) -> pl.DataFrame:
    """A metric's figures by `start` and `by`, sorted: `value`, `numerator`, `denominator`, `mature`.

    Summed over every dimension that `by` does not name, of the rows that the filters let through. The value of a metric
    without a denominator is its numerator, 0 / 0 is null; a figure is mature when all its parts are. `ever` reads every
    period, whatever the dates.

    Raises `MissingTable` for a metric that the board has not published, `BadInput` for a filter or `by` that is not
    among its dimensions, and for dates without a figure.
    """
    grain = grain or grain_of(reader, filters)
    held = _held(reader, name, grain)
    where, params = _where(reader, name, filters, held=held)
    if not ever:
        first, last = span(reader, filters, grain=grain, name=name)
        where = [*where, "start BETWEEN $first AND $last"]
        params |= {"first": first, "last": last}
    _check_by(by, _columns(reader, held), name)
    keys = ", ".join(["start", *(f'"{column}"' for column in by)])
    sql = (
        f"SELECT {keys}, CASE WHEN n_denominators = 0 THEN numerator ELSE numerator / nullif(denominator, 0) END AS value, "
        f"numerator, denominator, mature FROM (SELECT {keys}, sum(numerator)::DOUBLE AS numerator, "
        f"sum(denominator)::DOUBLE AS denominator, count(denominator) AS n_denominators, bool_and(mature) AS mature "
        f"FROM {held} WHERE {' AND '.join(where) or 'true'} GROUP BY ALL) ORDER BY {keys}"
    )
    return reader.asked(sql, stamps=[reader.stamp(f"metric_{name}")], params=params)


def published(reader: Reader, name: str) -> bool:
    """Whether the board has this metric at all."""
    return any(place.get("board") == reader.spec.board for place in _places(reader, name))


def span(reader: Reader, filters: Filters, *, grain: Grain, name: str = "active_users") -> tuple[date, date]:
    """The starts of a metric's first and last period that the filters let through, of those that there are.

    Without dates: the latest periods that have figures, as many as the dashboard declares. Raises `MissingTable` for a
    warehouse without metrics and `BadInput` for dates without a figure.
    """
    starts = _starts(reader, grain, name)
    begin, end = filters.start, filters.end
    found = [day for day in starts if (end is None or day <= end) and (begin is None or _after(day, grain) > begin)]
    if not found:
        raise BadInput(
            f"There is no figure between {begin or starts[0]} and {end or starts[-1]}: the metrics begin on {starts[0]} "
            f"and end with the {grain} of {starts[-1]}. Choose dates between them."
        )
    return (found[0] if begin else found[-min(len(found), reader.spec.periods(grain))]), found[-1]


def last_closed_day(reader: Reader) -> date:
    """The last day that has figures. Raises `MissingTable`."""
    return _starts(reader, "day", "active_users")[-1]


def dimension_values(reader: Reader) -> dict[str, list[str]]:
    """Every dimension of the board with its values, the most frequent first; empty without metrics."""
    if not published(reader, "new_users"):
        return {}
    held = _held(reader, "new_users", "month")
    dims = [name for name in _columns(reader, held) if name not in OTHERS]
    stamps = [reader.stamp("metric_new_users")]
    return {
        dim: reader.asked(
            f'SELECT "{dim}" AS value FROM {held} GROUP BY 1 ORDER BY sum(numerator) DESC, 1', stamps=stamps
        )["value"].to_list()
        for dim in dims
    }


def _held(reader: Reader, name: str, grain: Grain) -> str:
    table = f"metric_{name}"
    board = reader.spec.board
    places = [place for place in _places(reader, name) if (place["board"], place["grain"]) == (board, grain)]
    if not places:
        raise MissingTable(
            f"Board {board!r} has no metric {name!r} by {grain} yet. Make it: sojourn metrics backfill"
        )
    drop = "board, grain"

    def query() -> str:
        return f"SELECT * EXCLUDE ({drop}) FROM {reader.warehouse.relation(table, only=places)}"

    return reader.held(f"{table}/{grain}", tables=[table], query=query)


def _places(reader: Reader, name: str) -> list[dict[str, str]]:
    table = f"metric_{name}"
    warehouse: Warehouse = reader.warehouse
    return reader.kept(f"places/{table}", tables=[table], make=lambda: warehouse.places(table))


def _starts(reader: Reader, grain: Grain, name: str) -> list[date]:
    board = reader.spec.board
    found = [
        date.fromisoformat(place["start"])
        for place in _places(reader, name)
        if (place["board"], place["grain"]) == (board, grain)
    ]
    if not found:
        raise MissingTable(f"Board {board!r} has no metric {name!r} by {grain} yet. Make it: sojourn metrics backfill")
    return sorted(found)


def _columns(reader: Reader, held: str) -> list[str]:
    return list(reader.warehouse.engine.columns(f"SELECT * FROM {held}"))


def _where(reader: Reader, name: str, filters: Filters, *, held: str) -> tuple[list[str], dict[str, object]]:
    wanted = filters.conditions(channel=reader.spec.channel)
    if not wanted:
        return [], {}
    _check_by(list(wanted), _columns(reader, held), name)
    params: dict[str, object] = {f"dim{at}": value for at, value in enumerate(wanted.values())}
    return [f'"{dim}" = $dim{at}' for at, dim in enumerate(wanted)], params


def _check_by(by: Sequence[str], columns: Sequence[str], name: str) -> None:
    missing = [dim for dim in by if dim not in columns]
    if missing:
        dims = [column for column in columns if column not in OTHERS]
        raise BadInput(
            f"Metric {name!r} is not told by {missing[0]!r}; its dimensions are {dims or 'none'}. Declare it in "
            "[metrics.boards] and run: sojourn metrics backfill"
        )


def _after(day: date, grain: Grain) -> date:
    """The first day after the period that starts on this day."""
    if grain == "month":
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timedelta(days=7 if grain == "week" else 1)
