"""One day of hidden life: levels with their dwell times, moods, pushes felt, activity, leaving and coming back.

`docs/simulate.md` gives the equations. Each function reads and writes the rows `who` of a `State`; nothing here knows
of other users, so blocks, replicates and imaginary people all go through the same code.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sojourn.events import _world_numbers as numbers
from sojourn.events._world_calendar import Morning
from sojourn.events._world_draws import Bits, Floats, Index, draw, look_up, second_unit, slot, stream, unit
from sojourn.events._world_people import Block, Nature
from sojourn.events._world_spec import WorldSpec
from sojourn.events._world_tables import MOODS, tables

Array = npt.NDArray[Any]
LEVEL, ACT, SESSIONS, RETURN, TURN = range(21, 26)
_LEVELS = len(numbers.LEVELS)


@dataclass
class State:
    """What changes from day to day, one row per person. `left` counts down the days in the level."""

    level: Array
    left: Array
    mood: Floats
    nudge: Floats
    ire: Floats
    last_active: Array
    installed: Array
    back_on: Array
    wallet: Index
    paydays: Array
    bought: Array

    def take(self, rows: Array) -> Self:
        """A copy of these rows."""
        return type(self)(**{name: values[rows] for name, values in vars(self).items()})


@dataclass
class Today:
    """What happened to whom on one day: row numbers into the block, ascending."""

    active: Index
    sessions: Array
    quality: Floats
    new: Index
    left: Index
    pushed: Index = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def newborn(people: int) -> State:
    """The state of people who have not installed yet."""
    return State(
        level=np.full(people, numbers.TRIAL, dtype=np.uint8),
        left=np.zeros(people, dtype=np.int16),
        mood=np.full(people, 0.3, dtype=np.float32),
        nudge=np.zeros(people, dtype=np.float32),
        ire=np.zeros(people, dtype=np.float32),
        last_active=np.full(people, -1, dtype=np.int16),
        installed=np.zeros(people, dtype=bool),
        back_on=np.full(people, -1, dtype=np.int16),
        wallet=np.zeros(people, dtype=np.int64),
        paydays=np.zeros(people, dtype=np.int16),
        bought=np.zeros(people, dtype=bool),
    )


def newcomers(morning: Morning, block: Block, state: State) -> Index:
    """The rows that install or reinstall today."""
    return np.flatnonzero((block.portrait.install_day == morning.index) | (state.back_on == morning.index))


def arrive(morning: Morning, state: State, new: Index) -> None:
    """Install the app for these rows: on trial, in a neutral mood, surely active today."""
    state.installed[new] = True
    state.back_on[new] = -1
    state.level[new] = numbers.TRIAL
    state.left[new] = 0
    state.mood[new] = 0.3
    state.last_active[new] = morning.index


def wake(morning: Morning, nature: Nature, state: State, who: Index) -> None:
    """Count down the days in the level; whose time is up draws the next level and how long it will last."""
    left = state.left[who] - 1
    due = np.flatnonzero(left < 0)
    if due.size:
        rows = who[due]
        bits = morning.luck(LEVEL, nature.ident[rows])
        kind, level = nature.kind[rows].astype(np.int64), state.level[rows]
        mood = np.minimum((state.mood[rows] * MOODS).astype(np.int64), MOODS - 1)
        moved = look_up(tables().moves, (kind * _LEVELS + level) * MOODS + mood, slot(bits, 0))
        # Anger sends people away whatever the level they would have gone to.
        ire = state.ire[rows]
        moved[unit(bits) * (1.0 + ire) < 0.4 * ire] = numbers.AWAY
        fresh = state.last_active[rows] == morning.index  # installed today: stay in trial, only draw its length
        moved[fresh] = numbers.TRIAL
        state.level[rows] = moved
        left[due] = look_up(tables().dwell, kind * _LEVELS + moved, slot(bits, 12)) - 1
    state.left[who] = left


def fade(state: State, who: Index) -> None:
    """Let yesterday's pushes fade."""
    state.nudge[who] *= np.float32(0.72)
    state.ire[who] *= np.float32(0.90)


def push(morning: Morning, nature: Nature, state: State, pushed: Index) -> None:
    """Let today's push act on these rows: a nudge by responsiveness and level, and some anger."""
    strength = np.float32(morning.spec.push_strength)
    gain = np.array(numbers.PUSH_LEVEL_GAIN, dtype=np.float32)[state.level[pushed]]
    gain *= np.float32(numbers.PUSH_GAIN[morning.index % len(numbers.PUSH_GAIN)]) * strength
    nudge = state.nudge[pushed] + gain * nature.response[pushed]
    state.nudge[pushed] = np.clip(nudge, np.float32(-4.0), np.float32(4.0))
    state.ire[pushed] += strength * nature.thin_skin[pushed]


def active_chance(morning: Morning, nature: Nature, state: State, who: Index) -> Floats:
    """The probability that each of these rows is active today, given everything hidden."""
    rate = np.array(numbers.LEVEL_RATE, dtype=np.float32)[state.level[who]]
    rate *= nature.appetite[who]
    rate *= morning.day.week_rates[nature.week[who]] * np.float32(morning.day.season)
    mood = state.mood[who]
    mood *= mood
    rate *= 1.0 + 1.5 * mood / (0.25 + mood)
    nudge = state.nudge[who]
    rate *= (1.0 + np.maximum(nudge, 0)) / (1.0 - 1.5 * np.minimum(nudge, 0))
    chance: Floats = 0.97 * rate / np.sqrt(1.0 + rate * rate)
    chance[state.last_active[who] == morning.index] = 1.0  # installed today
    return chance


def leave_chance(nature: Nature, state: State, who: Index, ages: Index) -> Floats:
    """The probability that each of these rows uninstalls today; a bad session triples it (see `settle`)."""
    look = tables()
    base = look.leave.take(nature.kind[who].astype(np.int64) * _LEVELS + state.level[who])
    base *= look.leave_by_age[np.minimum(ages, len(look.leave_by_age) - 1)]
    anger = np.maximum(state.ire[who] - nature.patience[who], 0)
    chance: Floats = np.minimum(base + 0.35 * anger * anger, np.float32(0.6))
    return chance


def session_counts(morning: Morning, nature: Nature, state: State, active: Index) -> tuple[Array, Floats]:
    """How many sessions these active rows have today, and how good they are (0 to 1)."""
    bits = morning.luck(SESSIONS, nature.ident[active])
    quality = np.clip(unit(bits) + np.float32(morning.day.release), np.float32(0), np.float32(1))
    return look_up(tables().sessions, state.level[active], slot(bits, 0)), quality


def settle(morning: Morning, state: State, who: Index, active: Index, quality: Floats) -> None:
    """Carry the day into the mood: good sessions excite, days without cool down."""
    state.mood[who] *= np.float32(0.93)
    mood = 0.92 * state.mood[active] + 0.28 * (quality - 0.22)
    state.mood[active] = np.clip(mood, np.float32(0), np.float32(1))
    state.last_active[active] = morning.index


def depart(morning: Morning, nature: Nature, state: State, left: Index) -> None:
    """Uninstall these rows; some of them will come back on a later day."""
    state.installed[left] = False
    state.back_on[left] = return_days(morning.spec, nature.ident[left], np.full(len(left), morning.index))


def return_days(spec: WorldSpec, ident: Bits, gone_day: Index, *, turn: int = 0) -> Index:
    """On which day people come back who uninstalled on `gone_day`; -1 for never. Another `turn` draws anew."""
    bits = draw(stream(spec.seed, RETURN, turn), ident * 4096 + gone_day.astype(np.uint64))
    returns = unit(bits) < np.float32(numbers.RETURN_SHARE)
    days: Index = np.where(returns, gone_day + tables().return_after[slot(bits, 0)], -1)
    return days


def live(morning: Morning, block: Block, state: State, who: Index) -> tuple[Today, Floats]:
    """One day for these rows after pushes have acted: who is active, how, and who leaves; and the chances used.

    The draws are coupled across what-ifs: the same person on the same day has the same luck with and without a push.
    """
    nature = block.nature
    chance = active_chance(morning, nature, state, who)
    bits = morning.luck(ACT, nature.ident[who])
    is_active = unit(bits) < chance
    active = who[is_active]
    sessions, quality = session_counts(morning, nature, state, active)
    leaving = leave_chance(nature, state, who, morning.index - block.portrait.install_day[who])
    bad = np.zeros(len(who), dtype=bool)
    bad[is_active] = quality < 0.1
    leaving[bad] *= 3.0
    left = who[second_unit(bits) < leaving]
    settle(morning, state, who, active, quality)
    return Today(active=active, sessions=sessions, quality=quality, new=who[:0], left=left), chance


def turns(morning: Morning, block: Block, state: State, who: Index) -> tuple[Index, Floats, Array]:
    """Today's campaign: the rows whose turn it is, the recorded propensity of each, and whether it was sent.

    It may see only what the app knows: the opt-in, the group, and the days since the user was last seen.
    """
    portrait = block.portrait
    bits = morning.luck(TURN, block.nature.ident[who])
    reachable = portrait.opted_in[who] & portrait.programme[who] & (state.last_active[who] < morning.index)
    mine = np.flatnonzero(reachable & (unit(bits) < np.float32(numbers.PUSH_TURN)))
    rows = who[mine]
    band = np.searchsorted(numbers.RECENCY_EDGES_DAYS, morning.index - state.last_active[rows], side="right")
    propensity = np.array(numbers.PROPENSITY, dtype=np.float32)[morning.index % len(numbers.PUSH_CAMPAIGNS), band]
    return rows, propensity, second_unit(bits[mine]) < propensity
