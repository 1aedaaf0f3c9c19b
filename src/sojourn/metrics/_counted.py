"""A board's rollup: what is counted of each entity and day, and how the metrics read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from sojourn.core import BadInput, MissingTable, fingerprint, missing_columns
from sojourn.metrics._definition import board_mark, flag_of, is_named, portrait_columns, table_mark
from sojourn.metrics.catalogue import MetricSpec, metrics_of
from sojourn.metrics.spec import BoardSpec, MetricsSpec
from sojourn.rollups import AggregateSpec, Ledger, RollupSpec, ledger, state_column
from sojourn.rollups.grains import ONE_DAY
from sojourn.rollups.lifting import source_rows
from sojourn.rollups.partials import after, build
from sojourn.rollups.windows import day_start
from sojourn.warehouse import DuckDBEngine, Warehouse
from sojourn.warehouse.engine import identifier

UNKNOWN = "unknown"
DEFAULT_DIMS = ("channel", "country")
MONEY_SUM = "DECIMAL(38,4)"


def default_board(warehouse: Warehouse, *, name: str = "users") -> BoardSpec:
    """The board that is assumed where none is declared: every row of `events` is activity of its `user_id`.

    Dimensions are the columns `channel` and `country` of table `users`, where it has them; `amount` is money where
    events have it.
    """
    found = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation('events')}")
    there = portrait_columns(warehouse, "users") if warehouse.has("users") else {}
    return BoardSpec(
        name=name,
        portrait_dims=tuple(dim for dim in DEFAULT_DIMS if dim in there),
        amount="amount" if "amount" in found else None,
    )


def boards_of(warehouse: Warehouse, spec: MetricsSpec) -> dict[str, BoardSpec]:
    """The boards that are declared, by name; without any, the default one."""
    if spec.boards:
        return dict(spec.boards)
    board = default_board(warehouse)
    return {board.name: board}


def board_rollup(board: BoardSpec) -> RollupSpec:
    """The rollup `metrics_<board>`, whose day partials hold all that the board's metrics are made from.

    >>> sorted(board_rollup(BoardSpec(amount=None)).aggregates)
    ['events', 'first_at', 'last_at']
    """
    counts = kept(board)
    active = _both(board.active, counts)
    found = {
        "events": AggregateSpec(function="count", where=active),
        "first_at": AggregateSpec(function="min", expression="ts", where=active),
        "last_at": AggregateSpec(function="max", expression="ts", where=active),
    }
    if board.exclude is not None:
        found["excluded"] = AggregateSpec(function="count", where=board.exclude)
    for name, expression in board.event_dims.items():
        found[f"dim_{name}"] = AggregateSpec(
            function="first", expression=f"CAST(({expression}) AS VARCHAR)", where=active
        )
    if board.amount is not None:
        money = f"CAST(({board.amount}) AS DECIMAL(18,4))"
        found["purchases"] = AggregateSpec(function="count", where=_both(f"{money} > 0", counts))
        found["gross"] = AggregateSpec(function="sum", expression=money, where=_both(f"{money} > 0", counts))
        found["refunds"] = AggregateSpec(function="sum", expression=f"-{money}", where=_both(f"{money} < 0", counts))
    if board.margin_sql is not None:
        margin = f"CAST(({board.margin_sql}) AS DECIMAL(18,4))"
        found["margin"] = AggregateSpec(function="sum", expression=margin, where=counts)
    return RollupSpec(
        name=f"metrics_{board.name}", source=board.source, keys=(board.entity,), aggregates=found, windows_days=(1,)
    )


def kept(board: BoardSpec) -> str | None:
    """SQL for rows that are not excluded; None where no rule excludes any. A rule that is NULL excludes nothing."""
    return None if board.exclude is None else f"coalesce(NOT ({board.exclude}), true)"


def _both(left: str | None, right: str | None) -> str | None:
    parts = [f"({each})" for each in (left, right) if each is not None]
    return " AND ".join(parts) or None


@dataclass(frozen=True)
class Counted:
    """A board bound to a warehouse, with the partials of its rollup current up to `found.end`."""

    warehouse: Warehouse
    board: BoardSpec
    found: Ledger

    @cached_property
    def metrics(self) -> dict[str, MetricSpec]:
        """The metrics that the board publishes."""
        return metrics_of(self.board)

    @cached_property
    def first(self) -> date:
        """The first day of the source's history."""
        return self.found.first

    @cached_property
    def flag(self) -> str | None:
        """The column of the portraits that marks test accounts, where there is one."""
        return flag_of(self.warehouse, self.board)

    @cached_property
    def said(self) -> str:
        """A fingerprint of the board's declaration."""
        return board_mark(self.warehouse, self.board)

    def sealed(self, table: str, mark: str) -> str:
        """The fingerprint of a partition of one of the board's tables: how it was declared, and what it was made from.

        `<declaration>.<metrics or funnels>.<mark>`, so that a reader can tell the first two without the source.
        """
        return f"{self.said}.{table_mark(self.board, table)}.{mark}"

    @cached_property
    def marks(self) -> dict[date, str]:
        """For every calendar day of history a fingerprint of all that was counted up to and with it."""
        marks, mark, day = {}, fingerprint("chain", self.said, self.found.definition.fingerprint), self.found.first
        while day < self.found.end:
            mark = fingerprint(mark, str(day), self.found.source.get(day, "no rows"))
            marks[day] = mark
            day += ONE_DAY
        return marks

    @property
    def entity(self) -> str:
        """The entity's column as an identifier."""
        return identifier(self.board.entity)

    @property
    def dims(self) -> list[str]:
        """The dimensions as identifiers."""
        return [identifier(name) for name in self.board.dims]

    def day_query(self, days: Sequence[date]) -> str:
        """SQL for `day`, the entity and its counts on each of these days, from the partials; rows of no one left out.

        Entities of which nothing counted are left out too, so that what a rule excludes has no state.
        """
        there = [day for day in days if day in self.found.source]
        cells = [{"grain": "day", "start": str(day)} for day in there or self.found.every_day[:1]]
        values = ", ".join(f"{sql} AS {name}" for name, sql in self._values().items())
        rows = f"SELECT start AS day, {self.entity}, {values} FROM {self.warehouse.relation(self.table, only=cells)}"
        counted = "events > 0 OR gross <> 0 OR refunds <> 0 OR margin <> 0"
        return f"SELECT * FROM ({rows}) WHERE {self.entity} IS NOT NULL AND ({counted}){'' if there else ' AND false'}"

    def excluded_query(self, day: date) -> str:
        """SQL for how many rows the rule excluded on a day."""
        if self.board.exclude is None or day not in self.found.source:
            return "SELECT CAST(0 AS BIGINT)"
        relation = self.warehouse.relation(self.table, only=[{"grain": "day", "start": str(day)}])
        return f"SELECT coalesce(CAST(sum({self._part('excluded')}) AS BIGINT), 0) FROM {relation}"

    def breaks_query(self, day: date) -> str | None:
        """SQL for the entity and how many gaps between its active rows of a day end a session; None if none can."""
        if self.board.session_gap_minutes is None or day not in self.found.source:
            return None
        rows = source_rows(self.warehouse, self.found.definition, [day])
        where = _both(self.board.active, kept(self.board)) or "true"
        gap = f"ts - lag(ts) OVER (PARTITION BY {self.entity} ORDER BY ts)"
        gaps = f"SELECT {self.entity}, {gap} AS gap FROM {rows} WHERE {self.entity} IS NOT NULL AND ({where})"
        limit = f"INTERVAL {self.board.session_gap_minutes} MINUTE"
        return f"SELECT {self.entity}, count(*) AS breaks FROM ({gaps}) WHERE gap > {limit} GROUP BY ALL"

    @property
    def table(self) -> str:
        """The table of partials."""
        return self.found.definition.spec.table

    def _values(self) -> dict[str, str]:
        money = {name: self._money(name) for name in ("gross", "refunds", "margin")}
        dims = {f"dim_{name}": self._part(f"dim_{name}") for name in self.board.event_dims}
        return {
            "events": self._part("events"),
            "first_at": self._part("first_at"),
            "last_at": self._part("last_at"),
            "purchases": self._part("purchases") if self.board.amount else "CAST(0 AS BIGINT)",
            **money,
            **dims,
        }

    def _part(self, name: str) -> str:
        algebra = self.found.definition.wide[name]
        parts = {part: state_column(name, part) for part in algebra.reading()}
        return algebra.finish.format(**parts, as_of="NULL")

    def _money(self, name: str) -> str:
        there = name in self.found.definition.spec.aggregates
        return f"CAST({self._part(name)} AS {MONEY_SUM})" if there else f"CAST(0 AS {MONEY_SUM})"

    def instant_after(self, day: date) -> datetime:
        """The instant at which a business day ends."""
        return day_start(day + ONE_DAY, self.warehouse.spec.zone)


def counted(warehouse: Warehouse, board: BoardSpec, *, end: date = date.max) -> Counted:
    """The board over this warehouse, once the partials of every day before `end` are built.

    Raises what a rollup raises for a source, columns or conditions that are not there or mean nothing, `MissingTable`
    and `MissingColumn` for portraits, and `BadInput` for metrics the board cannot serve and when no row counts as
    activity. Until then nothing is written.
    """
    found = _ledger(warehouse, board, end=end)
    _need_activity(warehouse, board, found, end=end)
    return Counted(warehouse, board, after(found, build(warehouse, found, date.min, end)))


def counted_as_is(warehouse: Warehouse, board: BoardSpec, *, end: date = date.max) -> Counted:
    """The same with the partials as they stand: nothing is built."""
    return Counted(warehouse, board, _ledger(warehouse, board, end=end))


def _ledger(warehouse: Warehouse, board: BoardSpec, *, end: date) -> Ledger:
    metrics_of(board)
    if not isinstance(warehouse.engine, DuckDBEngine):
        raise BadInput(
            "Metrics are made by DuckDB, which reads what Spark wrote. Leave kind = 'spark' out of [engine], or give "
            "metrics settings of their own: --config FILE"
        )
    check_portraits(warehouse, board)
    found = ledger(warehouse, board_rollup(board), end=end)
    if found.other_definitions():
        raise BadInput(
            f"Board {board.name!r} was counted by another definition: its entity, active, exclude, money or event_dims "
            f"have changed. Count it anew: sojourn metrics backfill --rebuild, or give the board another name."
        )
    return found


def _need_activity(warehouse: Warehouse, board: BoardSpec, found: Ledger, *, end: date) -> None:
    """Raise `BadInput` when no row of any known day makes an entity active: the first that does ends the search."""
    days = found.days(date.min, end)
    if not days:
        return
    counts = [f"{identifier(board.entity)} IS NOT NULL", _both(board.active, kept(board)) or "true"]
    rows = source_rows(warehouse, found.definition, days)
    if warehouse.engine.rows(f"SELECT 1 FROM {rows} WHERE {' AND '.join(f'({each})' for each in counts)} LIMIT 1"):
        return
    told = f"active = {board.active!r}" if board.active else "every row is activity, unless excluded"
    raise BadInput(
        f"Board {board.name!r}: no row of table {board.source!r} up to {days[-1]} counts as activity of any "
        f"{board.entity} ({told}), so there is no first day and no cohort. Mend active, exclude or entity in "
        f"[metrics.boards.{board.name}]."
    )


def portrait_key(board: BoardSpec, columns: Sequence[str]) -> str:
    """The column of the portraits that says whose they are: named as the entity is, or else `user_id`."""
    return board.entity if board.entity in columns else "user_id"


def check_portraits(warehouse: Warehouse, board: BoardSpec) -> None:
    """Raise `MissingTable` or `MissingColumn` where the board asks for portraits that the warehouse does not have."""
    asked = [*board.portrait_dims, *([str(board.test_accounts)] if is_named(board) else [])]
    if not asked:
        return
    where = f"Board {board.name!r}: table {board.portraits!r}"
    if not warehouse.has(board.portraits):
        raise MissingTable(
            f"Board {board.name!r} takes {', '.join(map(repr, asked))} from table {board.portraits!r}, which the "
            f"warehouse {warehouse.root} does not have. Ingest it: sojourn ingest --table users FILE"
        )
    columns = portrait_columns(warehouse, board.portraits)
    missing = [name for name in (portrait_key(board, list(columns)), *asked) if name not in columns]
    if missing:
        raise missing_columns(where, missing=missing, found=list(columns))
