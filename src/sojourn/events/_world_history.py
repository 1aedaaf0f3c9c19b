"""A block of users lives day after day, with and without pushes, and keeps what the tables beside events need."""

from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sojourn.events import _world_numbers as numbers
from sojourn.events._world_arrow import Refunds, event_table, push_table
from sojourn.events._world_calendar import Morning
from sojourn.events._world_draws import Index
from sojourn.events._world_life import Lived, live_day
from sojourn.events._world_log import INSTALLED, PURCHASE, Log, write_log
from sojourn.events._world_money import Purchases
from sojourn.events._world_people import Block, block_of
from sojourn.events._world_sessions import sessions
from sojourn.events._world_spec import WorldSpec
from sojourn.events._world_state import State, newborn

Array = npt.NDArray[Any]


@dataclass
class Totals:
    """What each row has done so far. `gone_day` is the day of the first uninstall (-1: not yet)."""

    active_days: Index
    sessions: Index
    purchases: Index
    spend_cents: Index
    refund_cents: Index
    gone_day: Index

    @classmethod
    def zero(cls, people: int) -> Self:
        """Nothing yet."""
        counts = {each.name: np.zeros(people, dtype=np.int64) for each in fields(cls)}
        return cls(**counts | {"gone_day": np.full(people, -1, dtype=np.int64)})

    def add(self, lived: Lived, *, day: int) -> None:
        """Count one more day. A refund counts on the day of its purchase."""
        self.active_days[lived.today.active] += 1
        self.sessions[lived.today.active] += lived.today.sessions
        bought = lived.bought
        np.add.at(self.purchases, bought.row, 1)
        np.add.at(self.spend_cents, bought.row, bought.cents)
        np.add.at(self.refund_cents, bought.row, np.where(bought.refund_day >= 0, bought.cents, 0))
        left = lived.today.left
        self.gone_day[left[self.gone_day[left] < 0]] = day


@dataclass
class Twin:
    """The same people with the same luck in the world where nobody is ever pushed.

    Only users whom the campaigns can reach are lived twice (`rows` of the block); for the others both worlds are one.
    """

    rows: Index
    block: Block
    state: State
    totals: Totals


@dataclass
class History:
    """A block's life so far."""

    spec: WorldSpec
    block: Block
    state: State
    totals: Totals
    twin: Twin
    installed_us: Index
    pushes: Index
    refunds: dict[int, list[Refunds]] = field(default_factory=dict)

    @classmethod
    def begin(cls, spec: WorldSpec, users: Index) -> Self:
        """These users before the first day."""
        block = block_of(spec, users)
        rows = np.flatnonzero(block.portrait.opted_in & block.portrait.programme)
        return cls(
            spec=spec,
            block=block,
            state=newborn(len(users)),
            totals=Totals.zero(len(users)),
            twin=Twin(rows, block.take(rows), newborn(len(rows)), Totals.zero(len(rows))),
            installed_us=np.zeros(len(users), dtype=np.int64),
            pushes=np.zeros(len(users), dtype=np.int64),
        )

    def live(self, morning: Morning) -> tuple[pa.Table, pa.Table]:
        """Live one day; its rows of the tables `events` and `pushes`."""
        day, twin = morning.day, self.twin
        lived = live_day(morning, self.block, self.state, pushing="campaigns")
        self.totals.add(lived, day=day.index)
        twin.totals.add(live_day(morning, twin.block, twin.state, pushing="nobody"), day=day.index)
        self.pushes[lived.today.pushed] += 1
        return self._events(lived, morning), self._pushes(lived, morning)

    def without_pushes(self) -> Totals:
        """The totals had nobody been pushed."""
        columns = {name: values.copy() for name, values in vars(self.totals).items()}
        for name, values in vars(self.twin.totals).items():
            columns[name][self.twin.rows] = values
        return Totals(**columns)

    def _events(self, lived: Lived, morning: Morning) -> pa.Table:
        day, users = morning.day, self.block.portrait.user
        refunds = self._due(day.index)
        found = sessions(morning, self.block, self.state, lived, refunds=refunds.row)
        log = write_log(morning, self.block, found)
        installs = np.flatnonzero(log.event == INSTALLED)
        self.installed_us[found.row[log.session[installs]]] = log.ts[installs]
        self._schedule(log, lived.bought)
        return event_table(log, found, users=users, cents=lived.bought.cents, refunds=refunds, day=day.index)

    def _pushes(self, lived: Lived, morning: Morning) -> pa.Table:
        turn, day = lived.turn, morning.day
        campaign = numbers.PUSH_CAMPAIGNS[day.index % len(numbers.PUSH_CAMPAIGNS)]
        users = self.block.portrait.user[turn.row]
        return push_table(users, turn.propensity, turn.sent, day=day.index, campaign=campaign, when_us=day.start_us)

    def _due(self, day: int) -> Refunds:
        due = self.refunds.pop(day, None) or [_no_refunds()]
        together = Refunds(**{name: np.concatenate([getattr(each, name) for each in due]) for name in vars(due[0])})
        return together.take(np.argsort(together.row, kind="stable"))

    def _schedule(self, log: Log, bought: Purchases) -> None:
        places = np.flatnonzero(log.event == PURCHASE)  # in the order of `bought`: by user, then by session
        later = np.flatnonzero(bought.refund_day >= 0)
        orders = Refunds(bought.row, bought.cents, log.item[places], log.ident[places])
        for day in np.unique(bought.refund_day[later]).tolist():
            self.refunds.setdefault(day, []).append(orders.take(later[bought.refund_day[later] == day]))


def _no_refunds() -> Refunds:
    nothing = np.zeros(0, dtype=np.int64)
    return Refunds(nothing, nothing, np.zeros(0, dtype=np.int16), np.zeros(0, dtype=np.uint64))
