"""The days that an ingest changes, written one by one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sojourn.core import fingerprint, progress
from sojourn.events._identity import EVENTS, FORMER, MATCHES, SETTLED, SUPERSEDED, Identity
from sojourn.events._stage import ROWS, STAGE
from sojourn.warehouse import Writer
from sojourn.warehouse.engine import identifier

ORDER = ("ts", "event_id")
ROWS_AT_ONCE = 1_000_000
ROW_GROUP = 122_880
# Sorting a stage costs about as much as reading it this many times.
SCATTERED = 6
GATHERED = "_gathered"
# More than this share of corrections in one source is probably no correction: the mapped id names something else.
MANY_CORRECTIONS = 0.05


@dataclass(frozen=True)
class Outcome:
    """What a merge did with the good rows: how many were new, known, or corrected a known id; partitions touched."""

    kept: int
    duplicate: int
    corrections: int
    written: int
    unchanged: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """How one day of a table changes: rows that come new, from settled versions, or go; and the mix of their hashes."""

    day: str
    new: int
    settled: int
    former: int
    mix: int = 0


@dataclass(frozen=True)
class EventDays:
    """The days of events and of superseded versions as they will stand.

    A day's fingerprint is the exclusive or of its rows' hashes: rows that come and go change it without the others
    being read, and the order of ingests leaves no trace in it.
    """

    identity: Identity

    def store(self, writer: Writer, history_writer: Writer) -> Outcome:
        """Write the days that change. A kill between two days loses nothing: the same ingest again completes it."""
        counts = self.identity.settle()
        self._gather_days()
        # Superseded versions first: until then the only copy of one is the event that is about to be replaced.
        gained_superseded, _ = self.write(SUPERSEDED, history_writer)
        gained_events, events = self.write(EVENTS, writer)
        gained = gained_superseded + gained_events
        if gained != counts.kept - counts.stored_twice:
            raise RuntimeError(
                f"ingest gained {gained} rows for {counts}; this is a fault of Sojourn, please report it."
            )
        known = set(self._days(f"SELECT day FROM {FORMER} WHERE superseded_at IS NULL"))
        unchanged = len(known - {change.day for change in events})
        notes = self._notes(counts.kept + counts.duplicate, counts.corrections)
        return Outcome(counts.kept, counts.duplicate, counts.corrections, len(events), unchanged, notes)

    def write(self, table: str, writer: Writer) -> tuple[int, list[Change]]:
        """Write the days of one table that change; how many rows it gained, and how each day changed."""
        changes, gained = self._changes(table), 0
        with progress(f"days of {table}", total=len(changes)) as advance:
            for change in self._mixed(table, changes):
                gained += self._put(writer, table, change)
                advance(1)
        return gained, changes

    def _gather_days(self) -> None:
        """Sort a big stage by day where its days lie scattered, so that writing each day does not read all of it."""
        engine = self.identity.engine
        groups = f"SELECT count(DISTINCT _day) AS days FROM {STAGE} GROUP BY rowid // {ROW_GROUP}"
        [(rows, days)] = engine.rows(f"SELECT (SELECT count(*) FROM {STAGE}), coalesce(avg(days), 0) FROM ({groups})")
        if rows > ROWS_AT_ONCE and days > SCATTERED:
            engine.run(f"CREATE OR REPLACE TEMP TABLE {GATHERED} AS SELECT * FROM {STAGE} ORDER BY _day")
            engine.run(f"DROP TABLE {STAGE}")
            engine.run(f"ALTER TABLE {GATHERED} RENAME TO {STAGE}")

    def _changes(self, table: str) -> list[Change]:
        """The days that change, those that gain a row before those that only lose one to another day."""
        now, then = self._settled(table), self._former(table)
        gains = self._days(f"SELECT day FROM ({now} EXCEPT {then})")
        losses = self._days(f"SELECT day FROM ({then} EXCEPT {now})")
        new = self._counts(f"SELECT _day AS day FROM {STAGE}") if table == EVENTS else {}
        settled, former = self._counts(now), self._counts(then)
        days = list(dict.fromkeys([*sorted({*new, *gains}), *losses]))
        return [Change(day, new.get(day, 0), settled.get(day, 0), former.get(day, 0)) for day in days]

    def _mixed(self, table: str, changes: Sequence[Change]) -> Iterator[Change]:
        """The same changes with their mixes, computed for as many days at once as memory holds.

        Small days share a pass; a big day has one just before it is written, since a pass over all would read a big
        stage back from disk.
        """
        batch: list[Change] = []
        for change in changes:
            if batch and sum(each.new + each.settled + each.former for each in [*batch, change]) > ROWS_AT_ONCE:
                yield from self._with_mixes(table, batch)
                batch = []
            batch.append(change)
        if batch:
            yield from self._with_mixes(table, batch)

    def _with_mixes(self, table: str, changes: Sequence[Change]) -> Iterator[Change]:
        names = ", ".join(map(identifier, self.identity.columns))
        days = ", ".join(f"DATE '{change.day}'" for change in changes)
        parts = [
            f"SELECT * FROM ({part}) WHERE day IN ({days})" for part in (self._settled(table), self._former(table))
        ]
        if table == EVENTS:
            parts.append(f"SELECT {self.identity.rows(staged=True)}, _day AS day FROM {ROWS} WHERE _day IN ({days})")
        mixed = (
            f"SELECT day, bit_xor(hash({names}{_until(table)})) AS mix FROM ({' UNION ALL '.join(parts)}) GROUP BY day"
        )
        mixes: dict[str, int] = dict(self.identity.engine.rows(f"SELECT CAST(day AS VARCHAR), mix FROM ({mixed})"))
        for change in changes:
            yield replace(change, mix=mixes[change.day])

    def _put(self, writer: Writer, table: str, change: Change) -> int:
        """Write one day of a table; how many rows it gained. A day left without rows is dropped."""
        identity = self.identity
        old = identity.before[table].get(change.day)
        before = 0 if old is None else old.rows
        if before - change.former + change.settled + change.new == 0:
            writer.drop({"day": change.day})
            return -before
        names = ", ".join(map(identifier, identity.columns)) + _until(table)
        parts = []
        if change.new:
            parts.append(f"SELECT {identity.rows(staged=True)} FROM {ROWS} WHERE _day = DATE '{change.day}'")
        if change.settled:
            parts.append(f"SELECT {names} FROM ({self._settled(table)}) WHERE day = DATE '{change.day}'")
        if before:
            stored = identity.warehouse.relation(table, only=[{"day": change.day}])
            kept = f" WHERE {identity.key()} NOT IN (SELECT h FROM {MATCHES})" if change.former else ""
            parts.append(f"SELECT {identity.rows(relation=stored)}{_until(table)} FROM {stored}{kept}")
        rest = [name for name in identity.columns if name not in {"event_id", "arrived_at"}]
        order = ORDER if table == EVENTS else ("event_id", "arrived_at", "superseded_at", *rest)
        query = parts[0] if len(parts) == 1 else f"SELECT * FROM ({' UNION ALL '.join(parts)})"
        mark = self._mark(old.fingerprint if old else None, change.mix)
        return writer.put({"day": change.day}, query, order_by=order, fingerprint=mark).rows - before

    def _mark(self, old: str | None, mix: int) -> str:
        """The day's fingerprint: the old one (the warehouse's, for a new day) with the rows that came or went."""
        start = fingerprint(self.identity.warehouse.spec.to_json()) if old is None else old
        # Another writer's fingerprint may have any form.
        number = int(start if re.fullmatch("[0-9a-f]{16}", start) else fingerprint(start), 16)
        return f"{number ^ mix:016x}"

    def _settled(self, table: str) -> str:
        which = "_place = 1" if table == EVENTS else "_place > 1"
        return f"SELECT {self.identity.rows()}{_until(table)}, day FROM {SETTLED} WHERE {which}"

    def _former(self, table: str) -> str:
        which = "IS NULL" if table == EVENTS else "IS NOT NULL"
        return f"SELECT {self.identity.rows()}{_until(table)}, day FROM {FORMER} WHERE superseded_at {which}"

    def _days(self, query: str) -> list[str]:
        rows = self.identity.engine.rows(f"SELECT DISTINCT CAST(day AS VARCHAR) FROM ({query}) ORDER BY 1")
        return [day for (day,) in rows]

    def _counts(self, query: str) -> dict[str, int]:
        return dict(self.identity.engine.rows(f"SELECT CAST(day AS VARCHAR), count(*) FROM ({query}) GROUP BY day"))

    def _notes(self, rows: int, corrections: int) -> tuple[str, ...]:
        if not self.identity.own_ids or corrections <= MANY_CORRECTIONS * rows:
            return ()
        repeated = f"{corrections:,} of {rows:,} rows gave a known event_id another content."
        return (f"{repeated} If each line is an event of its own, leave the id out: --map event_id=",)


def _until(table: str) -> str:
    return ", superseded_at" if table == SUPERSEDED else ""
