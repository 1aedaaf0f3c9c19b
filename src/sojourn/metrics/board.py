"""Days close one after another: each moves the state on, and publishes its metrics and those of its week and month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sojourn.core import BadInput, progress
from sojourn.metrics import _state as state
from sojourn.metrics._cohorts import make_day, make_longer
from sojourn.metrics._counted import Counted, board_rollup, counted
from sojourn.metrics._funnels import funnel_definition, publish_funnels
from sojourn.metrics._periods import period_of, start_of
from sojourn.metrics._publish import Writers, publish, publish_newest, values_mark
from sojourn.metrics.catalogue import GRAINS
from sojourn.metrics.spec import BoardSpec
from sojourn.rollups import rebuild
from sojourn.rollups.grains import ONE_DAY
from sojourn.warehouse import Warehouse


@dataclass(frozen=True)
class BoardReport:
    """What was done for a board: the days whose metrics were made anew, how many were current, and up to which day.

    `holes` are days within history on which the source has no row: days on which nobody was active.
    """

    board: str
    made: tuple[date, ...]
    current: int
    last: date
    holes: tuple[date, ...] = ()


def advance_board(warehouse: Warehouse, board: BoardSpec, *, day: date) -> BoardReport:
    """Close a business day: its metrics, and those of its week and month so far, as known by the end of that day.

    Days before it that are missing or stale are made too, so that a missed day or a late row leaves no hole. Running it
    again changes nothing. Raises `BadInput` when the source has no row on that day, and as `backfill_board`.
    """
    found = counted(warehouse, board, end=day + ONE_DAY)
    if day not in found.found.source:
        raise BadInput(
            f"Board {board.name!r}: table {board.source!r} has no row on business day {day}; its days are "
            f"{found.found.first} to {found.found.every_day[-1]}. Ingest that day's events first, or name a day that "
            f"has some."
        )
    return _build(found, found.first, day)


def backfill_board(
    warehouse: Warehouse, board: BoardSpec, *, start: date | None = None, end: date | None = None
) -> BoardReport:
    """Make the metrics of business days [start, end) that are missing or stale, and of their weeks and months.

    Without `start` or `end` all history counts; a start within a month means that month's first day or, if that is
    earlier, its week's. Raises `BadInput` for days outside history, and when no row counts as activity.
    """
    if start is not None and end is not None and start >= end:
        raise BadInput(f"No day lies from {start} up to, but without, {end}. Give an earlier start or a later end.")
    found = counted(warehouse, board, end=end or date.max)
    first, last = found.first, found.found.every_day[-1]
    if (start is not None and start > last) or (end is not None and end <= first):
        raise BadInput(
            f"Board {board.name!r}: table {board.source!r} has no row from {start or first} to before {end or last}; "
            f"its days are {first} to {last}. Give days within them."
        )
    if end is None:
        _drop_beyond(found, first, last)
    week_start = found.found.definition.first_weekday
    begins = min(start_of(start, grain, week_start=week_start) for grain in GRAINS) if start else first
    return _build(found, max(begins, first), last if end is None else min(last, end - ONE_DAY))


def rebuild_board(warehouse: Warehouse, board: BoardSpec) -> BoardReport:
    """Make every metric of all history anew, dimensions looked up again: what a corrected portrait asks for."""
    rebuild(warehouse, board_rollup(board))
    found = counted(warehouse, board)
    with Writers(found) as writers:
        for table in (*_published(found), board.state_table):
            writers.drop(table, found.warehouse.places(table))
    return backfill_board(warehouse, board)


def _build(found: Counted, start: date, last: date) -> BoardReport:
    for name in found.board.funnels:
        funnel_definition(found.warehouse, found.board, name)
    days = [start + number * ONE_DAY for number in range((last - start).days + 1)]
    stale = _stale(found, days)
    if stale:
        _chain(found, days[days.index(stale[0]) :])
    publish_funnels(found, days, last, stands=bool(stale))
    made = days[days.index(stale[0]) :] if stale else []
    holes = tuple(found.found.holes(start, last + ONE_DAY))
    return BoardReport(found.board.name, tuple(made), len(days) - len(made), last, holes)


def _stale(found: Counted, days: Sequence[date]) -> list[date]:
    """The days whose values were not made from what is counted now."""
    wanted = set(map(str, days))
    infos = found.warehouse.partitions(
        found.board.values_table, keep=lambda at: at["grain"] == "day" and at["start"] in wanted
    )
    stored = {info.partition["start"]: info.fingerprint for info in infos}
    return [day for day in days if stored.get(str(day)) != values_mark(found, found.marks[day])]


def _chain(found: Counted, days: Sequence[date]) -> None:
    """Move the state through these days, and publish each; the last few states are kept."""
    _stand_before(found, days[0])
    with Writers(found) as writers, progress(f"metrics {found.board.name}", total=len(days)) as done:
        for day in days:
            state.step(found, day)
            _close(found, writers, day, is_last=day == days[-1])
            if (days[-1] - day).days < found.board.keep_states:
                _keep_state(found, writers, day)
            done(1)
        _forget_states(found, writers, days[-1])


def _stand_before(found: Counted, day: date) -> None:
    stored = state.stored_state(found, day)
    if stored is not None:
        state.load(found, stored)
    else:
        state.leap(found, day - ONE_DAY)


def _close(found: Counted, writers: Writers, day: date, *, is_last: bool) -> None:
    """The day's metrics, and those of its week and month where they end with it or it is the last.

    The day's values are written last: as long as they are not current, all of it will be made again.
    """
    week_start = found.found.definition.first_weekday
    today, *longer = (period_of(day, grain, week_start=week_start) for grain in GRAINS)
    make_day(found, today)
    ending = [period for period in longer if period.is_over or is_last]
    for period in ending:
        make_longer(found, period)
    if is_last:
        publish_newest(found, writers, [today, *longer])
    for period in (*ending, today):
        publish(found, writers, period)


def _keep_state(found: Counted, writers: Writers, day: date) -> None:
    names = ", ".join(state.kept_columns(found))
    writers[found.board.state_table].put(
        {"as_of": str(day + ONE_DAY)},
        f"SELECT {names} FROM {state.STATE}",
        order_by=[found.board.entity],
        fingerprint=state.state_mark(found.marks[day]),
    )


def _forget_states(found: Counted, writers: Writers, last: date) -> None:
    kept = {str(last + ONE_DAY - number * ONE_DAY) for number in range(found.board.keep_states)}
    places = found.warehouse.places(found.board.state_table)
    writers.drop(found.board.state_table, [place for place in places if place["as_of"] not in kept])


def _drop_beyond(found: Counted, first: date, last: date) -> None:
    """Remove what was published of days that history does not have any more."""
    week_start = found.found.definition.first_weekday
    low = {grain: str(start_of(first, grain, week_start=week_start)) for grain in GRAINS}

    def outside(place: dict[str, str]) -> bool:
        return not low[place["grain"]] <= place["start"] <= str(last)  # type: ignore[index]

    with Writers(found) as writers:
        for table in _published(found):
            gone = [place for place in found.warehouse.places(table) if outside(place)]
            if gone:
                writers.drop(table, gone)


def _published(found: Counted) -> list[str]:
    board = found.board
    return [board.cohorts_table, board.values_table, board.unbounded_table, board.funnels_table]
