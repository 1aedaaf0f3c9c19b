"""From when to when an event log reaches, where a few rows lie far from all the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from sojourn.core import BadInput, MissingTable, say
from sojourn.warehouse import Warehouse

# What makes rows at the end stray: the silence before them, and how few they are.
SILENT_DAYS, LONG_SILENCE_DAYS, TIMES_OTHER_SILENCE = 7, 60, 2
MOST_SHARE, MOST_DENSITY = 0.01, 0.2


@dataclass(frozen=True)
class Stray:
    """Rows far behind the rest of a log: how many, after which busy day, how long a silence, up to which day."""

    rows: int
    busy: date
    silent_days: int
    last: date

    def sentence(self) -> str:
        """What was left out, and how to count it in."""
        return (
            f"The log's last busy day is {self.busy}. After {self.silent_days:,} days without an event "
            f"{self.rows:,} more row{'s' if self.rows > 1 else ''} come{'' if self.rows > 1 else 's'}, the last on "
            f"{self.last}: left out, as a stray date would be. If they are right: --as-of {self.last + timedelta(1)}"
        )


def log_days(warehouse: Warehouse) -> tuple[date, date]:
    """The first day of the event log, and the day after its last busy one.

    Rows at the end are stray, and move no end, where they come after at least 7 days without any event, more than twice
    as long as any silence before, and are at most 1 % of all rows; and where their days have at most a fifth of the
    rows of a usual day, or the silence lasts 60 days. Raises `MissingTable`, `BadInput`.
    """
    rows = _rows_by_day(warehouse)
    found = stray_rows(rows)
    return min(rows), (max(rows) if found is None else found.busy) + timedelta(days=1)


def known_end(warehouse: Warehouse, end: date | None) -> date:
    """The day given; else the day after the last busy one, and a line for the terminal where rows come after it."""
    if end is not None:
        return end
    rows = _rows_by_day(warehouse)
    found = stray_rows(rows)
    if found is None:
        return max(rows) + timedelta(days=1)
    say(found.sentence())
    return found.busy + timedelta(days=1)


def stray_rows(rows: Mapping[date, int]) -> Stray | None:
    """The rows at the end of a log (rows by day) that lie apart from all others, if any.

    >>> rows = {date(2024, 1, 1) + timedelta(n): 100 for n in range(60)} | {date(2099, 1, 1): 1}
    >>> stray_rows(rows).busy
    datetime.date(2024, 2, 29)
    """
    days = sorted(rows)
    whole = sum(rows.values())
    before = 0
    longest = 0
    for at, (day, after) in enumerate(pairwise(days), start=1):
        before += rows[day]
        silent = (after - day).days - 1
        behind = whole - before
        if silent >= SILENT_DAYS and silent > TIMES_OTHER_SILENCE * longest and behind <= MOST_SHARE * whole:
            sparse = behind / (len(days) - at) <= MOST_DENSITY * before / at
            if sparse or silent >= LONG_SILENCE_DAYS:
                return Stray(behind, day, silent, days[-1])
        longest = max(longest, silent)
    return None


def _rows_by_day(warehouse: Warehouse) -> dict[date, int]:
    if not warehouse.has("events"):
        raise MissingTable(
            "lifetime needs the table 'events'; the warehouse has none. Fill it first: sojourn ingest ..."
        )
    found: dict[date, int] = {}
    for part in warehouse.partitions("events"):
        day = date.fromisoformat(part.partition["day"])
        found[day] = found.get(day, 0) + part.rows
    if not found:
        raise BadInput("lifetime needs events; the table 'events' has no day yet. Fill it first: sojourn ingest ...")
    return found
