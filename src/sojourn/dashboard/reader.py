"""What the pages ask of the warehouse: small SQL over tables held in memory until their files change."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import polars as pl

from sojourn.core import MissingTable, fingerprint
from sojourn.dashboard.spec import DashboardSpec
from sojourn.warehouse import DuckDBEngine, EngineSpec, Warehouse

CACHED = 512
T = TypeVar("T")


class Reader:
    """One warehouse as the pages see it. Several threads may ask, each within `one_look`.

    `held` keeps a query's result as a table in DuckDB's memory until a file of the tables it reads changes; `asked`
    keeps the small results of queries over such tables. Both notice a change by the names, sizes and times of the
    files, which costs a look into the folders and no read.
    """

    def __init__(self, warehouse: Warehouse, spec: DashboardSpec) -> None:
        # Spark takes seconds to answer: the pages always read with DuckDB, whatever the settings write with.
        spec_of = warehouse.engine.spec if isinstance(warehouse.engine, DuckDBEngine) else EngineSpec()
        self.warehouse = Warehouse.open(warehouse.root, engine=spec_of)
        self.spec = spec
        self._lock = RLock()
        self._stamps: dict[str, str] | None = None
        self._held: dict[str, tuple[str, str]] = {}
        self._kept: dict[str, tuple[str, Any]] = {}
        self._asked: OrderedDict[str, pl.DataFrame] = OrderedDict()

    def on(self, board: str | None) -> "Reader":
        """The same warehouse and memory, with the metrics of this board; of the declared one when None."""
        if board is None or board == self.spec.board:
            return self
        found = copy(self)
        found.spec = self.spec.with_changes(board=board)
        return found

    def boards(self) -> list[str]:
        """The boards whose metrics the warehouse holds, the declared one first."""
        head = "metric_values_"
        # Names of folders alone: every page asks, and `tables` looks into each of them.
        found = [name.removeprefix(head) for name in _names(self.warehouse.root) if name.startswith(head)]
        return sorted(found, key=lambda name: (name != self.spec.board, name))

    def has(self, table: str) -> bool:
        """Whether the warehouse holds the table."""
        return self.warehouse.has(table)

    def columns(self, held: str) -> dict[str, str]:
        """The names and SQL types of a table in memory."""
        with self._lock:
            name = f"columns/{held}"
            stamp = next((stamp for sql, stamp in self._held.values() if sql == held), "")
            found = self._kept.get(name)
            if found is None or found[0] != stamp:
                found = self._kept[name] = (stamp, self.warehouse.engine.columns(f"SELECT * FROM {held}"))
            columns: dict[str, str] = found[1]
            return columns

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Within the block this thread has the warehouse to itself, and looks at each table's files once.

        A page asks a dozen questions about the same files, and DuckDB's connection answers one thread at a time.
        """
        with self._lock:
            outer = self._stamps
            self._stamps = {} if outer is None else outer
            try:
                yield
            finally:
                self._stamps = outer

    def stamp(self, table: str) -> str:
        """A fingerprint of the table's files: other files, another stamp."""
        if self._stamps is None:
            return self._stamp(table)
        if table not in self._stamps:
            self._stamps[table] = self._stamp(table)
        return self._stamps[table]

    def _stamp(self, table: str) -> str:
        source = self.warehouse.registered(table)
        if source is not None:
            return fingerprint(source.to_json(), *(place["day"] for place in self.warehouse.places(table)))
        return fingerprint(table, *_files_below(self.warehouse.root / table))

    def held(self, name: str, *, tables: Sequence[str], query: Callable[[], str]) -> str:
        """The SQL name of a table in memory that holds the query's rows; made again when one of `tables` has changed.

        Raises `MissingTable` when one of `tables` is not there.
        """
        name = f"{self.spec.board}/{name}"
        with self._lock:
            missing = [table for table in tables if not self.has(table)]
            if missing:
                raise MissingTable(f"The warehouse has no table {missing[0]!r} yet.")
            stamp = fingerprint(*(self.stamp(table) for table in tables))
            found = self._held.get(name)
            if found is None or found[1] != stamp:
                held = f"held_{fingerprint(name)}"
                self.warehouse.engine.run(f"CREATE OR REPLACE TEMP TABLE {held} AS {query()}")
                found = self._held[name] = (held, stamp)
            return found[0]

    def asked(
        self, sql: str, *, stamps: Sequence[str] = (), params: Mapping[str, object] | None = None
    ) -> pl.DataFrame:
        """The query's rows, remembered under the text, its parameters and these stamps."""
        key = fingerprint(sql, repr(sorted((params or {}).items())), *stamps)
        with self._lock:
            if key in self._asked:
                self._asked.move_to_end(key)
                return self._asked[key]
            found = self._asked[key] = self.warehouse.engine.frame(sql, **(params or {}))
            if len(self._asked) > CACHED:
                self._asked.popitem(last=False)
            return found

    def kept(self, name: str, *, tables: Sequence[str], make: Callable[[], T]) -> T:
        """What `make` returns, remembered until a file of these tables changes; absent tables count as empty."""
        name = f"{self.spec.board}/{name}"
        with self._lock:
            stamp = fingerprint(*(self.stamp(table) for table in tables))
            found = self._kept.get(name)
            if found is None or found[0] != stamp:
                found = self._kept[name] = (stamp, make())
            value: T = found[1]
            return value

    def read(
        self, name: str, *, tables: Sequence[str], query: Callable[[], str], sql: str, params: Mapping[str, object]
    ) -> pl.DataFrame:
        """`asked` over `held`: in `sql`, `{held}` stands for the table in memory."""
        with self._lock:
            held = self.held(name, tables=tables, query=query)
            stamp = self._held[f"{self.spec.board}/{name}"][1]
            return self.asked(sql.replace("{held}", held), stamps=[stamp], params=params)


def _files_below(folder: Path) -> list[str]:
    """Path, size and time of change of every file below, sorted."""
    found: list[str] = []
    waiting = [str(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir():
                waiting.append(entry.path)
            else:
                told = entry.stat()
                found.append(f"{entry.path}:{told.st_size}:{told.st_mtime_ns}")
    return sorted(found)


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder)]
