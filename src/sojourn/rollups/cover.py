"""The fewest partials that cover windows, as seen from each day, with the windows that each of them lies in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from sojourn.rollups.dialect import Dialect
from sojourn.rollups.grains import Cell
from sojourn.rollups.known import Known
from sojourn.rollups.ledger import Ledger
from sojourn.rollups.lifting import source_rows
from sojourn.rollups.windows import CalendarWindow, HourWindow, LifeWindow, Window
from sojourn.warehouse import Warehouse


@dataclass(frozen=True)
class CoverRow:
    """A partial as seen from a day: one bit for each window that it lies in."""

    cell: Cell
    as_of: date
    bands: int

    def sql(self) -> str:
        """The row of the query's table `cover`."""
        return f"('{self.cell.grain}', DATE '{self.cell.start}', DATE '{self.as_of}', CAST({self.bands} AS BIGINT))"


@dataclass(frozen=True)
class MendedDay:
    """A day as it was known when one looked from another: its rows are lifted on the way, whatever its partial says."""

    day: date
    as_of: date
    bands: int

    def sql(self) -> str:
        """The row of the query's table `cover`."""
        return f"('raw', DATE '{self.day}', DATE '{self.as_of}', CAST({self.bands} AS BIGINT))"


@dataclass(frozen=True)
class RawRows:
    """Rows of the source that no partial stands for, lifted on the way, as seen from a day."""

    relation: str
    as_of: date
    bands: int


@dataclass(frozen=True)
class Cover:
    """What a query for windows reads. `windows` has each window at the place of its bit in `bands`.

    `lives` are (as_of, days, bands) of the windows over a key's own first days, and `life_days` the partials they need.
    `ends` says where windows end whose end depends on the calendar. `known` is what had arrived, where that counts, and
    `mended` the days that were something else then.
    """

    windows: Sequence[Window]
    rows: Sequence[CoverRow]
    raw: Sequence[RawRows] = ()
    lives: Sequence[tuple[date, int, int]] = ()
    life_cells: Sequence[Cell] = ()
    ends: Mapping[tuple[Window, date], date] = field(default_factory=dict)
    fallback: Cell | None = None
    known: Known | None = None
    mended: Sequence[MendedDay] = ()

    def bit(self, window: Window) -> int:
        """The place of a window's bit."""
        return self.windows.index(window)

    @property
    def used(self) -> list[Cell]:
        """The cells that are read, each once, in order."""
        return sorted({row.cell for row in self.rows} | set(self.life_cells), key=lambda cell: (cell.start, cell.grain))

    @property
    def cells(self) -> list[dict[str, str]]:
        """The partitions that windows over days read; where there is none, any one, of which nothing is taken."""
        cells = sorted({row.cell for row in self.rows}) or [cell for cell in (self.fallback,) if cell]
        return [cell.partition for cell in cells]

    @property
    def mended_rows(self) -> str:
        """The rows of the mended days, as they stood from each day, with the column `_as_of`."""
        assert self.known is not None
        wanted: dict[date, list[date]] = {}
        for each in self.mended:
            wanted.setdefault(each.as_of, []).append(each.day)
        return self.known.rows(wanted)

    def end_sql(self, window: Window, sql: Dialect) -> str:
        """SQL for the day after a window's last, as seen from `as_of`."""
        ends = {as_of: end for (each, as_of), end in self.ends.items() if each == window}
        if not ends:
            return sql.day_after("as_of", str(window.end_days)) if window.end_days else "as_of"
        cases = " ".join(f"WHEN as_of = DATE '{as_of}' THEN DATE '{end}'" for as_of, end in ends.items())
        return f"CASE {cases} END"


def cover_of(
    warehouse: Warehouse,
    found: Ledger,
    as_ofs: Sequence[date],
    windows: Sequence[Window],
    *,
    known: Known | None = None,
) -> Cover:
    """The cover of these windows: days are cut where any begins or ends, and each piece has its fewest partials.

    Where only what was `known` counts, partials stand for the days that are what they were.
    """
    by_day = {place: each for place, each in enumerate(windows) if not isinstance(each, HourWindow | LifeWindow)}
    lives = {place: each for place, each in enumerate(windows) if isinstance(each, LifeWindow)}
    looks = sorted(set(as_ofs))
    pieces = [(as_of, *piece) for as_of in looks for piece in _pieces(as_of, by_day)]
    return Cover(
        windows,
        rows=[
            CoverRow(cell, as_of, bands)
            for as_of, start, end, bands in pieces
            for cell in (found.cover(start, end) if known is None else known.cells(as_of, start, end))
        ],
        raw=[row for as_of in looks for row in _hours(warehouse, found, as_of, windows, known)],
        lives=[(as_of, each.days, 1 << place) for as_of in looks for place, each in lives.items()],
        life_cells=[Cell("day", day) for day in found.days(date.min, looks[-1])] if lives and known is None else (),
        ends={
            (each, as_of): each.span(as_of)[1]
            for each in windows
            if isinstance(each, CalendarWindow)
            for as_of in looks
        },
        fallback=min((cell for cell in found.stored if cell.grain == "day"), default=None),
        known=known,
        mended=[
            MendedDay(day, as_of, bands)
            for as_of, start, end, bands in pieces
            if known is not None
            for day in known.mended(as_of, start, end)
        ],
    )


def _pieces(as_of: date, windows: Mapping[int, Window]) -> Iterator[tuple[date, date, int]]:
    """The spans [start, end) between the ends of any windows, with a bit for each window that they lie in."""
    spans = {place: window.span(as_of) for place, window in windows.items()}
    cuts = sorted({cut for span in spans.values() for cut in span})
    for start, end in pairwise(cuts):
        bands = sum(1 << place for place, (first, last) in spans.items() if first <= start and end <= last)
        if bands:
            yield start, end, bands


def _hours(
    warehouse: Warehouse, found: Ledger, as_of: date, windows: Sequence[Window], known: Known | None
) -> Iterator[RawRows]:
    definition = found.definition
    for place, window in enumerate(windows):
        if isinstance(window, HourWindow):
            start, end = window.span(as_of)
            days = found.days(start, end) if known is None else known.days(as_of, start, end)
            if days:
                rows = source_rows(warehouse, definition, days) if known is None else known.rows({as_of: days})
                first, last = (definition.sql.instant(at) for at in window.instants(as_of, definition.zone))
                inside = f"ts >= {first} AND ts < {last}"
                yield RawRows(f"(SELECT * FROM {rows} AS _source WHERE {inside})", as_of, 1 << place)
