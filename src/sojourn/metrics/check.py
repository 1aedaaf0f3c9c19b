"""A board's tables come in; what must hold of every metric, and whether it does, goes out."""

from collections.abc import Callable, Sequence
from datetime import date

from sojourn.metrics import _state as state
from sojourn.metrics._counted import UNKNOWN, Counted, counted_as_is, kept
from sojourn.metrics._publish import values_mark
from sojourn.metrics.catalogue import GRAINS, Grain
from sojourn.metrics.spec import BoardSpec
from sojourn.metrics.tables import day_after_last, metric_relation
from sojourn.rollups import Check
from sojourn.rollups.findings import some, told
from sojourn.rollups.grains import ONE_DAY
from sojourn.rollups.lifting import source_rows
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier

MEND = "Make it anew: sojourn metrics backfill"


def check_board(warehouse: Warehouse, board: BoardSpec, *, recount: int = 3) -> list[Check]:
    """Every check of one board. Nothing is written.

    - *current*: every day was made from what the source holds now;
    - *lifecycle*: active = new + returning + resurrected; active before = returning + dormant;
    - *parts*: no numerator above its denominator where the metric is a share of it, no cell above its cohort;
    - *periods*: sums of weeks and months are those of their days;
    - *recount*: active users, events and revenue of the last `recount` days, counted from raw rows by plain SQL;
    - *portraits*: entities whose portrait came or changed after it was read (a note).

    Raises `MissingTable` before the first backfill, and what a backfill raises.
    """
    end = day_after_last(warehouse, board)
    found = counted_as_is(warehouse, board, end=end)
    steps: list[Callable[[], Check]] = [
        lambda: _current(found),
        lambda: _lifecycle(found),
        lambda: _parts(found),
        lambda: _periods(found),
        lambda: _recounted(found, [end - number * ONE_DAY for number in range(1, recount + 1)]),
        lambda: _portraits(found, end),
    ]
    return [step() for step in steps]


def _current(found: Counted) -> Check:
    table = found.board.values_table
    infos = found.warehouse.partitions(table, keep=lambda place: place["grain"] == "day")
    wrong = []
    for info in infos:
        day = date.fromisoformat(info.partition["start"])
        if day not in found.marks or values_mark(found, found.marks[day]) != info.fingerprint:
            wrong.append(f"{day} was made from other rows or another definition than there are now. {MEND}")
    return Check("current", table, len(infos), "days", told(wrong))


def _lifecycle(found: Counted) -> Check:
    wrong, looked = [], 0
    for grain in GRAINS:
        dims = "".join(f", {name}" for name in found.dims)
        sums = (
            f'SELECT start{dims}, sum(active) AS now, sum("new" + "returning" + resurrected) AS parts, '
            f'sum("returning" + dormant) AS stayed_or_left FROM {_cohorts(found, grain)} GROUP BY ALL'
        )
        same = "".join(f" AND a.{name} = b.{name}" for name in found.dims)
        before = f"a.start = CAST(b.start + INTERVAL 1 {grain} AS DATE)"
        rows = found.warehouse.engine.rows(
            f"WITH sums AS ({sums}) SELECT a.start, a.now, a.parts, a.stayed_or_left, coalesce(b.now, 0) "
            f"FROM sums AS a LEFT JOIN sums AS b ON {before}{same}"
        )
        looked += len(rows)
        for start, now, parts, stayed_or_left, then in rows:
            if now != parts:
                wrong.append(f"{grain} {start}: {now} active, and {parts} new, returning and resurrected. {MEND}")
            if then != stayed_or_left:
                wrong.append(
                    f"{grain} {start}: {then} active before, and {stayed_or_left} returning and dormant. {MEND}"
                )
    return Check("lifecycle", found.board.cohorts_table, looked, "sums", told(wrong))


def _parts(found: Counted) -> Check:
    wrong, looked = [], 0
    shares = [metric for metric in found.metrics.values() if metric.unit == "share" or metric.name == "cohort_users"]
    for metric in shares:
        for grain in metric.grains:
            if not _has(found, metric.name, grain):
                continue
            relation = metric_relation(found.warehouse, found.board, metric.name, grain=grain)
            [(rows, above)] = found.warehouse.engine.rows(
                f"SELECT count(*), count(*) FILTER (numerator > denominator OR numerator < 0) FROM {relation}"
            )
            looked += rows
            if above:
                wrong.append(f"{metric.name} by {grain}: {above} cells with more than the whole. {MEND}")
    return Check("parts", found.board.values_table, looked, "cells", told(wrong))


def _has(found: Counted, name: str, grain: Grain) -> bool:
    table = {"funnel": found.board.funnels_table, "unbounded": found.board.unbounded_table}
    shape = found.metrics[name].shape
    places = found.warehouse.places(table.get(shape, found.board.values_table))
    return any(place["grain"] == grain for place in places)


def _periods(found: Counted) -> Check:
    names = ("events", "sessions", "purchases", "revenue", "margin", "active_days", '"new"')
    sums = ", ".join(f"sum({name})" for name in names)
    wrong, looked = [], 0
    for grain in GRAINS[1:]:
        for place in found.warehouse.places(found.board.cohorts_table):
            if place["grain"] != grain:
                continue
            looked += 1
            start = date.fromisoformat(place["start"])
            whole = found.warehouse.relation(found.board.cohorts_table, only=[place])
            ends = f"CAST(DATE '{start}' + INTERVAL 1 {grain} AS DATE)"
            days = f"{_cohorts(found, 'day')} WHERE start >= DATE '{start}' AND start < {ends}"
            [left] = found.warehouse.engine.rows(f"SELECT {sums} FROM {whole}")
            [right] = found.warehouse.engine.rows(f"SELECT {sums} FROM {days}")
            if left != right:
                what = some(name for name, one, other in zip(names, left, right, strict=True) if one != other)
                wrong.append(f"{grain} {start}: {what} are not the sums of its days. {MEND}")
    return Check("periods", found.board.cohorts_table, looked, "weeks and months", told(wrong))


def _cohorts(found: Counted, grain: Grain) -> str:
    places = [place for place in found.warehouse.places(found.board.cohorts_table) if place["grain"] == grain]
    return found.warehouse.relation(found.board.cohorts_table, only=places)


def _recounted(found: Counted, days: Sequence[date]) -> Check:
    """By SQL that knows nothing of rollups, states and cohorts."""
    board, wrong = found.board, []
    days = [day for day in days if day in found.found.source]
    left_out = f"SELECT {found.entity} FROM {_newest_state(found)} WHERE left_out"
    for day in days:
        rows = source_rows(found.warehouse, found.found.definition, [day])
        active = board.active or "true"
        counts = f"{found.entity} IS NOT NULL AND ({kept(board) or 'true'}) AND {found.entity} NOT IN ({left_out})"
        money = "0" if board.amount is None else f"coalesce(sum(CAST(({board.amount}) AS DECIMAL(18,4))), 0)"
        [raw] = found.warehouse.engine.rows(
            f"SELECT count(DISTINCT {found.entity}) FILTER ({active}), count(*) FILTER ({active}), {money} "
            f"FROM {rows} WHERE {counts}"
        )
        place = {"grain": "day", "start": str(day)}
        [ours] = found.warehouse.engine.rows(
            f"SELECT coalesce(sum(active), 0), coalesce(sum(events), 0), coalesce(sum(revenue), 0) "
            f"FROM {found.warehouse.relation(board.cohorts_table, only=[place])}"
        )
        if tuple(raw) != tuple(ours):
            wrong.append(f"{day}: {raw} active, rows and revenue by raw rows, and {ours} by the board. {MEND}")
    return Check("recount", board.cohorts_table, len(days), "days", told(wrong))


def _newest_state(found: Counted) -> str:
    places = found.warehouse.places(found.board.state_table)
    return found.warehouse.relation(found.board.state_table, only=places[-1:])


def _portraits(found: Counted, end: date) -> Check:
    board, table = found.board, found.board.state_table
    if not board.portrait_dims and found.flag is None:
        return Check("portraits", table, 0, "entities", skipped="the board takes nothing from portraits")
    stored = _newest_state(found)
    known = f"SELECT {found.entity}, first_day FROM {stored} WHERE first_day IS NOT NULL"
    days = [day for day in found.marks if day < end]
    now = state.portraits_query(found, "known", days=days)
    dims = [identifier(name) for name in board.portrait_dims]
    changed = [f"s.{name} <> coalesce(p.{name}, '{UNKNOWN}')" for name in dims]
    if found.flag is not None:
        changed.append("s.left_out <> coalesce(p.left_out, false)")
    [(looked, others)] = found.warehouse.engine.rows(
        f"WITH known AS ({known}) SELECT count(*), count(*) FILTER ({' OR '.join(changed)}) FROM {stored} AS s "
        f"LEFT JOIN ({now}) AS p ON p.{found.entity} = s.{found.entity} WHERE s.first_day IS NOT NULL"
    )
    note = (
        f"the portraits of {others:,} came or changed after their first active day was closed; their dimensions stay. "
        f"Read them again: sojourn metrics backfill --rebuild"
    )
    return Check("portraits", table, looked, "entities", notes=(note,) if others else ())
