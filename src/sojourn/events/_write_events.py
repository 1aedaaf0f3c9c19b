"""The days that an ingest changes, written one by one."""

import re
from dataclasses import dataclass

from sojourn.core import fingerprint, progress
from sojourn.events._identity import EVENTS, FORMER, MATCHES, SETTLED, SUPERSEDED, Identity
from sojourn.events._stage import ROWS, STAGE
from sojourn.warehouse import Writer
from sojourn.warehouse.engine import identifier

ORDER = ("ts", "event_id")
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
class EventDays:
    """The days of events and of superseded versions as they will stand.

    A day's fingerprint is the exclusive or of its rows' hashes: rows that come and go change it without the others
    being read, and the order of ingests leaves no trace in it.
    """

    identity: Identity

    def store(self, writer: Writer, history_writer: Writer) -> Outcome:
        """Write the days that change. A kill between two days loses nothing: the same ingest again completes it."""
        counts = self.identity.settle()
        superseded = self._changed(SUPERSEDED)
        events = self._changed(EVENTS)
        gained = 0
        with progress("days", total=len(superseded) + len(events)) as advance:
            # Superseded versions first: until then the only copy of one is the event that is about to be replaced.
            for table, put, days in ((SUPERSEDED, history_writer, superseded), (EVENTS, writer, events)):
                for day in days:
                    gained += self._put(put, table, day)
                    advance(1)
        if gained != counts.kept - counts.stored_twice:
            raise RuntimeError(
                f"ingest gained {gained} rows for {counts}; this is a fault of Sojourn, please report it."
            )
        known = set(self._days(f"SELECT day FROM {FORMER} WHERE superseded_at IS NULL")) - set(events)
        notes = self._notes(counts.kept + counts.duplicate, counts.corrections)
        return Outcome(counts.kept, counts.duplicate, counts.corrections, len(events), len(known), notes)

    def _changed(self, table: str) -> list[str]:
        """The days that change, those that gain a row before those that only lose one to another day."""
        now = f"SELECT * FROM ({self._settled(table)})"
        then = f"SELECT * FROM ({self._former(table)})"
        gain = f"SELECT day FROM ({now} EXCEPT {then})"
        if table == EVENTS:
            gain += f" UNION ALL SELECT DISTINCT _day AS day FROM {STAGE}"
        gains = self._days(gain)
        losses = self._days(f"SELECT day FROM ({then} EXCEPT {now})")
        return [*gains, *(day for day in losses if day not in set(gains))]

    def _put(self, writer: Writer, table: str, day: str) -> int:
        """Write one day of a table; how many rows it gained. A day left without rows is dropped."""
        identity = self.identity
        old = identity.before[table].get(day)
        parts = [f"SELECT * EXCLUDE (day) FROM ({self._settled(table)}) WHERE day = DATE '{day}'"]
        if table == EVENTS:
            parts.append(f"SELECT {identity.rows(staged=True)} FROM {ROWS} WHERE _day = DATE '{day}'")
        if old is not None:
            stored = identity.warehouse.relation(table, only=[{"day": day}])
            kept = f"{identity.key()} NOT IN (SELECT h FROM {MATCHES})"
            parts.append(f"SELECT {identity.rows(relation=stored)}{_until(table)} FROM {stored} WHERE {kept}")
        query = f"SELECT * FROM ({' UNION ALL '.join(parts)})"
        before = 0 if old is None else old.rows
        if not identity.engine.rows(f"SELECT 1 FROM ({query}) LIMIT 1"):
            writer.drop({"day": day})
            return -before
        rest = [name for name in identity.columns if name not in {"event_id", "arrived_at"}]
        order = ORDER if table == EVENTS else ("event_id", "arrived_at", "superseded_at", *rest)
        mark = self._mark(old.fingerprint if old else None, self._delta(table, day))
        return writer.put({"day": day}, query, order_by=order, fingerprint=mark).rows - before

    def _mark(self, old: str | None, delta: int) -> str:
        """The day's fingerprint: the old one (the warehouse's, for a new day) with the rows that came or went."""
        start = fingerprint(self.identity.warehouse.spec.to_json()) if old is None else old
        # Another writer's fingerprint may have any form.
        number = int(start if re.fullmatch("[0-9a-f]{16}", start) else fingerprint(start), 16)
        return f"{number ^ delta:016x}"

    def _delta(self, table: str, day: str) -> int:
        """The exclusive or of the hashes of all rows that come to this day or go from it."""
        names = ", ".join(map(identifier, self.identity.columns))
        # By day, just before the day is written: its rows are then in memory once, while a pass over all days would
        # read a big stage back from disk.
        parts = [
            f"SELECT * FROM ({part}) WHERE day = DATE '{day}'" for part in (self._settled(table), self._former(table))
        ]
        if table == EVENTS:
            parts.append(f"SELECT {self.identity.rows(staged=True)}, _day AS day FROM {ROWS} WHERE _day = DATE '{day}'")
        query = f"SELECT bit_xor(hash({names}{_until(table)})) FROM ({' UNION ALL '.join(parts)})"
        [(mixed,)] = self.identity.engine.rows(query)
        return mixed or 0

    def _settled(self, table: str) -> str:
        which = "place = 1" if table == EVENTS else "place > 1"
        return f"SELECT {self.identity.rows()}{_until(table)}, day FROM {SETTLED} WHERE {which}"

    def _former(self, table: str) -> str:
        which = "IS NULL" if table == EVENTS else "IS NOT NULL"
        return f"SELECT {self.identity.rows()}{_until(table)}, day FROM {FORMER} WHERE superseded_at {which}"

    def _days(self, query: str) -> list[str]:
        rows = self.identity.engine.rows(f"SELECT DISTINCT CAST(day AS VARCHAR) FROM ({query}) ORDER BY 1")
        return [day for (day,) in rows]

    def _notes(self, rows: int, corrections: int) -> tuple[str, ...]:
        if not self.identity.own_ids or corrections <= MANY_CORRECTIONS * rows:
            return ()
        repeated = f"{corrections:,} of {rows:,} rows gave a known event_id another content."
        return (f"{repeated} If each line is an event of its own, leave the id out: --map event_id=",)


def _until(table: str) -> str:
    return ", superseded_at" if table == SUPERSEDED else ""
