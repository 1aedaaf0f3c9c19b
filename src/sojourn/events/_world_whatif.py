"""A world's spec and a plan of pushes go in; what the truth says of each user's coming days comes out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from sojourn.core import BadInput
from sojourn.events import _world_numbers as numbers
from sojourn.events._world_arrow import user_ids
from sojourn.events._world_calendar import mornings
from sojourn.events._world_draws import Index
from sojourn.events._world_life import Pushing, live_day
from sojourn.events._world_people import Block, block_of
from sojourn.events._world_spec import PushPlan, WorldSpec
from sojourn.events._world_state import State, newborn

BATCH_ROWS = 1 << 17
_REPLICATE_BIT = 36  # above every user number, below the bits that sessions need


@dataclass
class Ahead:
    """Sums over draws, one row per user and one column per day ahead."""

    active: np.ndarray
    installed: np.ndarray
    spend_cents: np.ndarray

    @classmethod
    def nothing(cls, users: int, days: int) -> "Ahead":
        """No draws yet."""
        return cls(*(np.zeros((users, days)) for _ in range(3)))


def truth_activity(
    spec: WorldSpec, plan: PushPlan, *, draws: int = 64, users: Sequence[str] | None = None
) -> pl.DataFrame:
    """The true probability that each user is active on each day of the plan, from the hidden state at `plan.as_of`.

    Columns: user_id, day, active_prob, installed_prob, spend_usd (expected gross spend). Rows: the users installed
    before `as_of` (of `users`, None: of all) times the plan's days. The past is the world's own, campaigns included;
    the future is averaged over `draws` lives. The same draws serve every plan, so the difference of two plans is the
    effect of the pushes with little noise, and exactly zero at strength 0. No model sees what this sees: it is the
    bound, not a competitor (`best_activity` is what can be known from a user's history).

    >>> from datetime import date
    >>> world = WorldSpec(users=200, days=40)
    >>> truth_activity(world, PushPlan(as_of=date(2025, 1, 30), horizon_days=2), draws=4).columns
    ['user_id', 'day', 'active_prob', 'installed_prob', 'spend_usd']
    """
    block, state = lived_until(spec, plan, chosen(spec, users))
    rows = np.flatnonzero(block.portrait.install_day < day_index(spec, plan))
    ahead = Ahead.nothing(len(rows), plan.horizon_days)
    for first, lives in _batches(len(rows), draws):
        which = np.repeat(np.arange(len(rows)), lives)
        turn = np.tile(np.arange(first, first + lives), len(rows)).astype(np.uint64)
        many = copies(block, rows[which], turn)
        look_ahead(spec, plan, many, state.take(rows[which]), into=ahead, which=which)
    return ahead_table(plan, block.portrait.user[rows], ahead, draws=draws)


def truth_days(spec: WorldSpec, *, users: Sequence[str] | None = None) -> pl.DataFrame:
    """What each day was for each user, and would have been had nobody ever been pushed.

    Columns: user_id, day, level, active_prob, active, pushed, level_unpushed, active_prob_unpushed, active_unpushed:
    `active_prob` is the chance given the hidden state of that morning. A user has rows from the install on; the chance
    is 0 while the app is uninstalled (level null).
    """
    kinds: tuple[tuple[Pushing, str], ...] = (("campaigns", ""), ("nobody", "_unpushed"))
    worlds = [
        _history(spec, chosen(spec, users), pushing=pushing).rename(
            {name: name + suffix for name in ("level", "active_prob", "active", "pushed")}
        )
        for pushing, suffix in kinds
    ]
    together = worlds[0].join(worlds[1].drop("pushed_unpushed"), on=["user_id", "day"], how="full", coalesce=True)
    return together.sort("user_id", "day")


def chosen(spec: WorldSpec, users: Sequence[str] | None) -> Index:
    """The numbers of these users. Raises `BadInput` for an id that is not of this world."""
    if users is None:
        return np.arange(spec.users)
    strange = [user for user in users if not (user[:1] == "u" and user[1:].isdigit() and int(user[1:]) < spec.users)]
    if strange:
        raise BadInput(
            f"User {strange[0]!r} does not live in this world of {spec.users} users. Take ids from its table users."
        )
    return np.array(sorted({int(user[1:]) for user in users}), dtype=np.int64)


def lived_until(spec: WorldSpec, plan: PushPlan, users: Index) -> tuple[Block, State]:
    """These users and their state on the morning of `plan.as_of`."""
    block, state = block_of(spec, users), newborn(len(users))
    for morning in mornings(spec, end=day_index(spec, plan)):
        live_day(morning, block, state, pushing="campaigns")
    return block, state


def look_ahead(spec: WorldSpec, plan: PushPlan, block: Block, state: State, *, into: Ahead, which: Index) -> None:
    """Live the plan's days and add them up; `which` is the row of `into` for each row of the block."""
    first = day_index(spec, plan)
    for ahead, morning in enumerate(mornings(spec, first=first, end=first + plan.horizon_days)):
        pushing = _pushing(plan, ahead)
        lived = live_day(morning, block, state, pushing=pushing)
        rows = len(into.active)
        into.active[:, ahead] += np.bincount(which[lived.who], lived.chance, minlength=rows)
        into.installed[:, ahead] += np.bincount(which[lived.who], minlength=rows)
        into.spend_cents[:, ahead] += np.bincount(which[lived.bought.row], lived.bought.cents, minlength=rows)


def _pushing(plan: PushPlan, ahead: int) -> Pushing:
    if ahead in plan.offsets:
        return "everyone"
    return "nobody" if ahead in plan.quiet else plan.otherwise


def copies(block: Block, rows: Index, turn: np.ndarray) -> Block:
    """These rows of the block as people of their own, with luck of their own from now on."""
    taken = block.take(rows)
    ident = taken.nature.ident | (turn + np.uint64(1) << np.uint64(_REPLICATE_BIT))
    return replace(taken, nature=replace(taken.nature, ident=ident))


def ahead_table(plan: PushPlan, users: Index, ahead: Ahead, *, draws: int) -> pl.DataFrame:
    """One row per user and day ahead, averaged over the draws."""
    return pl.DataFrame(
        {
            "user_id": _repeated_ids(users, np.repeat(np.arange(len(users)), plan.horizon_days)),
            "day": _days(plan.as_of, np.tile(np.arange(plan.horizon_days), len(users))),
            "active_prob": ahead.active.reshape(-1) / draws,
            "installed_prob": ahead.installed.reshape(-1) / draws,
            "spend_usd": ahead.spend_cents.reshape(-1) / (100 * draws),
        }
    )


def _history(spec: WorldSpec, users: Index, *, pushing: Pushing) -> pl.DataFrame:
    block, state = block_of(spec, users), newborn(len(users))
    levels = pl.Series(numbers.LEVELS)
    days = []
    for morning in mornings(spec):
        lived = live_day(morning, block, state, pushing=pushing)
        seen = np.flatnonzero(block.portrait.install_day <= morning.day.index)
        chance = np.zeros(len(users), dtype=np.float32)
        chance[lived.who] = lived.chance
        days.append(
            pl.DataFrame(
                {
                    "user_id": _repeated_ids(users, seen),
                    "day": _days(spec.start, np.full(len(seen), morning.day.index)),
                    "level": pl.select(
                        pl.when(pl.Series(np.isin(seen, lived.who))).then(levels.gather(state.level[seen]))
                    ).to_series(),
                    "active_prob": chance[seen],
                    "active": np.isin(seen, lived.today.active),
                    "pushed": np.isin(seen, lived.today.pushed),
                }
            )
        )
    return pl.concat(days)


def _repeated_ids(users: Index, rows: Index) -> pl.Series:
    ids = pl.from_arrow(user_ids(users))
    assert isinstance(ids, pl.Series)
    return ids.gather(rows)


def _days(start: date, offsets: Index) -> pl.Series:
    return (pl.Series(offsets + start.toordinal() - date(1970, 1, 1).toordinal()).cast(pl.Int32)).cast(pl.Date)


def _batches(rows: int, draws: int) -> Iterator[tuple[int, int]]:
    size = max(1, BATCH_ROWS // max(rows, 1))
    for first in range(0, draws, size):
        yield first, min(size, draws - first)


def day_index(spec: WorldSpec, plan: PushPlan) -> int:
    """The world's day on which the plan begins. Raises `BadInput` when that is before anybody has a history."""
    days = (plan.as_of - spec.start).days
    if days < 1:
        raise BadInput(f"The plan begins on {plan.as_of}, before anybody has a history: the world starts {spec.start}.")
    return days
