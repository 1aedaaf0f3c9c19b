"""Users, items and costs: small tables in one file, where the latest word on a key stands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sojourn.core import BadInput
from sojourn.events._content import content_fingerprint
from sojourn.events._stage import CANONICAL, ROWS, STAGE
from sojourn.events._write_events import Outcome
from sojourn.events.spec import TableName
from sojourn.warehouse import Engine, Warehouse, Writer
from sojourn.warehouse.engine import identifier

KEYED = "_keyed"
WHOLE: dict[str, str] = {}


@dataclass(frozen=True)
class KeyedMerge:
    """The stage's rows against a stored table; `staged` and `stored` are the types of the columns of each.

    A key is (user_id, valid_from), an item_id, or everything of a cost but its amount. `snapshot` says that the source
    does not tell since when its portraits hold: an unchanged portrait then adds no version.
    """

    warehouse: Warehouse
    table: TableName
    staged: Mapping[str, str]
    stored: Mapping[str, str]
    snapshot: bool

    def store(self, writer: Writer, history_writer: Writer) -> Outcome:
        """Write the table, and the versions that no longer stand, where either changes."""
        new_rows = f"SELECT {self._listed(ROWS)}, FALSE AS _stored, FALSE AS _standing FROM ({self._new_rows()})"
        self._settle([new_rows, *self._stored_rows()])
        old = self._former()
        # The old versions first: until then the only copy of one is the row that is about to be replaced.
        written = self._put(history_writer, self._history, old) + self._put(writer, self.table, self._current())
        new, kept, corrections, versions = self._counts()
        if self._rows(self.table) + self._rows(self._history) != versions:
            raise RuntimeError(f"ingest lost rows of {self.table}; this is a fault of Sojourn, please report it.")
        return Outcome(kept, new - kept, corrections, written, unchanged=int(not written))

    def rewrite(self, writer: Writer, history_writer: Writer, *, seen: Callable[[str], str]) -> None:
        """Write the stored rows as they are `seen` now: a relation to the relation that stands in its place.

        Killed at any moment and run again, it comes to the same: no version is ever missing from both tables.
        """
        parts = self._stored_rows(seen)
        if not parts:
            return
        self._settle(parts)
        [(rises,)] = self._engine.rows(f"SELECT count(*) FROM {KEYED} WHERE _place = 1 AND NOT _standing")
        if rises:
            # A former version is to stand again: until it does, the history holds every version.
            self._put(history_writer, self._history, f"SELECT {self._list(self._columns)} FROM {KEYED}")
            self._put(writer, self.table, self._current())
        self._put(history_writer, self._history, self._former())
        self._put(writer, self.table, self._current())

    def is_halfway(self) -> bool:
        """Whether a version lies in both tables, as it does after a kill in the middle of `rewrite`, and never else."""
        if not (self.warehouse.has(self.table) and self.warehouse.has(self._history)):
            return False
        both = " INTERSECT ".join(
            f"SELECT {self._listed(old)} FROM {old}"
            for old in map(self.warehouse.relation, (self.table, self._history))
        )
        return bool(self._engine.rows(f"SELECT 1 FROM ({both}) LIMIT 1"))

    def _stored_rows(self, seen: Callable[[str], str] = str) -> list[str]:
        return [
            f"SELECT {self._listed(old)}, TRUE AS _stored, {table == self.table} AS _standing FROM {seen(old)}"
            for table in (self.table, self._history)
            if self.warehouse.has(table)
            for old in [self.warehouse.relation(table)]
        ]

    def _former(self) -> str:
        return f"SELECT {self._list(self._columns)} FROM {KEYED} WHERE _place > 1"

    def _settle(self, parts: Sequence[str]) -> None:
        content = [name for name in self._columns if name != "arrived_at"]
        key = self._list(self._key)
        rest = ", ".join(f"{identifier(name)} DESC NULLS LAST" for name in content if name not in self._key)
        latest = f"arrived_at DESC{', ' + rest if rest else ''}"
        self._engine.run(
            f"""
            CREATE OR REPLACE TEMP TABLE {KEYED} AS
            SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY {latest}) AS _place,
                   count(*) OVER (PARTITION BY {key}) AS _versions,
                   count(*) OVER (PARTITION BY {key}, arrived_at) AS _together
            FROM (
                SELECT {self._list(content)}, min(arrived_at) AS arrived_at, bool_or(_stored) AS _stored,
                       bool_or(_standing) AS _standing
                FROM ({" UNION ALL ".join(parts)}) GROUP BY {self._list(content)}
            )
            """
        )
        if self.table == "costs":
            self._refuse_two_amounts()

    def _new_rows(self) -> str:
        rows = f"SELECT * FROM {ROWS} AS new WHERE _fault IS NULL"
        if not self.snapshot or not self.warehouse.has(self.table):
            return rows
        old = self.warehouse.relation(self.table)
        known = {"user_id", *self.stored}
        same = " AND ".join(
            f"old.{identifier(name)} IS NOT DISTINCT FROM new.{identifier(name)}"
            if name in known
            else f"new.{identifier(name)} IS NULL"
            for name in self.staged
            if name not in {"valid_from", "arrived_at"}
        )
        valid = "old.valid_from <= new.valid_from AND (old.valid_to IS NULL OR new.valid_from < old.valid_to)"
        return f"{rows} AND NOT EXISTS (SELECT 1 FROM {old} AS old WHERE {same} AND {valid})"

    def _refuse_two_amounts(self) -> None:
        key = ", ".join(f"CAST({identifier(name)} AS VARCHAR)" for name in self._key)
        found = self._engine.rows(f"SELECT {key} FROM {KEYED} WHERE _together > 1 ORDER BY ALL LIMIT 1")
        if found:
            named = ", ".join(f"{name} {value}" for name, value in zip(self._key, found[0], strict=True))
            raise BadInput(
                f"The costs of {named} are told twice at one time, with different amounts. Add them up first, or keep "
                f"the column that tells them apart."
            )

    def _current(self) -> str:
        if self.table != "users":
            return f"SELECT {self._list(self._columns)} FROM {KEYED} WHERE _place = 1"
        rest = [name for name in self._columns if name not in {"user_id", "valid_from"}]
        until = "lead(valid_from) OVER (PARTITION BY user_id ORDER BY valid_from)"
        return f"SELECT user_id, valid_from, {until} AS valid_to, {self._list(rest)} FROM {KEYED} WHERE _place = 1"

    def _put(self, writer: Writer, table: str, query: str) -> int:
        [(rows,)] = self._engine.rows(f"SELECT count(*) FROM ({query})")
        columns = list(self._engine.columns(query))
        mark = content_fingerprint(self.warehouse, query, columns)
        stored = self.warehouse.fingerprint_of(table, WHOLE)
        if stored == mark or (rows == 0 and stored is None):
            return 0
        if rows == 0:
            writer.drop(WHOLE)
            return 1
        order = [*self._key, "arrived_at", *(name for name in columns if name not in {*self._key, "arrived_at"})]
        writer.put(WHOLE, f"SELECT * FROM ({query})", order_by=order, fingerprint=mark)
        return 1

    def _counts(self) -> tuple[int, int, int, int]:
        """Good rows read, new versions, those of them that replace another, and versions in all."""
        [(new,)] = self._engine.rows(f"SELECT count(*) FROM {STAGE} WHERE _fault IS NULL")
        [counts] = self._engine.rows(
            "SELECT count(*) FILTER (WHERE NOT _stored), "
            f"count(*) FILTER (WHERE NOT _stored AND _place = 1 AND _versions > 1), count(*) FROM {KEYED}"
        )
        return (new, *counts)

    def _rows(self, table: str) -> int:
        return sum(info.rows for info in self.warehouse.partitions(table))

    @property
    def _engine(self) -> Engine:
        return self.warehouse.engine

    @property
    def _history(self) -> str:
        return f"superseded_{self.table}"

    @property
    def _columns(self) -> dict[str, str]:
        extras = {
            name: kind for name, kind in {**self.stored, **self.staged}.items() if name not in CANONICAL[self.table]
        }
        return CANONICAL[self.table] | dict(sorted(extras.items()))

    @property
    def _key(self) -> list[str]:
        if self.table == "users":
            return ["user_id", "valid_from"]
        return ["item_id"] if self.table == "items" else [n for n in self._columns if n not in {"amount", "arrived_at"}]

    def _listed(self, relation: str) -> str:
        found = self._engine.columns(f"SELECT * FROM {relation}")
        return ", ".join(
            identifier(name) if name in found else f"CAST(NULL AS {kind}) AS {identifier(name)}"
            for name, kind in self._columns.items()
        )

    def _list(self, names: Mapping[str, str] | list[str]) -> str:
        return ", ".join(map(identifier, names))
