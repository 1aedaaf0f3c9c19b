"""A block of people lives a day: pushed or not, active or not, buying, leaving. Every what-if goes through here."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sojourn.events._world_calendar import Morning
from sojourn.events._world_draws import Floats, Index
from sojourn.events._world_money import Purchases, open_purse, shop
from sojourn.events._world_people import Block
from sojourn.events._world_state import State, Today, arrive, depart, fade, live, newcomers, push, turns, wake

Array = npt.NDArray[Any]
Pushing = Literal["campaigns", "nobody", "everyone"]


@dataclass(frozen=True)
class Turn:
    """Today's campaign: whose turn it was, with which propensity, and to whom it was sent."""

    row: Index
    propensity: Floats
    sent: Array


@dataclass(frozen=True)
class Lived:
    """What one day brought to the rows `who` (those installed this morning), with their chances to be active."""

    who: Index
    chance: Floats
    today: Today
    bought: Purchases
    turn: Turn


def live_day(morning: Morning, block: Block, state: State, *, pushing: Pushing) -> Lived:
    """Carry the block's state through one day. Pushes come first thing in the day, so they act on all of it."""
    nature = block.nature
    new = newcomers(morning, block, state)
    arrive(morning, state, new)
    open_purse(morning, nature, state, new)
    who = np.flatnonzero(state.installed)
    wake(morning, nature, state, who)
    fade(state, who)
    turn = _turn(morning, block, state, who, pushing=pushing)
    pushed = turn.row[turn.sent]
    push(morning, nature, state, pushed)
    today, chance = live(morning, block, state, who)
    today.new, today.pushed = new, pushed
    bought = shop(morning, nature, state, today)
    depart(morning, nature, state, today.left)
    return Lived(who=who, chance=chance, today=today, bought=bought, turn=turn)


def _turn(morning: Morning, block: Block, state: State, who: Index, *, pushing: Pushing) -> Turn:
    if pushing == "campaigns":
        return Turn(*turns(morning, block, state, who))
    reached = who[block.portrait.opted_in[who] & (state.last_active[who] < morning.index)]
    reached = reached if pushing == "everyone" else reached[:0]
    return Turn(reached, np.ones(len(reached), dtype=np.float32), np.ones(len(reached), dtype=bool))
