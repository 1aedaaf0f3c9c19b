"""Numbered columns go in and Arrow tables come out: text is assembled as bytes, money as decimals, gaps as nulls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sojourn.events._world_catalogue import comments, item_ids
from sojourn.events._world_draws import Bits, Floats, Index
from sojourn.events._world_log import COMMENTED, ENDED, EVENTS, PURCHASE, PUSH_OPENED, REFUNDED, Log
from sojourn.events._world_people import Columns
from sojourn.events._world_sessions import Sessions

Array = npt.NDArray[Any]
WHEN = pa.timestamp("us", tz="UTC")
USER_WIDTH = 9
_HEX = np.array([int.from_bytes(f"{byte:02x}".encode(), "little") for byte in range(256)], dtype=np.uint16)
_WITH_ITEM = np.isin(np.array(EVENTS), ("view", "add_to_cart", "checkout", "purchase", "refund"))


@dataclass(frozen=True)
class Refunds(Columns):
    """Refunds due on one day, ordered by the buyer's row: what was paid, for which item, in which order."""

    row: Index
    cents: Index
    item: Index
    order: Bits


def event_table(log: Log, found: Sessions, *, users: Index, cents: Index, refunds: Refunds, day: int) -> pa.Table:
    """The day's events of a block as rows of the table `events`.

    `users` are the user numbers of the block's rows; `cents` what each purchase cost, in the order of the log.
    """
    row, starts = np.unique(found.row, return_index=True)
    each = np.diff(np.append(log.begin[starts], len(log.event)))
    columns = {
        "event_id": hex_text(log.ident),
        "user_id": _fixed_text(np.repeat(_user_text(users[row]), each).view(np.uint8), width=USER_WIDTH),
        "ts": _whens(log.ts),
        "arrived_at": _whens(log.ts + log.lag),
        "event": pa.DictionaryArray.from_arrays(log.event, list(EVENTS)),
    }
    bought, refunded = np.flatnonzero(log.event == PURCHASE), np.flatnonzero(log.event == REFUNDED)
    paid, orders, item = np.concatenate([bought, refunded]), log.ident.copy(), log.item
    item[refunded], orders[refunded] = refunds.item, refunds.order
    columns["item_id"] = _named(item, item_ids(), valid=_bitmap(_WITH_ITEM[log.event]))
    columns["amount"] = money(np.concatenate([cents, -refunds.cents]), at=paid, rows=len(item))
    columns["session_no"] = pa.array(found.number.astype(np.int16)[log.session])
    columns["duration_s"] = _durations(log)
    opened = np.flatnonzero(log.event == PUSH_OPENED)
    pushes = push_ids(day, users[found.row[log.session[opened]]])
    columns["push_id"] = _sparse_hex(pushes, at=opened, rows=len(item))
    paid.sort()
    columns["order_id"] = _sparse_hex(orders[paid], at=paid, rows=len(item))
    spoken = np.flatnonzero(log.event == COMMENTED)
    said = np.zeros(len(item), dtype=np.int16)
    said[spoken] = found.comment[log.session[spoken]]
    columns["text"] = _named(said, comments()[0], valid=_valid(spoken, len(item)))
    return pa.table(columns)


def push_table(users: Index, propensity: Floats, sent: Array, *, day: int, campaign: str, when_us: int) -> pa.Table:
    """One day's rows of the table `pushes`: who was drawn, with which probability, and whether it was sent."""
    rows = len(users)
    return pa.table(
        {
            "push_id": hex_text(push_ids(day, users)),
            "user_id": user_ids(users),
            "ts": _whens(np.full(rows, when_us)),
            "campaign": pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int8), [campaign]),
            # From hundredths, not from float32: 0.35 must read as 0.35.
            "propensity": pa.array(np.round(propensity.astype(np.float64), 2)),
            "sent": pa.array(sent),
        }
    )


def push_ids(day: int, users: Index) -> Bits:
    """Numbers of the pushes of one day, one a user."""
    numbers: Bits = ((day + 1 << 40) | users).view(np.uint64)
    return numbers


def user_ids(users: Index) -> pa.Array:
    """`u00000042` for user 42: ids sort like numbers."""
    return _fixed_text(_user_text(users).view(np.uint8), width=USER_WIDTH)


def hex_text(idents: Bits) -> pa.Array:
    """Sixteen hexadecimal digits each; the text sorts like the numbers."""
    return _fixed_text(_hex_bytes(idents), width=16)


def money(cents: Index, *, at: Index, rows: int) -> pa.Array:
    """A decimal(18,4) column that holds these cents at these rows, null elsewhere."""
    words = np.zeros((rows, 2), dtype=np.int64)
    words[at, 0] = cents * 100
    words[at, 1] = np.where(cents < 0, -1, 0)
    return pa.Array.from_buffers(pa.decimal128(18, 4), rows, [_valid(at, rows), pa.py_buffer(words)])


def _whens(us: Index) -> pa.Array:
    return pa.Array.from_buffers(WHEN, len(us), [None, pa.py_buffer(us)])


def _named(numbers: Array, names: Sequence[str], *, valid: pa.Buffer) -> pa.Array:
    codes = pa.Array.from_buffers(pa.int16(), len(numbers), [valid, pa.py_buffer(numbers)])
    return pa.DictionaryArray.from_arrays(codes, list(names))


def _durations(log: Log) -> pa.Array:
    """Whole seconds from launch to the end of the session, on the rows `session_end`."""
    ends = np.flatnonzero(log.event == ENDED)
    seconds = np.zeros(len(log.event), dtype=np.int32)
    seconds[ends] = (log.ts[ends] - log.ts[log.begin[log.session[ends]]]) // 1_000_000
    return pa.Array.from_buffers(pa.int32(), len(seconds), [_valid(ends, len(seconds)), pa.py_buffer(seconds)])


def _valid(at: Index, rows: int) -> pa.Buffer:
    there = np.zeros(rows, dtype=bool)
    there[at] = True
    return _bitmap(there)


def _bitmap(there: Array) -> pa.Buffer:
    return pa.py_buffer(np.packbits(there, bitorder="little"))


def _sparse_hex(idents: Bits, *, at: Index, rows: int) -> pa.Array:
    """A text column holding these numbers in hexadecimal at these ascending rows, null elsewhere."""
    offsets = np.zeros(rows + 1, dtype=np.int32)
    offsets[at + 1] = 16
    np.cumsum(offsets, out=offsets)
    buffers = [_valid(at, rows), pa.py_buffer(offsets), pa.py_buffer(_hex_bytes(idents))]
    return pa.Array.from_buffers(pa.string(), rows, buffers)


def _hex_bytes(idents: Bits) -> Array:
    return _HEX[idents.byteswap().view(np.uint8)].view(np.uint8)


def _user_text(users: Index) -> Array:
    text = np.empty((len(users), USER_WIDTH), dtype=np.uint8)
    text[:, 0] = ord("u")
    rest = users.copy()
    for place in range(USER_WIDTH - 1, 0, -1):
        rest, digit = np.divmod(rest, 10)
        text[:, place] = digit + ord("0")
    return text.view(f"V{USER_WIDTH}").reshape(-1)


def _fixed_text(text: npt.NDArray[np.uint8], *, width: int) -> pa.Array:
    rows = len(text) // width
    offsets = np.arange(0, len(text) + 1, width, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(text)])
