"""The event log as acquisition reads it: its days, its columns, and the user's own SQL checked against them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sojourn.core import BadInput, MissingTable, missing_columns
from sojourn.rollups.dialect import Dialect, dialect_of
from sojourn.rollups.expressions import check_pure, explain, parse
from sojourn.warehouse import Warehouse

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Log:
    """Table `events` of a warehouse: its columns with their types, and the fingerprint of each of its days."""

    warehouse: Warehouse
    columns: dict[str, str]
    days: dict[date, str]

    @property
    def sql(self) -> Dialect:
        """How the warehouse's engine spells things."""
        return dialect_of(self.warehouse.engine)

    def rows(self, days: Sequence[date]) -> str:
        """SQL to stand after FROM: the rows of these days, with every column that any day has."""
        relation = self.warehouse.relation("events", only=[{"day": str(day)} for day in days])
        return self.sql.with_columns(relation, self.columns, columns_of=self.warehouse.engine.columns)

    def between(self, start: date, end: date) -> list[date]:
        """The days of the log in [start, end)."""
        return [day for day in self.days if start <= day < end]

    def need(self, *names: str, where: str) -> None:
        """Raise `MissingColumn` for columns that the log does not have."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise missing_columns(f"{where}: table 'events'", missing=missing, found=list(self.columns))

    def usable(self, text: str, *, where: str) -> str:
        """The user's SQL in brackets, if it is one expression over one row of the log that means the same tomorrow."""
        read = parse(text, where=where)
        check_pure(read, found=self.columns, where=where)
        explain(text, reading=[read], found=self.columns, where=where)
        return f"({text})"


def open_log(warehouse: Warehouse, *, as_of: date | None = None) -> Log:
    """The log's days before `as_of` (default: all). Raises `MissingTable`, and `BadInput` when there is no such day."""
    if not warehouse.has("events"):
        raise MissingTable("metrics need the table 'events'; the warehouse has none. Fill it first: sojourn ingest ...")
    found = {date.fromisoformat(info.partition["day"]): info.fingerprint for info in warehouse.partitions("events")}
    days = {day: found[day] for day in sorted(found) if as_of is None or day < as_of}
    if not days:
        raise BadInput(
            f"metrics: the log has no day before {as_of}; its days are {min(found)} to {max(found)}. Name a later day."
        )
    columns = dict(warehouse.engine.columns(f"SELECT * FROM {warehouse.relation('events')}"))
    return Log(warehouse, columns, days)
