"""What can be known of a user from the log alone: a particle filter over hidden lives, with the world's own equations.

For each user, many imaginary people with the same portrait but hidden traits of their own live through the user's
history (Gordon, Salmond and Smith, "Novel approach to nonlinear/non-Gaussian Bayesian state estimation", 1993). Those
who would hardly have done what the user did die out; the others then live ahead. As particles grow in number their
average tends to the Bayes-optimal forecast given days of activity, numbers of sessions, pushes and uninstalls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from sojourn.events._world_calendar import Morning, mornings
from sojourn.events._world_draws import Bits, Index, draw, stream, unit
from sojourn.events._world_life import live_day
from sojourn.events._world_people import Block, block_of, natures
from sojourn.events._world_spec import PushPlan, WorldSpec
from sojourn.events._world_state import (
    State,
    active_chance,
    arrive,
    fade,
    leave_chance,
    newborn,
    push,
    return_days,
    session_counts,
    settle,
    wake,
)
from sojourn.events._world_tables import session_count_chances
from sojourn.events._world_whatif import BATCH_ROWS, Ahead, ahead_table, chosen, day_index, look_ahead

RESAMPLE = 61
_IMAGINARY_BIT = 36
_LEAST = 1e-12


@dataclass(frozen=True)
class Seen:
    """What the log shows of one day: rows of users, ascending."""

    new: Index
    here: Index
    active: Index
    sessions: npt.NDArray[np.uint8]
    pushed: Index
    left: Index


def best_activity(
    spec: WorldSpec, plan: PushPlan, *, particles: int = 256, users: Sequence[str] | None = None
) -> pl.DataFrame:
    """The Bayes-optimal probability that each user is active on each day of the plan, given the log before `as_of`.

    Columns: user_id, day, active_prob, installed_prob. It knows the world's equations and the user's portrait, days of
    activity, numbers of sessions, pushes and uninstalls, and nothing hidden: no model that sees the same can do better
    but by luck. The error left by finitely many particles shrinks as their number grows.
    """
    numbers = chosen(spec, users)
    size = max(1, BATCH_ROWS // particles)
    parts = [
        _best(spec, plan, numbers[first : first + size], particles=particles) for first in range(0, len(numbers), size)
    ]
    return pl.concat(parts).drop("spend_usd")


def _best(spec: WorldSpec, plan: PushPlan, users: Index, *, particles: int) -> pl.DataFrame:
    end = day_index(spec, plan)
    real = block_of(spec, users)
    rows = np.flatnonzero(real.portrait.install_day < end)
    real = real.take(rows)
    truth = newborn(len(rows))
    crowd = Crowd.imagined(spec, real, particles)
    gone_day = np.full(len(rows), -1, dtype=np.int64)
    for morning in mornings(spec, end=end):
        seen = _look(morning, real, truth)
        gone_day[seen.new], gone_day[seen.left] = -1, morning.day.index
        crowd.believe(morning, seen)
        crowd.resample(spec, day=morning.day.index)
    crowd.away(spec, gone_day, end=end)
    ahead = Ahead.nothing(len(rows), plan.horizon_days)
    crowd.equalise(spec, np.arange(len(rows)), day=end)
    look_ahead(spec, plan, crowd.block, crowd.state, into=ahead, which=np.repeat(np.arange(len(rows)), particles))
    return ahead_table(plan, real.portrait.user, ahead, draws=particles)


def _look(morning: Morning, real: Block, truth: State) -> Seen:
    lived = live_day(morning, real, truth, pushing="campaigns")
    today = lived.today
    return Seen(today.new, lived.who, today.active, today.sessions, today.pushed, today.left)


@dataclass
class Crowd:
    """`particles` imaginary people for each user, one user's after the other's, with `weights[user, particle]`."""

    block: Block
    state: State
    weights: npt.NDArray[np.float64]

    @classmethod
    def imagined(cls, spec: WorldSpec, real: Block, particles: int) -> "Crowd":
        """People with these portraits, and natures drawn afresh."""
        rows = np.repeat(np.arange(len(real.portrait.user)), particles)
        turn = np.tile(np.arange(1, particles + 1, dtype=np.uint64), len(real.portrait.user))
        portrait = real.portrait.take(rows)
        ident: Bits = portrait.user.astype(np.uint64) | (turn << np.uint64(_IMAGINARY_BIT))
        block = Block(portrait, natures(spec, portrait, ident), real.changes.take(rows))
        return cls(block, newborn(len(rows)), np.full((len(real.portrait.user), particles), 1.0 / particles))

    def rows_of(self, users: Index) -> Index:
        """The particles of these users."""
        particles = self.weights.shape[1]
        rows: Index = (users[:, None] * particles + np.arange(particles)).reshape(-1)
        return rows

    def believe(self, morning: Morning, seen: Seen) -> None:
        """Let all live this day as the users did; weigh each particle by how likely it was to do so."""
        nature, state = self.block.nature, self.state
        arrive(morning, state, self.rows_of(seen.new))
        who, active = self.rows_of(seen.here), self.rows_of(seen.active)
        wake(morning, nature, state, who)
        fade(state, who)
        push(morning, nature, state, self.rows_of(seen.pushed))
        likely = np.zeros(self.weights.size)
        chance = active_chance(morning, nature, state, who)
        likely[who] = 1.0 - chance
        is_active = np.isin(who, active, assume_unique=True)
        sessions = np.repeat(seen.sessions, self.weights.shape[1])
        likely[active] = chance[is_active] * session_count_chances()[state.level[active], sessions]
        _, quality = session_counts(morning, nature, state, active)
        leaving = leave_chance(nature, state, who, morning.index - self.block.portrait.install_day[who])
        leaving[np.flatnonzero(is_active)[quality < 0.1]] *= 3.0
        left = self.rows_of(seen.left)
        likely[who] *= np.where(np.isin(who, left, assume_unique=True), leaving, 1.0 - leaving)
        settle(morning, state, who, active, quality)
        state.installed[left] = False
        self._weigh(seen.here, likely)

    def _weigh(self, users: Index, likely: npt.NDArray[np.float64]) -> None:
        weights = self.weights[users] * (likely.reshape(self.weights.shape)[users] + _LEAST)
        self.weights[users] = weights / weights.sum(axis=1, keepdims=True)

    def resample(self, spec: WorldSpec, *, day: int) -> None:
        """Where few particles carry most of the weight, let them have all the offspring."""
        effective = 1.0 / (self.weights * self.weights).sum(axis=1)
        self.equalise(spec, np.flatnonzero(effective < 0.5 * self.weights.shape[1]), day=day)

    def equalise(self, spec: WorldSpec, users: Index, *, day: int) -> None:
        """Replace these users' particles by equally weighted ones: systematic resampling. Luck stays the slot's own."""
        particles = self.weights.shape[1]
        offset = unit(draw(stream(spec.seed, RESAMPLE, day), users.astype(np.uint64)))
        edges = np.cumsum(self.weights[users], axis=1)
        edges /= edges[:, -1:]
        places = (np.arange(particles) + offset[:, None]) / particles
        lane = np.arange(len(users))[:, None]
        found = np.searchsorted((edges + lane).reshape(-1), (places + lane).reshape(-1))
        within = np.minimum(found - np.repeat(lane[:, 0] * particles, particles), particles - 1)
        source = np.arange(self.weights.size)
        source[self.rows_of(users)] = np.repeat(users * particles, particles) + within
        ident = self.block.nature.ident
        self.block = replace(self.block, nature=replace(self.block.nature.take(source), ident=ident))
        self.state = self.state.take(source)
        self.weights[users] = 1.0 / particles

    def away(self, spec: WorldSpec, gone_day: Index, *, end: int) -> None:
        """When those come back who have uninstalled on `gone_day` and had not come back before day `end`."""
        rows = self.rows_of(np.flatnonzero(gone_day >= 0))
        since = np.repeat(gone_day[gone_day >= 0], self.weights.shape[1])
        back = np.zeros(len(rows), dtype=np.int64)
        waiting, turn = np.arange(len(rows)), 0
        while waiting.size:
            back[waiting] = return_days(spec, self.block.nature.ident[rows[waiting]], since[waiting], turn=turn)
            waiting = waiting[(back[waiting] >= 0) & (back[waiting] < end)]
            turn += 1
        self.state.back_on[rows] = back
