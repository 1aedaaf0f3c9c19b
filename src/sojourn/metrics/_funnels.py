"""Raw rows of the days concerned come in, once; how far each entity got in a funnel goes out, period by period."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from sojourn.core import fingerprint, progress
from sojourn.metrics import _state as state
from sojourn.metrics._counted import UNKNOWN, Counted, kept
from sojourn.metrics._periods import Period, start_of, start_sql
from sojourn.metrics._publish import finished, place_of
from sojourn.metrics.catalogue import GRAINS, Grain
from sojourn.metrics.spec import BoardSpec, FunnelSpec
from sojourn.rollups import AggregateSpec, Definition, RollupSpec, define
from sojourn.rollups.grains import ONE_DAY
from sojourn.rollups.lifting import source_rows
from sojourn.warehouse import Warehouse

ROWS, REACHED = "_metric_rows", "_metric_reached"
# Periods that are read together: a day's limit reaches into the days after it, which are then read once.
BATCH_DAYS = 40


def publish_funnels(found: Counted, days: Sequence[date], last: date, *, stands: bool) -> None:
    """Write the funnels of the periods that touch these days, where missing or stale, as known by the end of `last`.

    Days are published while entities still have time, and marked as not mature; weeks and months once all had.
    `stands` says that the state after `last` is at hand already.
    """
    if not found.board.funnels:
        return
    periods = [period for grain in GRAINS for period in _wanted(found, grain, days, last)]
    if not periods:
        return
    if not stands:
        _stand(found, last)
    _write(found, sorted(periods, key=lambda period: (period.start, period.end)), last)


def _wanted(found: Counted, grain: Grain, days: Sequence[date], last: date) -> list[Period]:
    week_start = found.found.definition.first_weekday
    reach = max(map(_days, found.board.funnels.values()))
    early = max(days[0] - timedelta(days=reach), found.first)
    touched = [early + number * ONE_DAY for number in range((last - early).days + 1)]
    starts = sorted({start_of(day, grain, week_start=week_start) for day in touched})
    periods = [Period(grain, start, min(Period(grain, start, start).end - ONE_DAY, last)) for start in starts]
    if grain != "day":
        longest = max(found.board.funnels.values(), key=_days)
        periods = [each for each in periods if _is_mature(each, longest, last)]
    of_grain = {str(each.start) for each in periods}
    infos = found.warehouse.partitions(
        found.board.funnels_table, keep=lambda at: at["grain"] == grain and at["start"] in of_grain
    )
    stored = {info.partition["start"]: info.fingerprint for info in infos}
    return [each for each in periods if stored.get(str(each.start)) != _mark(found, each, last)]


def _days(funnel: FunnelSpec) -> int:
    """How many days after its first row an entity may still go on; a day of 25 hours does not make it one less."""
    return -(-(funnel.within_hours + 1) // 24)


def _seen(period: Period, funnel: FunnelSpec, last: date) -> date:
    """The last closed day whose rows the period's funnel sees."""
    return min(period.end - ONE_DAY + timedelta(days=_days(funnel)), last)


def _is_mature(period: Period, funnel: FunnelSpec, last: date) -> bool:
    return period.end - ONE_DAY + timedelta(days=_days(funnel)) <= last


def _mark(found: Counted, period: Period, last: date) -> str:
    marks = (
        f"{name} {funnel.fingerprint} {found.marks[_seen(period, funnel, last)]} {_is_mature(period, funnel, last)}"
        for name, funnel in sorted(found.board.funnels.items())
    )
    return found.sealed(found.board.funnels_table, fingerprint("funnels", *marks))


def _write(found: Counted, periods: list[Period], last: date) -> None:
    order = ["funnel", *found.board.dims, "step"]
    table = found.board.funnels_table
    with found.warehouse.writing(table) as writer, progress(f"funnels {found.board.name}", total=len(periods)) as done:
        for batch in _batches(periods):
            for number, name in enumerate(found.board.funnels):
                _read(found, name, batch, last)
                for grain in {period.grain for period in batch}:
                    of_grain = [period for period in batch if period.grain == grain]
                    _reach(found, name, of_grain, last, into=f"{REACHED}_{grain}_{number}")
            for period in batch:
                query, mark = _query(found, period, last), _mark(found, period, last)
                writer.put(place_of(period), query, order_by=order, fingerprint=mark)
                done(1)


def _query(found: Counted, period: Period, last: date) -> str:
    parts = []
    for number, (name, funnel) in enumerate(found.board.funnels.items()):
        rows = (
            f"SELECT '{name}' AS funnel, * EXCLUDE (start) FROM {REACHED}_{period.grain}_{number} "
            f"WHERE start = DATE '{period.start}'"
        )
        mature = "true" if _is_mature(period, funnel, last) and period.start >= found.first else "false"
        parts.append(finished(found, rows, beside=("funnel", "step", "step_name"), is_ratio=True, mature=mature))
    return " UNION ALL ".join(parts)


def _stand(found: Counted, last: date) -> None:
    stored = state.stored_state(found, last + ONE_DAY)
    if stored is not None:
        state.load(found, stored)
    else:
        state.leap(found, last)


def _batches(periods: list[Period]) -> Iterator[list[Period]]:
    """Periods in order of their start, as many together as end within `BATCH_DAYS` of the first's start."""
    batch: list[Period] = []
    for period in periods:
        if batch and (period.end - batch[0].start).days > BATCH_DAYS:
            yield batch
            batch = []
        batch.append(period)
    yield batch


def funnel_definition(warehouse: Warehouse, board: BoardSpec, name: str) -> Definition:
    """The steps of a funnel bound to the board's source; the first error in any of them is raised as a rollup's is."""
    steps = {
        f"step_{step.name}": AggregateSpec(function="first", expression="ts", where=step.where)
        for step in board.funnels[name].steps
    }
    if board.exclude is not None:
        steps["board_excludes"] = AggregateSpec(function="count", where=board.exclude)
    return define(
        warehouse,
        RollupSpec(
            name=f"funnel_{name}", source=board.source, keys=(board.entity,), aggregates=steps, windows_days=(1,)
        ),
    )


def _read(found: Counted, name: str, periods: list[Period], last: date) -> None:
    """Table `ROWS`: the rows of any step on the days concerned.

    `us` is a row's instant, and `place` where it stands in the order of instants, which no two rows share: it ends in a
    hash of the row's id. Whole numbers are compared at half the cost of an instant and a text.
    """
    funnel, entity = found.board.funnels[name], found.entity
    until = max(_seen(period, funnel, last) for period in periods)
    days = [day for day in found.found.days(periods[0].start, until + ONE_DAY) if day in found.found.source]
    # Where all of the days are holes, any other day's rows serve: none of them begins in these periods.
    source = source_rows(
        found.warehouse, funnel_definition(found.warehouse, found.board, name), days or [found.found.every_day[0]]
    )
    steps = ", ".join(f"coalesce(({step.where}), false) AS s{at}" for at, step in enumerate(funnel.steps, 1))
    counts = f" AND ({kept(found.board)})" if found.board.exclude else ""
    any_step = " OR ".join(f"s{at}" for at in range(1, len(funnel.steps) + 1))
    rows = f"SELECT {entity} AS who, day, ts, event_id, {steps} FROM {source} WHERE {entity} IS NOT NULL{counts}"
    at = f"CAST(us AS HUGEINT) * {1 << 60} + (hash(event_id) >> 4) AS place"
    found.warehouse.engine.run(
        f"CREATE OR REPLACE TEMP TABLE {ROWS} AS SELECT * EXCLUDE (event_id), {at} FROM "
        f"(SELECT * EXCLUDE (ts), epoch_us(ts) AS us FROM ({rows})) WHERE {any_step}"
    )


def _reach(found: Counted, name: str, periods: list[Period], last: date, *, into: str) -> None:
    """Table `into`: for each of these periods of one grain, combination of dimensions and step how many reached it."""
    funnel = found.board.funnels[name]
    start = start_sql("day", periods[0].grain, week_start=found.found.definition.first_weekday)
    starts = ", ".join(f"DATE '{period.start}'" for period in periods)
    begun = f"SELECT who, {start} AS start, us, place FROM {ROWS} WHERE s1"
    first = f"SELECT who, start, min(us) AS began, min(us) AS us, min(place) AS place FROM ({begun})"
    tables = [
        f"at1 AS MATERIALIZED ({first} WHERE start IN ({starts}) GROUP BY who, start)",
        *(_next(at, funnel) for at in range(2, len(funnel.steps) + 1)),
    ]
    found.warehouse.engine.run(
        f"CREATE OR REPLACE TEMP TABLE {into} AS WITH {', '.join(tables)} {_counts(found, funnel, periods, last)}"
    )


def _next(at: int, funnel: FunnelSpec) -> str:
    limit_us = funnel.within_hours * 3_600_000_000
    later = f"r.us >= b.us AND r.place <> b.place AND r.us <= b.began + {limit_us}"
    return (
        f"at{at} AS MATERIALIZED (SELECT b.who, b.start, b.began, min(r.us) AS us, min(r.place) AS place "
        f"FROM at{at - 1} AS b JOIN {ROWS} AS r ON r.who = b.who AND r.s{at} AND {later} "
        f"GROUP BY b.who, b.start, b.began)"
    )


def _counts(found: Counted, funnel: FunnelSpec, periods: list[Period], last: date) -> str:
    """Entities of each step by dimensions, as these were known by the last day that the period sees."""
    names = "".join(f", {name}" for name in found.dims)
    dims = "".join(f", coalesce(e.{name}, '{UNKNOWN}') AS {name}" for name in found.dims)
    own = "".join(f", k.{name}" for name in found.dims)
    same = "".join(f" AND c.{name} = k.{name}" for name in found.dims)
    reached = " UNION ALL ".join(
        f"SELECT {at} AS step, who, start FROM at{at}" for at in range(1, len(funnel.steps) + 1)
    )
    seen = ", ".join(f"(DATE '{period.start}', DATE '{_seen(period, funnel, last)}')" for period in periods)
    known = f"SELECT {found.entity} AS who{names}, left_out, first_day FROM {state.STATE} WHERE first_day IS NOT NULL"
    placed = (
        f"SELECT r.start, r.step{dims} FROM ({reached}) AS r JOIN (VALUES {seen}) AS p(start, seen) "
        f"ON p.start = r.start LEFT JOIN ({known}) AS e ON e.who = r.who AND e.first_day <= p.seen "
        f"WHERE NOT coalesce(e.left_out, false)"
    )
    every = ", ".join(f"({at}, '{step.name}')" for at, step in enumerate(funnel.steps, 1))
    first = f"max(c.numerator) FILTER (c.step = 1) OVER (PARTITION BY k.start{own})"
    return (
        f", counted AS MATERIALIZED (SELECT start, step{names}, count(*) AS numerator FROM ({placed}) GROUP BY ALL) "
        f"SELECT k.start{own}, s.step, s.step_name, coalesce(c.numerator, 0) AS numerator, {first} AS denominator "
        f"FROM (SELECT DISTINCT start{names} FROM counted) AS k CROSS JOIN (VALUES {every}) AS s(step, step_name) "
        f"LEFT JOIN counted AS c ON c.start = k.start AND c.step = s.step{same}"
    )
