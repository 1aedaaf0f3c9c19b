"""A world's spec goes in; its tables go into a warehouse, and the truth about it into another beside."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from sojourn.core import BadInput, progress
from sojourn.events._world_beside import costs_table, users_table
from sojourn.events._world_calendar import Morning, mornings
from sojourn.events._world_catalogue import items
from sojourn.events._world_history import History
from sojourn.events._world_numbers import WORLD_VERSION
from sojourn.events._world_spec import WorldSpec
from sojourn.events._world_truth import (
    truth_items_table,
    truth_tastes_table,
    truth_users_table,
    truth_warehouse,
    truth_world_table,
)
from sojourn.warehouse import Warehouse, Writer

BLOCK_USERS = 1 << 17
LOGS = ("events", "pushes")
BESIDE = ("users", "items", "costs")


@dataclass(frozen=True)
class SimulationReport:
    """What a simulation wrote. Money in dollars; `truth` is the folder of the truth's own warehouse."""

    world_version: int
    world: str
    users: int
    days: int
    events: int
    pushes: int
    purchases: int
    payers: int
    spend_usd: Decimal
    refunds_usd: Decimal
    truth: Path

    def summary(self) -> str:
        """The report in a few lines for a person."""
        return (
            f"world {self.world} (version {self.world_version}): {self.users:,} users, {self.days:,} days\n"
            f"{self.events:,} events, {self.pushes:,} push decisions\n"
            f"{self.payers:,} users ({self.payers / self.users:.1%}) made {self.purchases:,} purchases "
            f"for ${self.spend_usd:,.2f}, of which ${self.refunds_usd:,.2f} is or will be refunded\n"
            f"the truth is in {self.truth}"
        )


def simulate(warehouse: Warehouse, spec: WorldSpec) -> SimulationReport:
    """Write the world into the warehouse's tables events, pushes, users, items and costs, day by day.

    The truth goes into a warehouse of its own beside (`truth_warehouse`), so that no feature can read it by accident.
    Days that are already there with this world's fingerprint are kept: an interrupted run goes on where it stopped, and
    more `days` extend it. Raises `BadInput` when the zones differ or the warehouse holds tables of another origin.
    """
    return _simulate(warehouse, spec, block_users=BLOCK_USERS)


def _simulate(warehouse: Warehouse, spec: WorldSpec, *, block_users: int) -> SimulationReport:
    _check(warehouse, spec)
    starts = range(0, spec.users, block_users)
    histories = [History.begin(spec, np.arange(first, min(first + block_users, spec.users))) for first in starts]
    rows = _write_days(warehouse, spec, histories)
    _write_whole(warehouse, spec, users=users_table(spec, histories), items=items(), costs=costs_table(spec, histories))
    truth = truth_warehouse(warehouse)
    _write_whole(
        truth,
        spec,
        truth_world=truth_world_table(spec),
        truth_users=pl.concat([truth_users_table(spec, history) for history in histories]),
        truth_items=truth_items_table(),
        truth_tastes=truth_tastes_table(),
    )
    return _report(spec, histories, rows, truth.root)


def _check(warehouse: Warehouse, spec: WorldSpec) -> None:
    if warehouse.spec.zone != spec.zone:
        raise BadInput(
            f"The world's days are those of {spec.zone}, the warehouse's those of {warehouse.spec.zone}. "
            f"Give the world the warehouse's zone: spec.with_changes(zone={warehouse.spec.zone!r})"
        )
    foreign = [table for table in (*LOGS, *BESIDE) if _is_foreign(warehouse, table, spec)]
    if foreign:
        raise BadInput(
            f"The warehouse {warehouse.root} already holds {', '.join(foreign)} that this world did not write. "
            "Simulate into a new folder; to add days to a world, repeat its other settings and its install_days."
        )


def _is_foreign(warehouse: Warehouse, table: str, spec: WorldSpec) -> bool:
    return any(not info.fingerprint.startswith(spec.world) for info in warehouse.partitions(table)[:1])


def _write_days(warehouse: Warehouse, spec: WorldSpec, histories: list[History]) -> dict[str, int]:
    """Write each day's events and pushes; the rows of each table. One day is written while the next is lived."""
    rows = dict.fromkeys(LOGS, 0)
    with ExitStack() as stack:
        writers = {table: stack.enter_context(warehouse.writing(table)) for table in LOGS}
        stored = {table: _stored(warehouse, table) for table in LOGS}
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=1))
        advance = stack.enter_context(progress("days", total=spec.days))
        pending: Future[None] | None = None
        for day, tables in _lived_days(spec, histories):
            if pending is not None:
                pending.result()
            fresh = {name: table for name, table in tables.items() if stored[name].get(day) != _mark(spec, day)}
            pending = pool.submit(_write_day, writers, fresh, day=day, fingerprint=_mark(spec, day))
            for name, table in tables.items():
                rows[name] += table.num_rows
            advance(1)
        if pending is not None:
            pending.result()
        for name, writer in writers.items():
            for day in sorted(stored[name]):
                if day > spec.last_day.isoformat():
                    writer.drop({"day": day})
    return rows


def _lived_days(spec: WorldSpec, histories: list[History]) -> Iterator[tuple[str, dict[str, pa.Table]]]:
    for morning in mornings(spec):
        yield morning.day.date.isoformat(), _live(morning, histories)


def _live(morning: Morning, histories: list[History]) -> dict[str, pa.Table]:
    parts = zip(*(history.live(morning) for history in histories), strict=True)
    return {name: pa.concat_tables(tables).combine_chunks() for name, tables in zip(LOGS, parts, strict=True)}


def _write_day(writers: dict[str, Writer], tables: dict[str, pa.Table], *, day: str, fingerprint: str) -> None:
    for name, table in tables.items():
        # The rows come in the order (user_id, ts, event_id) and in one chunk: the bytes are those that sorting them
        # again would give, for two thirds of the time.
        writers[name].put({"day": day}, table, order_by=(), fingerprint=fingerprint)


def _write_whole(warehouse: Warehouse, spec: WorldSpec, **tables: pl.DataFrame) -> None:
    for name, table in tables.items():
        with warehouse.writing(name) as writer:
            writer.put({}, table, order_by=(), fingerprint=f"{spec.world}:{spec.days}")


def _stored(warehouse: Warehouse, table: str) -> dict[str, str]:
    return {info.partition["day"]: info.fingerprint for info in warehouse.partitions(table)}


def _mark(spec: WorldSpec, day: str) -> str:
    return f"{spec.world}:{day}"


def _report(spec: WorldSpec, histories: list[History], rows: dict[str, int], truth: Path) -> SimulationReport:
    totals = [history.totals for history in histories]
    return SimulationReport(
        world_version=WORLD_VERSION,
        world=spec.world,
        users=spec.users,
        days=spec.days,
        events=rows["events"],
        pushes=rows["pushes"],
        purchases=sum(int(each.purchases.sum()) for each in totals),
        payers=sum(int((each.purchases > 0).sum()) for each in totals),
        spend_usd=Decimal(sum(int(each.spend_cents.sum()) for each in totals)) / 100,
        refunds_usd=Decimal(sum(int(each.refund_cents.sum()) for each in totals)) / 100,
        truth=truth,
    )
