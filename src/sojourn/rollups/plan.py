"""A day comes in; out comes what its windows read: which partials cover each, and how much that is of the raw days."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from sojourn.rollups.cover import cover_of
from sojourn.rollups.daily import How, can_slide, windows_fingerprint
from sojourn.rollups.findings import some
from sojourn.rollups.grains import ONE_DAY, Cell, month_of
from sojourn.rollups.ledger import Ledger, ledger
from sojourn.rollups.sliding import carried, sliding
from sojourn.rollups.spec import RollupSpec
from sojourn.rollups.windows import HourWindow, Reading, Window, reach
from sojourn.warehouse import PartitionInfo, Warehouse

GRAINS = ("month", "week", "day")


@dataclass(frozen=True)
class Load:
    """What is read: files, the rows in them, and their bytes.

    >>> Load(1, 10, 100) + Load(2, 20, 200)
    Load(files=3, rows=30, bytes=300)
    """

    files: int = 0
    rows: int = 0
    bytes: int = 0

    def __add__(self, other: "Load") -> "Load":
        """Both together."""
        return Load(self.files + other.files, self.rows + other.rows, self.bytes + other.bytes)


@dataclass(frozen=True)
class Line:
    """One line of a plan: a window, what covers it, what that reads, and what its raw days would."""

    name: str
    cover: str
    reads: Load
    naive: Load

    def row(self) -> tuple[str, ...]:
        """The line as text: name, cover, files, rows, bytes; rows and bytes of the raw days."""
        reads = (f"{self.reads.files:,}", f"{self.reads.rows:,}", in_units(self.reads.bytes))
        return (self.name, self.cover, *reads, f"{self.naive.rows:,}", in_units(self.naive.bytes))


@dataclass(frozen=True)
class Plan:
    """How the windows of a rollup come about, as seen from a day.

    `lines` has a line for each window; `total` is all of them from partials, each of which is read once, and `way` what
    `advance` would read. `how` is its way: the windows are `current`, slide on from the day before's, or are covered;
    `told` says it in words.
    `behind` are the partials that are missing or stale and would be built first.
    """

    table: str
    as_of: date
    how: How
    told: str
    lines: tuple[Line, ...]
    total: Line
    way: Line
    behind: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text: a row for each window, for all of them, and for the way that `advance` would take."""
        return [line.row() for line in (*self.lines, self.total, self.way)]


def plan(warehouse: Warehouse, spec: RollupSpec, *, as_of: date) -> Plan:
    """What the windows as of a day read, without reading it; nothing is written.

    Partials that are missing or stale are named in `behind`: they count as the raw days that they would be built from.
    A day beyond history is no error, and has the windows that reach back into it. Raises as `define` does.
    """
    found = ledger(warehouse, spec)
    sizes = _Sizes(warehouse, found)
    windows = found.definition.windows
    lines = tuple(_line(sizes, window, as_of) for window in windows)
    total = _shared(sizes, "all windows", found.definition.reading, as_of)
    how = _how(warehouse, found, as_of)
    used = _cells(sizes, windows, as_of)
    behind = tuple(sorted((cell for cell in used if not found.is_current(cell)), key=lambda cell: cell.start))
    others = found.other_definitions()
    notes = [f"{days} days were made by another definition, {mark}" for mark, days in others.items() if mark]
    if behind:
        names = some(f"{cell.grain} {cell.start}" for cell in behind)
        notes.append(f"missing or stale, and built first: {_number(len(behind), 'partial')}, {names}")
    told, reads = _way(sizes, how, as_of, total)
    way = Line("advance", how, reads, total.naive)
    return Plan(spec.table, as_of, how, told, lines, total, way, behind, tuple(notes))


class _Sizes:
    """How large everything is that could be read."""

    def __init__(self, warehouse: Warehouse, found: Ledger) -> None:
        self.warehouse = warehouse
        self.found = found
        self.definition = found.definition
        self.spec = found.definition.spec

    @cached_property
    def _source(self) -> dict[str, PartitionInfo]:
        return {each.partition["day"]: each for each in self.warehouse.partitions(self.spec.source)}

    @cached_property
    def _partials(self) -> dict[tuple[str, str, str], PartitionInfo]:
        return {
            (table, each.partition["grain"], each.partition["start"]): each
            for table in self.definition.tables()
            for each in self.warehouse.partitions(table, keep=lambda place: "grain" in place)
        }

    def raw(self, days: Collection[date]) -> Load:
        """The raw rows of these days."""
        return _load(self._source[str(day)] for day in days)

    def partials(self, cells: Collection[Cell], reading: Reading) -> Load:
        """These partials in each table that the aggregates need; the raw day of one that would have to be built."""
        tables = [self.spec.table, *(self.spec.table_of(name) for name in self.definition.long if reading.get(name))]
        current = [cell for cell in cells if self.found.is_current(cell)]
        stored = (self._partials[table, cell.grain, str(cell.start)] for cell in current for table in tables)
        return _load(stored) + self.raw([cell.start for cell in cells if cell not in set(current)])

    def rests(self, day: date) -> Load:
        """What the rest of a day's month is read from: its stored states, or the days that they are made of."""
        stored = self.warehouse.partition(self.spec.rests_table, {"start": str(month_of(day))})
        month = Cell("month", month_of(day))
        return (
            _load([stored])
            if stored
            else self.partials([Cell("day", each) for each in self.found.days(day, month.end)], {})
        )

    def windows(self, as_of: date) -> Load:
        """The stored windows as of a day."""
        stored = self.warehouse.partition(self.spec.windows_table, {"as_of": str(as_of)})
        return _load([stored] if stored else [])


def _load(infos: "Iterator[PartitionInfo] | Sequence[PartitionInfo]") -> Load:
    return sum((Load(1, each.rows, each.bytes) for each in infos), Load())


def _line(sizes: _Sizes, window: Window, as_of: date) -> Line:
    reading = {name: [window] for name, windows in sizes.definition.reading.items() if window in windows}
    return _shared(sizes, window.name, reading, as_of)


def _shared(sizes: _Sizes, name: str, reading: Reading, as_of: date) -> Line:
    """All these windows together, each partial once."""
    windows = list(dict.fromkeys(window for each in reading.values() for window in each))
    cells = _cells(sizes, windows, as_of)
    raw = _hour_days(sizes, windows, as_of)
    told = [*_counted(cells), *([f"raw rows of {_number(len(raw), 'day')}"] if raw else [])]
    needed = {day for window in windows for day in sizes.found.days(*window.span(as_of))}
    return Line(name, ", ".join(told) or "nothing", sizes.partials(cells, reading) + sizes.raw(raw), sizes.raw(needed))


def _cells(sizes: _Sizes, windows: Sequence[Window], as_of: date) -> list[Cell]:
    return cover_of(sizes.warehouse, sizes.found, [as_of], windows).used if windows else []


def _hour_days(sizes: _Sizes, windows: Sequence[Window], as_of: date) -> list[date]:
    hours = [window for window in windows if isinstance(window, HourWindow)]
    return sizes.found.days(*reach(hours, as_of)) if hours else []


def _how(warehouse: Warehouse, found: Ledger, as_of: date) -> How:
    stored = warehouse.fingerprint_of(found.definition.spec.windows_table, {"as_of": str(as_of)})
    if stored == windows_fingerprint(found, as_of):
        return "current"
    return "slid" if sliding(found.definition) and can_slide(warehouse, found, as_of) else "covered"


def _way(sizes: _Sizes, how: How, as_of: date, total: Line) -> tuple[str, Load]:
    """What `advance` would read of partials and of stored windows."""
    if how == "current":
        return "the windows are current, and nothing is read", Load()
    if how == "covered":
        return f"the windows are read from {total.cover}", total.reads
    slid, yesterday = sliding(sizes.definition), as_of - ONE_DAY
    left = {window: window.span(yesterday)[0] for window in _distinct(slid) if window.start_days is not None}
    days = [day for day in (yesterday, *left.values()) if sizes.found.days(day, day + ONE_DAY)]
    reads = sizes.windows(yesterday) + sizes.partials([Cell("day", day) for day in days], {})
    told = [f"those as of {yesterday}", f"{_number(len(days), 'day')} in and out"]
    rests = {month_of(day): day for window, day in left.items() if _falls_back(sizes, slid, window)}
    if rests:
        reads = sum((sizes.rests(day) for day in rests.values()), reads)
        told.append(f"the rests of {_number(len(rests), 'month')}")
    for what, reading in (("other", _others(sizes, slid)), ("turned", _turned(sizes, as_of))):
        if reading:
            line = _shared(sizes, what, reading, as_of)
            reads += line.reads
            told.append(f"for {_number(len(_distinct(reading)), f'{what} window')} {line.cover}")
    return f"the windows slide on from {'; '.join(told)}", reads


def _falls_back(sizes: _Sizes, slid: Reading, window: Window) -> bool:
    """Whether any value of this window, lost with the day that goes out, is looked for in the rest of its month."""
    slides = (sizes.definition.wide[name].slide for name, windows in slid.items() if window in windows)
    return any(slide is not None and slide.falls_back for slide in slides)


def _others(sizes: _Sizes, slid: Reading) -> Reading:
    """The windows that do not slide."""
    kept = {
        name: [window for window in windows if window not in slid.get(name, ())]
        for name, windows in sizes.definition.reading.items()
    }
    return {name: windows for name, windows in kept.items() if windows}


def _turned(sizes: _Sizes, as_of: date) -> Reading:
    """What is carried since the end of a month that now is another's, and so is read from partials."""
    before, now = carried(sizes.definition, as_of - ONE_DAY), carried(sizes.definition, as_of)
    turned = {
        name: [
            window
            for window, old in zip(windows, before[name], strict=True)
            if window.start_days is not None
            and window.name.endswith("_since")
            and window.span(as_of)[0] != old.span(as_of - ONE_DAY)[0]
        ]
        for name, windows in now.items()
    }
    return {name: windows for name, windows in turned.items() if windows}


def _distinct(reading: Reading) -> set[Window]:
    return {window for windows in reading.values() for window in windows}


def _counted(cells: Sequence[Cell]) -> list[str]:
    grains = Counter(cell.grain for cell in cells)
    return [_number(grains[grain], grain) for grain in ("month", "week", "day") if grains[grain]]


def _number(count: int, what: str) -> str:
    """A count with its noun.

    >>> _number(1, "week"), _number(2, "week")
    ('1 week', '2 weeks')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def in_units(size: float) -> str:
    """Bytes as a person reads them.

    >>> in_units(999), in_units(20_480), in_units(3_000_000)
    ('999 B', '20.5 kB', '3.0 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
