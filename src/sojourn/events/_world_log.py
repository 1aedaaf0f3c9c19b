"""Sessions go in and event rows come out, as Arrow columns that are already in the table's order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sojourn.events._world_calendar import Morning
from sojourn.events._world_catalogue import catalogue
from sojourn.events._world_draws import Bits, Index, look_up, run_starts, slot, unit
from sojourn.events._world_money import PRICES
from sojourn.events._world_people import Block
from sojourn.events._world_sessions import INSTALL, NOTHING, REFUND, UNINSTALL, USE, Sessions

Array = npt.NDArray[Any]
EVENT, CHOICE = 51, 52
STAY_SHARE = 0.7  # views that stay in the session's genre
EVENTS = (
    "view", "install", "reinstall", "push_open", "launch", "add_to_cart", "checkout", "purchase", "comment",
    "session_end", "uninstall", "refund",
)  # fmt: skip
(_VIEW, INSTALLED, _, PUSH_OPENED, _LAUNCH, _CART, _CHECKOUT, PURCHASE, COMMENTED, ENDED, _GONE, REFUNDED) = range(12)


@dataclass
class Log:
    """One day's events of one block: columns as numpy arrays, rows in the order (user, ts, event_id)."""

    row: Index
    begin: Index  # session -> its first event
    event: Array
    ts: Index
    lag: Index
    ident: Bits
    item: Array
    session: Index  # event -> its session


def write_log(morning: Morning, block: Block, found: Sessions) -> Log:
    """The events of these sessions: who did what when, and with which item."""
    opens = found.begins != NOTHING
    use = found.kind == USE
    sizes = np.where(use, opens + 2 + found.views + found.cart, 1)
    sizes += found.checkout + 0 + (found.step >= 0) + (found.comment >= 0) + (use & found.uninstalls)
    begin = np.cumsum(sizes) - sizes
    session = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(session)) - np.repeat(begin, sizes)
    bits = morning.luck(EVENT, np.repeat(found.counter * 64, sizes) + within.astype(np.uint64))
    pace = found.length_us // sizes
    jitter = np.repeat(pace, sizes)
    jitter *= (bits >> np.uint64(48)).view(np.int64)
    jitter >>= 16
    ts = np.repeat(found.start_us + morning.day.start_us, sizes) + np.repeat(pace, sizes) * within + jitter
    log = Log(
        row=found.row,
        begin=begin,
        event=np.full(len(session), _VIEW, dtype=np.int8),
        ts=ts,
        lag=np.repeat(found.lag_us, sizes),
        ident=np.repeat(_first_idents(morning, block, found, begin), sizes) + within.astype(np.uint64),
        item=_items(block, found, sizes, bits),
        session=session,
    )
    _name_events(found, log, chosen=_sold_items(morning, found))
    return log


def _first_idents(morning: Morning, block: Block, found: Sessions, begin: Index) -> Bits:
    """The number of each session's first event: 16 bits of day, 32 of user, 16 of order in the user's day."""
    first = run_starts(found.row)
    so_far = begin - begin[first][np.cumsum(first) - 1]
    numbers = (morning.index << 48) + (block.portrait.user[found.row] << 16) + so_far
    idents: Bits = numbers.astype(np.uint64)
    return idents


def _items(block: Block, found: Sessions, sizes: Index, bits: Bits) -> Array:
    shop = catalogue()
    strays = np.flatnonzero(unit(bits << np.uint64(16)) >= np.float32(STAY_SHARE))
    genre = np.repeat(found.genre, sizes)
    archetype = np.repeat(block.nature.archetype[found.row], sizes)
    genre[strays] = look_up(shop.tastes, archetype[strays], slot(bits[strays], 12))
    return look_up(shop.seen, genre, slot(bits, 0))


def _sold_items(morning: Morning, found: Sessions) -> Array:
    sold = np.flatnonzero(found.step >= 0)
    luck = morning.luck(CHOICE, found.counter[sold])
    row = found.genre[sold].astype(np.int64) * len(PRICES) + found.step[sold]
    return look_up(catalogue().sold, row, slot(luck, 0))


def _name_events(found: Sessions, log: Log, *, chosen: Array) -> None:
    """Put the events that are not views into place, and their items: what is bought was viewed just before."""
    event, item, place = log.event, log.item, log.begin.copy()
    opened = np.flatnonzero(found.begins != NOTHING)
    event[place[opened]] = found.begins[opened] - INSTALL + INSTALLED
    place[opened] += 1
    use = found.kind == USE
    event[place[use]] = _LAUNCH
    place += found.views  # now at the last view
    sold = np.flatnonzero(found.step >= 0)
    item[place[sold]] = chosen
    seen = item[place]
    place += 1
    for flag, name in ((found.cart, _CART), (found.checkout, _CHECKOUT), (found.step >= 0, PURCHASE)):
        some = np.flatnonzero(flag)
        event[place[some]] = name
        item[place[some]] = seen[some]
        place[some] += 1
    for flag, name in ((found.comment >= 0, COMMENTED), (use, ENDED), (use & found.uninstalls, _GONE)):
        some = np.flatnonzero(flag)
        event[place[some]] = name
        place[some] += 1
    event[log.begin[found.kind == REFUND]] = REFUNDED
    event[log.begin[found.kind == UNINSTALL]] = _GONE
