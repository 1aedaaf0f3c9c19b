"""A world's seed and a counter go in and random numbers come out: the same ones in any order, block or thread.

Every number is a hash of (seed, purpose, day, user), so a user's luck on a day depends on nothing else: not on how many
days were simulated before, nor on what happened to others. Only integer arithmetic, `+ - * /`, `sqrt` and comparisons
touch the results; distributions are tables of quantiles made in scalar code and rounded to six digits. So the bytes are
the same on every processor, which `numpy.exp` or `numpy.log`, vectorised differently per processor, would not grant.

The hash is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014) over a Weyl sequence.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Table = npt.NDArray[Any]

SLOTS = 4096
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_UNIT24 = np.float32(2.0**-24)


def stream(seed: int, *parts: int) -> int:
    """The 64-bit key of an independent sequence for this seed, purpose, day, ...

    >>> stream(7, 1, 30) == stream(7, 1, 30) != stream(7, 30, 1)
    True
    """
    key = _mix(seed & _MASK)
    for part in parts:
        key = _mix((key ^ (part & _MASK)) + _GOLDEN)
    return key


def draw(key: int, counters: Bits) -> Bits:
    """64 random bits for each counter."""
    bits = counters * np.uint64(_GOLDEN)
    bits += np.uint64(key)
    spare = bits >> np.uint64(30)
    bits ^= spare
    bits *= np.uint64(_FIRST)
    np.right_shift(bits, np.uint64(27), out=spare)
    bits ^= spare
    bits *= np.uint64(_SECOND)
    np.right_shift(bits, np.uint64(31), out=spare)
    bits ^= spare
    return bits


def unit(bits: Bits) -> Floats:
    """Numbers in [0, 1) from the upper 24 bits (40-63)."""
    shares: Floats = (bits >> np.uint64(40)).astype(np.float32)
    shares *= _UNIT24
    return shares


def second_unit(bits: Bits) -> Floats:
    """Numbers in [0, 1) from bits 16-39: independent of `unit` and of `slot(bits, 0)`."""
    return unit(bits << np.uint64(24))


def slot(bits: Bits, shift: int) -> Index:
    """Twelve bits from `shift` on, as a place in a table of 4096."""
    places: Index = ((bits >> np.uint64(shift)) & np.uint64(SLOTS - 1)).view(np.int64)
    return places


def quantiles(curve: Callable[[float], float], dtype: npt.DTypeLike = np.float32) -> Table:
    """The quantile function at the middle of each of 4096 equal shares: `table[slot]` is a draw.

    The extreme tails are cut at 1/8192 on either side.
    """
    middles = ((place + 0.5) / SLOTS for place in range(SLOTS))
    table: Table = np.array([float(f"{curve(share):.6g}") for share in middles]).astype(dtype)
    return table


def choices(shares: Sequence[float]) -> Table:
    """4096 places holding each option's number as often as its share says: `table[slot]` is a draw."""
    total = sum(shares)
    edges, passed = [], 0.0
    for share in shares:
        passed += share
        edges.append(round(passed / total * SLOTS))
    counts = [edge - before for before, edge in zip([0, *edges], edges, strict=False)]
    table: Table = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    return table


def look_up(tables: Table, row: npt.NDArray[Any], place: Index) -> npt.NDArray[Any]:
    """`tables[row, place]` for a stack of tables, each 4096 long."""
    found: npt.NDArray[Any] = tables.reshape(-1).take(row.astype(np.int64) * SLOTS + place)
    return found


def run_starts(row: Index) -> npt.NDArray[np.bool_]:
    """Where a new number begins in an ascending column.

    >>> run_starts(np.array([3, 3, 5])).tolist()
    [True, False, True]
    """
    starts = np.ones(len(row), dtype=bool)
    np.not_equal(row[1:], row[:-1], out=starts[1:])
    return starts


def burr(median: float, *, tail: float, shape: float) -> Callable[[float], float]:
    """The quantile function of a Burr XII (Singh-Maddala) law: heavy tail of index `tail * shape`.

    >>> round(burr(10.0, tail=1.5, shape=1.0)(0.5), 9)
    10.0
    """
    scale = median / (2.0 ** (1.0 / tail) - 1.0) ** (1.0 / shape)
    return lambda share: scale * ((1.0 - share) ** (-1.0 / tail) - 1.0) ** (1.0 / shape)


def weibull(mean_like: float, *, shape: float) -> Callable[[float], float]:
    """The quantile function of a Weibull law with this scale; `shape` above 1 means ageing."""
    from math import log

    return lambda share: mean_like * (-log(1.0 - share)) ** (1.0 / shape)


def _mix(word: int) -> int:
    word = (word + _GOLDEN) & _MASK
    word = ((word ^ (word >> 30)) * _FIRST) & _MASK
    word = ((word ^ (word >> 27)) * _SECOND) & _MASK
    return word ^ (word >> 31)
