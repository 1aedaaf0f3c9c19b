"""Active payers go in and purchases come out: purses filled on paydays, emptied down a ladder of prices.

Nobody here draws an amount from a distribution: spend follows from how full the purse is, which step of the ladder it
reaches and which step the person likes. So no spend model that is judged on this world has its own equations in it.
"""

from dataclasses import dataclass

import numpy as np

from sojourn.events import _world_numbers as numbers
from sojourn.events._world_calendar import Morning
from sojourn.events._world_draws import Floats, Index, second_unit, slot, unit
from sojourn.events._world_people import Columns, Nature
from sojourn.events._world_state import State, Today
from sojourn.events._world_tables import tables

BUY = 31
PRICES = np.array(numbers.LADDER, dtype=np.int64)


@dataclass(frozen=True)
class Purchases(Columns):
    """One day's purchases: the buyer's row, which session (from 0), the step of the ladder, the refund's day or -1."""

    row: Index
    session: Index
    step: Index
    refund_day: Index

    @property
    def cents(self) -> Index:
        """What was paid."""
        return PRICES[self.step]


def open_purse(morning: Morning, nature: Nature, state: State, new: Index) -> None:
    """Newcomers arrive somewhere between two paydays, with what is left of a budget."""
    state.wallet[new] = (nature.budget_cents[new] * nature.purse_share[new]).astype(np.int64)
    state.paydays[new] = morning.paydays[nature.payday[new]]


def shop(morning: Morning, nature: Nature, state: State, today: Today) -> Purchases:
    """Fill the purses of today's active payers and let them buy, at most once a session and three times a day."""
    payers = np.flatnonzero(nature.payer[today.active] > 0)
    rows, sessions, quality = today.active[payers], today.sessions[payers], today.quality[payers]
    _fill(morning, nature, state, rows)
    bought = []
    for turn in range(numbers.MOST_PURCHASES):
        still = np.flatnonzero(sessions > turn)
        bought.append(_buy(morning, nature, state, Visit(turn, rows[still], quality[still])))
    together = {name: np.concatenate([getattr(each, name) for each in bought]) for name in vars(bought[0])}
    return Purchases(**together).take(np.lexsort((together["session"], together["row"])))


def _fill(morning: Morning, nature: Nature, state: State, rows: Index) -> None:
    due = morning.paydays[nature.payday[rows]]
    budget = nature.budget_cents[rows]
    full = state.wallet[rows] + (due - state.paydays[rows]) * budget
    # What is not spent is kept, but never more than two budgets: people find other things to do with money.
    state.wallet[rows] = np.minimum(full, 2 * budget)
    state.paydays[rows] = due


@dataclass(frozen=True)
class Visit:
    """The n-th session today of these rows, with its quality."""

    turn: int
    rows: Index
    quality: Floats


def _buy(morning: Morning, nature: Nature, state: State, visit: Visit) -> Purchases:
    rows, turn = visit.rows, visit.turn
    bits = morning.luck(BUY, nature.ident[rows], turn)
    buys = unit(bits) < _desire(morning, nature, state, visit)
    reach = np.searchsorted(PRICES, state.wallet[rows], side="right") - 1
    liked = nature.price_taste[rows] + slot(bits, 0) * 3 // 4096 - 1
    step = np.minimum(reach, np.maximum(liked, 0))
    done = np.flatnonzero(buys & (step >= 0))
    buyers, step = rows[done], step[done]
    state.wallet[buyers] -= PRICES[step]
    state.bought[buyers] = True
    luck = morning.luck(BUY, nature.ident[buyers], turn, 1)
    refunded = second_unit(luck) < np.array(numbers.REFUND_SHARE, dtype=np.float32)[step]
    refund_day = np.where(refunded, morning.index + tables().refund_after[slot(luck, 0)], -1)
    return Purchases(row=buyers, session=np.full(len(buyers), turn), step=step, refund_day=refund_day)


def _desire(morning: Morning, nature: Nature, state: State, visit: Visit) -> Floats:
    rows = visit.rows
    desire: Floats = np.array(numbers.BUY_RATE, dtype=np.float32)[nature.payer[rows]]
    desire *= np.array(numbers.LEVEL_APPETITE, dtype=np.float32)[state.level[rows]]
    desire *= 0.4 + visit.quality
    budget = np.maximum(nature.budget_cents[rows], 1).astype(np.float32)
    desire *= np.minimum(0.35 + state.wallet[rows].astype(np.float32) / budget, np.float32(1.35))
    desire *= np.where(state.bought[rows], np.float32(1.0), np.float32(0.8))
    if morning.day.sale:
        desire *= np.float32(1.3)
    return desire
