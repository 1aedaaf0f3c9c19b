"""Which events are new, which are here already, and which version of a corrected one stands.

A row is *contested* when its id occurs more than once among the new rows or is stored already. Only contested rows are
compared; all others pass straight through. The state of an id is the set of its versions, each with its first arrival:
merging sets does not depend on order, so neither does the table.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from sojourn.events._lists import made_from
from sojourn.events._stage import CANONICAL, ROWS, STAGE
from sojourn.warehouse import Engine, PartitionInfo, Warehouse
from sojourn.warehouse.engine import identifier, literal

EVENTS = "events"
SUPERSEDED = "superseded"
MATCHES = "_matches"
HITS = "_hits"
CONTESTED = "_contested"
FORMER = "_former"
SETTLED = "_settled"
HASH_DIGITS = 32
SORTED_AT_ONCE = 20_000_000


@dataclass(frozen=True)
class Counts:
    """How many of the good rows are new or known; how many versions stay second; how many rows are stored twice.

    The last is not 0 only after a kill between a superseded version's new place and its old one.
    """

    kept: int
    duplicate: int
    corrections: int
    stored_twice: int


@dataclass(frozen=True)
class Identity:
    """The stage's rows against the stored events; `staged` and `stored` are the types of the columns of each.

    `own_ids` says that ids are the source's; otherwise an id is the content's hash and the occurrence's number. `made`
    names the staged columns that are lists of a text. Such a list is no content of its own: it follows from the text.
    """

    warehouse: Warehouse
    staged: Mapping[str, str]
    stored: Mapping[str, str]
    own_ids: bool
    made: Collection[str] = ()

    @property
    def engine(self) -> Engine:
        """The warehouse's engine."""
        return self.warehouse.engine

    @cached_property
    def columns(self) -> dict[str, str]:
        """Every column of an event and its type: the canonical ones, then the others by name."""
        extras = {name: kind for name, kind in {**self.stored, **self.staged}.items() if name not in CANONICAL[EVENTS]}
        return CANONICAL[EVENTS] | dict(sorted(extras.items()))

    @cached_property
    def content(self) -> list[str]:
        """The columns by which two versions of an event differ."""
        own = {name for name in self.staged if name not in self.made}
        lists = {name for name in made_from(self.columns) if name not in own}
        return [name for name in self.columns if name != "arrived_at" and name not in lists]

    @cached_property
    def before(self) -> dict[str, dict[str, PartitionInfo]]:
        """Each day of both tables, as it was before this ingest."""
        return {
            table: {info.partition["day"]: info for info in self.warehouse.partitions(table)}
            for table in (EVENTS, SUPERSEDED)
        }

    def settle(self) -> Counts:
        """Leave the uncontested rows in the stage, and fill the tables of former and of settled versions."""
        self.engine.run(f"DELETE FROM {STAGE} WHERE _fault IS NOT NULL")
        self._match_stored()
        self._move_contested()
        self.collect_former()
        self.settle_versions()
        [(alone,)] = self.engine.rows(f"SELECT count(*) FROM {STAGE}")
        [(contested,)] = self.engine.rows(f"SELECT count(*) FROM {CONTESTED}")
        [(former, former_seconds)] = self.engine.rows(
            f"SELECT count(*), count(*) - count(DISTINCT event_id) FROM {FORMER}"
        )
        new = "count(*) FILTER (WHERE NOT _stored), count(*) FILTER (WHERE _stored)"
        [(kept, known, seconds)] = self.engine.rows(f"SELECT {new}, count(*) FILTER (WHERE _place > 1) FROM {SETTLED}")
        twice = former - known
        return Counts(alone + kept, contested - kept, seconds - (former_seconds - twice), twice)

    def rows(self, *, staged: bool = False, relation: str | None = None) -> str:
        """The list of an event's columns for SELECT: NULL where the stage, or this relation, lacks one."""
        found = self.staged if staged else self.columns if relation is None else self.columns_of(relation)
        parts = []
        for name, kind in self.columns.items():
            if staged and name == "event_id" and not self.own_ids:
                parts.append("event_id || '-1' AS event_id")
            else:
                parts.append(identifier(name) if name in found else f"CAST(NULL AS {kind}) AS {identifier(name)}")
        return ", ".join(parts)

    def columns_of(self, relation: str) -> dict[str, str]:
        """The columns of a relation and their types."""
        return self.engine.columns(f"SELECT * FROM {relation}")

    def key(self) -> str:
        """SQL for the number by which a stored event is matched with those of the stage."""
        # An id of the content's is stored with its occurrence's number, which the stage does not know yet.
        return "hash(event_id)" if self.own_ids else f"hash(left(event_id, {HASH_DIGITS}))"

    def _match_stored(self) -> None:
        """Which ids of the stage are stored, and in which days."""
        found = []
        for table in (EVENTS, SUPERSEDED):
            old = self._where_stored(table)
            if old is not None:
                known = f"{self._bounds()} AND {self.key()} IN (SELECT hash(event_id) FROM {STAGE})"
                found.append(f"SELECT {self.key()} AS h, day, '{table}' AS name FROM {old} WHERE {known}")
        none = "SELECT CAST(NULL AS UBIGINT) AS h, CAST(NULL AS DATE) AS day, NULL AS name WHERE FALSE"
        self.engine.run(f"CREATE OR REPLACE TEMP TABLE {MATCHES} AS {' UNION ALL '.join([none, *found])}")

    def _move_contested(self) -> None:
        twice = pl.DataFrame({"h": self._hashes_met_twice()})
        with self.engine.table(twice) as name:
            keys = f"SELECT h FROM {MATCHES} UNION ALL SELECT h FROM {name}"
            # Row numbers first: the other columns of a million uncontested rows are then not read.
            hits = f"SELECT rowid AS hit FROM {STAGE} WHERE hash(event_id) IN ({keys})"
            self.engine.run(f"CREATE OR REPLACE TEMP TABLE {HITS} AS {hits}")
        chosen = f"SELECT * FROM {ROWS} WHERE _row IN (SELECT hit FROM {HITS})"
        self.engine.run(f"CREATE OR REPLACE TEMP TABLE {CONTESTED} AS {chosen}")
        self.engine.run(f"DELETE FROM {STAGE} WHERE rowid IN (SELECT hit FROM {HITS})")

    def _hashes_met_twice(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Hashes of the ids that the stage has more than once: sorted in memory, which took a fifth of a GROUP BY."""
        [(rows,)] = self.engine.rows(f"SELECT count(*) FROM {STAGE}")
        parts = 1 + rows // SORTED_AT_ONCE
        found = []
        for part in range(parts):
            some = f"SELECT hash(event_id) AS h FROM {STAGE} WHERE hash(event_id) % {parts} = {part}"
            hashes = np.sort(self.engine.frame(some)["h"].to_numpy())
            found.append(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
        return np.concatenate(found)

    def collect_former(self) -> None:
        """Fill the table of former versions: every stored one of a matched id."""
        empty = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in self.columns.items())
        parts = [f"SELECT {empty}, CAST(NULL AS DATE) AS day, CAST(NULL AS TIMESTAMPTZ) AS superseded_at WHERE FALSE"]
        hashes = f"SELECT h FROM {MATCHES}"
        for table in (EVENTS, SUPERSEDED):
            days = self._days(f"SELECT DISTINCT day FROM {MATCHES} WHERE name = '{table}'")
            if days:
                old = self.warehouse.relation(table, only=[{"day": day} for day in days])
                until = "superseded_at" if table == SUPERSEDED else "CAST(NULL AS TIMESTAMPTZ)"
                rows = f"SELECT {self.rows(relation=old)}, day, {until} AS superseded_at FROM {old}"
                parts.append(f"{rows} WHERE {self.key()} IN ({hashes})")
        self.engine.run(f"CREATE OR REPLACE TEMP TABLE {FORMER} AS {' UNION ALL '.join(parts)}")

    def settle_versions(self, *, known: str = FORMER) -> None:
        """One row for each version of a contested id; `_place` 1 stands, the others ended at `superseded_at`.

        `known` is the relation from which the former versions are read.
        """
        number = "row_number() OVER (PARTITION BY _file, event_id ORDER BY arrived_at)"
        event_id = "event_id" if self.own_ids else f"event_id || '-' || {number}"
        new = f"SELECT * REPLACE ({event_id} AS event_id) FROM {CONTESTED}"
        content = ", ".join(map(identifier, self.content))
        # A replay that asks for a list fills it in or makes it anew; one that does not leaves it as it was.
        lists = "".join(
            f", coalesce(max({name}) FILTER (NOT _stored), max({name})) AS {name}"
            for name in (identifier(each) for each in self.columns if each not in {"arrived_at", *self.content})
        )
        latest = ", ".join(f"{identifier(name)} DESC NULLS LAST" for name in self._tie_break())
        staged = ", ".join(
            identifier(name) if name in self.staged else f"CAST(NULL AS {kind}) AS {identifier(name)}"
            for name, kind in self.columns.items()
        )
        self.engine.run(
            f"""
            CREATE OR REPLACE TEMP TABLE {SETTLED} AS
            SELECT *, lag(arrived_at) OVER w AS superseded_at, row_number() OVER w AS _place
            FROM (
                SELECT {content}{lists}, day, min(arrived_at) AS arrived_at, bool_or(_stored) AS _stored
                FROM (
                    SELECT {staged}, _day AS day, FALSE AS _stored FROM ({new})
                    UNION ALL SELECT {self.rows()}, day, TRUE AS _stored FROM {known}
                ) GROUP BY {content}, day
            )
            WINDOW w AS (PARTITION BY event_id ORDER BY arrived_at DESC, {latest})
            """
        )

    def _where_stored(self, table: str) -> str | None:
        """Where a version of a new row may be stored: anywhere for the source's own ids, else in the same days."""
        if not self.before[table]:
            return None
        if self.own_ids:
            return self.warehouse.relation(table)
        days = self._days(f"SELECT DISTINCT _day AS day FROM {STAGE}")
        stored = [{"day": day} for day in days if day in self.before[table]]
        return self.warehouse.relation(table, only=stored) if stored else None

    def _bounds(self) -> str:
        """Bounds of the new ids, by which Parquet's statistics spare most files when ids grow with time."""
        if not self.own_ids:
            return "TRUE"
        [(low, high)] = self.engine.rows(f"SELECT min(event_id), max(event_id) FROM {STAGE}")
        return "FALSE" if low is None else f"event_id BETWEEN {literal(low)} AND {literal(high)}"

    def _days(self, query: str) -> list[str]:
        return [day for (day,) in self.engine.rows(f"SELECT CAST(day AS VARCHAR) FROM ({query}) ORDER BY 1")]

    def _tie_break(self) -> Sequence[str]:
        first = ["ts", "amount"]
        return first + [name for name in self.content if name not in {*first, "event_id"}]
