"""One day of a block of users goes in and its sessions come out, ordered by user and time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sojourn.events._world_calendar import Morning
from sojourn.events._world_catalogue import catalogue, comments
from sojourn.events._world_draws import Bits, Index, look_up, run_starts, second_unit, slot, unit
from sojourn.events._world_life import Lived
from sojourn.events._world_people import Block
from sojourn.events._world_spec import WorldSpec
from sojourn.events._world_state import State, Today
from sojourn.events._world_tables import SECONDS_A_DAY, tables

Array = npt.NDArray[Any]
START, SHAPE, SENDING, OPEN, ALONE, COMMENT = range(41, 47)
USE, REFUND, UNINSTALL = range(3)  # what a session is: real use, or a single event that happens without one
NOTHING, INSTALL, REINSTALL, PUSH_OPEN = range(4)  # what a session begins with
_KIND_BITS, _ROW_BITS = 3, 42
_MOST_VIEWS = 30
CART_SHARE, CART_SHARE_OF_PAYERS, CHECKOUT_SHARE = 0.055, 0.10, 0.40
COMMENT_SHARE = 0.012
OPEN_SHARE = 0.18


@dataclass
class Sessions:
    """Sessions of one day, ordered by `row` and `start_us` (since the day's first instant)."""

    row: Index
    start_us: Index
    kind: Index
    number: Index  # 1, 2, ... among the user's real sessions of the day
    length_us: Index
    views: Index
    begins: Array
    cart: Array
    checkout: Array
    step: Array  # of the ladder, when something is bought; else -1
    comment: Array  # number of the text; else -1
    uninstalls: Array
    genre: Array
    lag_us: Index
    counter: Bits


def sessions(morning: Morning, block: Block, state: State, lived: Lived, *, refunds: Index) -> Sessions:
    """Everything that happens today, as sessions. `refunds` are the rows to whom a purchase is refunded today."""
    today = lived.today
    alone = np.setdiff1d(today.left, today.active, assume_unique=True)
    keys = [_use_keys(morning, block, today)]
    keys += [_single_keys(morning, block, rows, kind=kind) for rows, kind in ((refunds, REFUND), (alone, UNINSTALL))]
    found = _shape(morning, block, state, np.sort(np.concatenate(keys)))
    _mark(morning, block, found, lived)
    return found


def _use_keys(morning: Morning, block: Block, today: Today) -> Index:
    counts = today.sessions.astype(np.int64)
    rows = np.repeat(today.active, counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    bits = morning.luck(START, block.nature.ident[rows] * 16 + within.astype(np.uint64))
    return _keys(morning, block, rows, bits, kind=USE)


def _single_keys(morning: Morning, block: Block, rows: Index, *, kind: int) -> Index:
    turn = np.arange(len(rows)) - np.searchsorted(rows, rows)  # several refunds of one user on one day
    counters = block.nature.ident[rows] * 16 + turn.astype(np.uint64)
    return _keys(morning, block, rows, morning.luck(ALONE, counters, kind), kind=kind)


def _keys(morning: Morning, block: Block, rows: Index, bits: Bits, *, kind: int) -> Index:
    day = morning.day
    # Sorting one 64-bit number (user, time, kind) costs a fifth of an argsort over three columns.
    local = look_up(tables().hours, block.nature.chrono[rows] * 2 + day.weekend, slot(bits, 0))
    since = (local - day.local_start_s[_place(morning, block, rows)]) % SECONDS_A_DAY
    jitter = (bits >> np.uint64(40)).view(np.int64) * 21_000_000 >> 24  # a place of `hours` is 21 s wide
    start = (since * 1_000_000 + jitter) * day.length_s // (SECONDS_A_DAY + 21)
    return (rows << _ROW_BITS) | (start << _KIND_BITS) | kind


def _place(morning: Morning, block: Block, rows: Index) -> Array:
    moved_on = block.changes.move_day[rows]
    moved = (moved_on >= 0) & (moved_on <= morning.index)
    return np.where(moved, block.changes.new_place[rows], block.portrait.place[rows])


def _shape(morning: Morning, block: Block, state: State, key: Index) -> Sessions:
    row, kind = key >> _ROW_BITS, key & ((1 << _KIND_BITS) - 1)
    start = (key >> _KIND_BITS) & ((1 << (_ROW_BITS - _KIND_BITS)) - 1)
    use = kind == USE
    number = _number_in_group(row, use)
    counters = block.nature.ident[row] * 16 + number.astype(np.uint64)
    shape = morning.luck(SHAPE, counters)
    sending = morning.luck(SENDING, counters)
    seconds = look_up(tables().seconds, state.level[row], slot(shape, 0))
    # A session ends before the user's next one begins, and before the day ends.
    gap = np.roll(start, -1) - start
    last = np.roll(run_starts(row), -1)
    gap[last] = morning.day.length_s * 1_000_000 - start[last]
    views = np.minimum(1 + seconds / (25.0 + slot(shape, 12) * 0.025), _MOST_VIEWS).astype(np.int64)
    cart_share = np.where(block.nature.payer[row] > 0, np.float32(CART_SHARE_OF_PAYERS), np.float32(CART_SHARE))
    cart = use & (unit(shape) < cart_share)
    nothing = np.full(len(row), -1, dtype=np.int64)
    return Sessions(
        row=row,
        start_us=start,
        kind=kind,
        number=np.where(use, number, 0),
        length_us=np.minimum((seconds * np.float32(1e6)).astype(np.int64), gap * 9 // 10),
        views=np.where(use, views, 0),
        begins=np.zeros(len(row), dtype=np.int64),
        cart=cart,
        checkout=cart & (second_unit(sending) < np.float32(CHECKOUT_SHARE)),
        step=nothing,
        comment=nothing.copy(),
        uninstalls=kind == UNINSTALL,
        genre=look_up(catalogue().tastes, block.nature.archetype[row], slot(shape, 24)),
        lag_us=_lag(morning.spec, sending),
        counter=counters,
    )


def _number_in_group(row: Index, use: Array) -> Index:
    first = run_starts(row)
    running = np.cumsum(use)
    before = (running - use)[first]
    number: Index = running - before[np.cumsum(first) - 1]
    return number


def _lag(spec: WorldSpec, sending: Bits) -> Index:
    late = unit(sending) < np.float32(spec.late_share)
    lag_s = tables().lag_s[slot(sending, 0)]
    lag_s[late] = tables().late_s[slot(sending[late], 0)]
    return (lag_s * np.float32(1e3)).astype(np.int64) * 1000  # to the millisecond


def _mark(morning: Morning, block: Block, found: Sessions, lived: Lived) -> None:
    """Write into the sessions what happens only in some: purchases, installs, opened pushes, comments, uninstalls."""
    today, bought = lived.today, lived.bought
    use = np.flatnonzero(found.kind == USE)
    places = found.row[use] * 16 + found.number[use]

    def session(rows: Index, numbers: Array | int) -> Index:
        where: Index = use[np.searchsorted(places, rows * 16 + numbers)]
        return where

    buying = session(bought.row, bought.session + 1)
    found.step[buying] = bought.step
    found.cart[buying] = found.checkout[buying] = True
    first_time = block.portrait.install_day[today.new] == morning.index
    found.begins[session(today.new, 1)] = np.where(first_time, INSTALL, REINSTALL)
    opens = np.intersect1d(today.pushed, today.active, assume_unique=True)
    luck = morning.luck(OPEN, block.nature.ident[opens])
    found.begins[session(opens[unit(luck) < np.float32(OPEN_SHARE)], 1)] = PUSH_OPEN
    leaves = np.isin(today.active, today.left, assume_unique=True)
    found.uninstalls[session(today.active[leaves], today.sessions[leaves])] = True
    luck = morning.luck(COMMENT, found.counter[use])
    speaks = np.flatnonzero(unit(luck) < np.float32(COMMENT_SHARE))
    where = use[speaks]
    found.comment[where] = _comments(morning, block, found.row[where], today, dice=slot(luck[speaks], 0))


def _comments(morning: Morning, block: Block, rows: Index, today: Today, *, dice: Index) -> Array:
    quality = today.quality[np.searchsorted(today.active, rows)]
    tone = (quality < 0.66).astype(np.int64) + (quality < 0.3)
    return look_up(comments()[1], _place(morning, block, rows) * 3 + tone, dice)
