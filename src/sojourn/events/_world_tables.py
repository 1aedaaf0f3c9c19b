"""The numbers of the world go in and tables of 4096 places come out: a draw is one look-up."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from sojourn.events import _world_numbers as numbers
from sojourn.events._world_draws import SLOTS, Floats, Index, Table, burr, choices, quantiles, weibull

SECONDS_A_DAY = 86_400
LONGEST_SESSION_S = 7200
MOODS = 4


@dataclass(frozen=True)
class Tables:
    """Look-up tables, one row per situation and 4096 places per row."""

    moves: Table  # kind x level x mood -> next level
    dwell: Table  # kind x level -> days in the level
    leave: Floats  # kind x level -> chance to uninstall a day
    leave_by_age: Floats  # day since install -> factor
    sessions: Table  # level -> sessions on an active day
    seconds: Table  # level -> length of a session
    hours: Table  # chronotype x weekend -> local second of the day
    appetite: Table  # taste for the app: about 1
    budget: Table  # payer class -> cents per payday
    return_after: Table  # days from uninstall to reinstall
    refund_after: Table  # days from purchase to refund
    lag_s: Table  # seconds from happening to arriving, when online
    late_s: Table  # the same for sessions that were offline


@cache
def tables() -> Tables:
    """The tables of world 1, built once."""
    return Tables(
        moves=_moves(),
        dwell=_dwell(),
        leave=np.array(numbers.LEAVE, dtype=np.float32),
        leave_by_age=_by_age(),
        sessions=np.stack([_session_counts(extra) for extra in (0.5, 0.3, 0.9, 2.2, 0.15)]),
        seconds=np.stack([_session_seconds(median) for median in (260.0, 150.0, 280.0, 420.0, 90.0)]),
        hours=np.stack([_hours(weights) for chronotype in numbers.HOURS for weights in chronotype]),
        appetite=quantiles(weibull(1.12, shape=1.9)),
        budget=np.stack([quantiles(burr(m, tail=t, shape=s)) for m, t, s in ((1e-6, 1.0, 1.0), *numbers.BUDGET)]),
        return_after=quantiles(lambda share: min(3.0 + burr(14.0, tail=1.2, shape=1.4)(share), 200.0), np.int32),
        refund_after=quantiles(lambda share: min(1.0 + burr(2.5, tail=1.6, shape=1.3)(share), 30.0), np.int32),
        lag_s=quantiles(lambda share: min(burr(2.0, tail=1.2, shape=1.5)(share), 600.0)),
        late_s=quantiles(lambda share: min(3600.0 + burr(30_000.0, tail=1.0, shape=1.1)(share), 14 * 86_400.0)),
    )


def session_count_chances() -> Table:
    """`chances[level, n]`: the probability of n sessions on an active day."""
    counts = tables().sessions
    return np.stack([np.bincount(row, minlength=9) / SLOTS for row in counts])


def _moves() -> Table:
    rows = []
    for kind in numbers.MOVES:
        for level in kind:
            for mood in range(MOODS):
                # A good mood pulls towards habit and binge and away from leaving: a rational tilt, no logit.
                tilt = (1.0, 1.0, 0.6 + 0.5 * mood, 0.4 + 0.6 * mood, 1.0 / (0.75 + 0.45 * mood))
                rows.append(choices([share * factor for share, factor in zip(level, tilt, strict=True)]))
    return np.stack(rows)


def _from_one_day(days: Callable[[float], float]) -> Callable[[float], float]:
    return lambda share: 1.0 + days(share)


def _from_two_days(days: Callable[[float], float]) -> Callable[[float], float]:
    return lambda share: min(2.0 + days(share), 2000.0)


def _dwell() -> Table:
    rows = []
    for kind, factor in enumerate(numbers.DWELL_BY_KIND):
        rows += [
            quantiles(_from_one_day(weibull(days * factor, shape=shape)), np.int16) for days, shape in numbers.DWELL
        ]
        away = burr(numbers.AWAY_MEDIAN[kind], tail=1.1, shape=1.5)
        rows.append(quantiles(_from_two_days(away), np.int16))
    return np.stack(rows)


def _by_age() -> Floats:
    days, factors = zip(*numbers.LEAVE_BY_AGE_DAYS, strict=True)
    steps = [max(place for place, day in enumerate(days) if day <= age) for age in range(days[-1] + 1)]
    return np.array([factors[step] for step in steps], dtype=np.float32)


def _session_counts(extra: float) -> Table:
    # A broken line, neither Poisson nor geometric: one session, then a short bent tail up to eight.
    return quantiles(lambda share: min(1.0 + extra * (1.0 / (1.03 - share) - 0.97) ** 0.62, 8.0), np.uint8)


def _session_seconds(median: float) -> Table:
    return quantiles(lambda share: min(8.0 + burr(median, tail=1.3, shape=1.6)(share), LONGEST_SESSION_S))


def _hours(weights: tuple[int, ...]) -> Table:
    total = sum(weights)
    edges = np.cumsum([0, *weights])

    def second(share: float) -> float:
        place = share * total
        hour = int(np.searchsorted(edges, place, side="right")) - 1
        return 3600.0 * (hour + (place - float(edges[hour])) / weights[hour])

    return quantiles(second, np.int64)


def shop_window() -> Index:
    """How many of a genre's items each price step of the ladder holds; the first are free to look at."""
    return np.array([20, 9, 9, 8, 6, 4, 2, 2])
