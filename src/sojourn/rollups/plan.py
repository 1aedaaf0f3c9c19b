"""A day comes in; out comes what its windows read: which partials cover each, and how much that is of the raw days."""

from collections import Counter
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from sojourn.rollups.cover import cover_of
from sojourn.rollups.daily import How, can_slide, need_real, windows_fingerprint
from sojourn.rollups.findings import some
from sojourn.rollups.grains import ONE_DAY, Cell, Grain, month_of
from sojourn.rollups.ledger import Ledger, ledger
from sojourn.rollups.sliding import carried, sliding
from sojourn.rollups.spec import RollupSpec
from sojourn.rollups.windows import HourWindow, Reading, Window, reach
from sojourn.warehouse import PartitionInfo, Warehouse

GRAINS: tuple[Grain, ...] = ("month", "week", "day")
File = tuple[str, str]


@dataclass(frozen=True)
class Load:
    """What is read: files, the rows in them, and their bytes, whichever of their columns are needed.

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
    need_real(as_of)
    found = ledger(warehouse, spec)
    files = _Files(warehouse, found)
    windows = found.definition.windows
    lines = tuple(_line(files, window, as_of) for window in windows)
    total = _shared(files, "all windows", found.definition.reading, as_of)
    how = _how(warehouse, found, as_of)
    used = _cells(files, windows, as_of)
    behind = tuple(sorted((cell for cell in used if not found.is_current(cell)), key=lambda cell: cell.start))
    others = found.other_definitions()
    notes = [f"{days} days were made by another definition, {mark}" for mark, days in others.items() if mark]
    if behind:
        names = some(f"{cell.grain} {cell.start}" for cell in behind)
        notes.append(f"missing or stale, and built first: {_number(len(behind), 'partial')}, {names}")
    told, reads = _way(files, how, as_of)
    way = Line("advance", how, reads, total.naive)
    return Plan(spec.table, as_of, how, told, lines, total, way, behind, tuple(notes))


class _Files:
    """Which files hold what is read, and how large they are. A file is named by its table and its partition."""

    def __init__(self, warehouse: Warehouse, found: Ledger) -> None:
        self.warehouse = warehouse
        self.found = found
        self.definition = found.definition
        self.spec = found.definition.spec

    def load(self, files: Set[File]) -> Load:
        """What these files amount to."""
        infos = [self._sizes[file] for file in files]
        return Load(len(infos), sum(each.rows for each in infos), sum(each.bytes for each in infos))

    def raw(self, days: Collection[date]) -> set[File]:
        """The raw rows of these days."""
        return {(self.spec.source, str(day)) for day in days}

    def partials(self, cells: Collection[Cell], reading: Reading) -> set[File]:
        """These partials in each table that is read for the aggregates; the raw day of one that is to be built."""
        tables = [self.spec.table, *(self.spec.table_of(name) for name in self.definition.long if reading.get(name))]
        current = {cell for cell in cells if self.found.is_current(cell)}
        stored = {(table, "/".join(cell.partition.values())) for cell in current for table in tables}
        return stored | self.raw([cell.start for cell in cells if cell not in current])

    def windows(self, as_of: date) -> set[File]:
        """The stored windows as of a day."""
        return {(self.spec.windows_table, str(as_of))}

    def rests(self, day: date) -> set[File]:
        """What the rest of a day's month is read from: its stored states, or the days that they are made of."""
        stored, month = (self.spec.rests_table, str(month_of(day))), Cell("month", month_of(day))
        if stored in self._sizes:
            return {stored}
        return self.partials([Cell("day", each) for each in self.found.days(day, month.end)], {})

    @cached_property
    def _sizes(self) -> dict[File, PartitionInfo]:
        spec = self.spec
        tables = [spec.source, *self.definition.tables(), spec.windows_table, spec.rests_table]
        return {
            (table, "/".join(each.partition.values())): each
            for table in tables
            for each in self.warehouse.partitions(table)
        }


def _line(files: _Files, window: Window, as_of: date) -> Line:
    reading = {name: [window] for name, windows in files.definition.reading.items() if window in windows}
    return _shared(files, window.name, reading, as_of)


def _shared(files: _Files, name: str, reading: Reading, as_of: date) -> Line:
    """All these windows together, each file once."""
    windows = _distinct(reading)
    needed = {day for window in windows for day in files.found.days(*window.span(as_of))}
    return Line(
        name,
        _cover(files, windows, as_of),
        files.load(_read(files, reading, as_of)),
        files.load(files.raw(needed)),
    )


def _cover(files: _Files, windows: Sequence[Window], as_of: date) -> str:
    raw = _hour_days(files, windows, as_of)
    told = [*_counted(_cells(files, windows, as_of)), *([f"raw rows of {_number(len(raw), 'day')}"] if raw else [])]
    return ", ".join(told) or "nothing"


def _read(files: _Files, reading: Reading, as_of: date) -> set[File]:
    windows = _distinct(reading)
    return files.partials(_cells(files, windows, as_of), reading) | files.raw(_hour_days(files, windows, as_of))


def _cells(files: _Files, windows: Sequence[Window], as_of: date) -> list[Cell]:
    return cover_of(files.warehouse, files.found, [as_of], windows).used if windows else []


def _hour_days(files: _Files, windows: Sequence[Window], as_of: date) -> list[date]:
    hours = [window for window in windows if isinstance(window, HourWindow)]
    return files.found.days(*reach(hours, as_of)) if hours else []


def _how(warehouse: Warehouse, found: Ledger, as_of: date) -> How:
    stored = warehouse.fingerprint_of(found.definition.spec.windows_table, {"as_of": str(as_of)})
    if stored == windows_fingerprint(found, as_of):
        return "current"
    return "slid" if sliding(found.definition) and can_slide(warehouse, found, as_of) else "covered"


def _way(files: _Files, how: How, as_of: date) -> tuple[str, Load]:
    """What `advance` would read of partials and of stored windows."""
    if how == "current":
        return "the windows are current, and nothing is read", Load()
    if how == "covered":
        states, reading = carried(files.definition, as_of), files.definition.reading
        both = {name: [*reading.get(name, ()), *states.get(name, ())] for name in {**reading, **states}}
        cover = _cover(files, _distinct(both), as_of)
        return f"the windows are read from {cover}", files.load(_read(files, both, as_of))
    slid, yesterday = sliding(files.definition), as_of - ONE_DAY
    left = {window: window.span(yesterday)[0] for window in _distinct(slid) if window.start_days is not None}
    days = [Cell("day", day) for day in (yesterday, *left.values()) if files.found.days(day, day + ONE_DAY)]
    read = files.windows(yesterday) | files.partials(days, {})
    told = [f"those as of {yesterday}", f"{_number(len(days), 'day')} in and out"]
    rests = {month_of(day): day for window, day in left.items() if _falls_back(files, slid, window)}
    if rests:
        read = read.union(*map(files.rests, rests.values()))
        told.append(f"the rests of {_number(len(rests), 'month')}")
    for what, reading in (("other", _others(files, slid)), ("turned", _turned(files, as_of))):
        if reading:
            windows = _distinct(reading)
            read |= _read(files, reading, as_of)
            told.append(f"for {_number(len(windows), f'{what} window')} {_cover(files, windows, as_of)}")
    return f"the windows slide on from {'; '.join(told)}", files.load(read)


def _falls_back(files: _Files, slid: Reading, window: Window) -> bool:
    """Whether any value of this window, lost with the day that goes out, is looked for in the rest of its month."""
    slides = (files.definition.wide[name].slide for name, windows in slid.items() if window in windows)
    return any(slide is not None and slide.falls_back for slide in slides)


def _others(files: _Files, slid: Reading) -> Reading:
    """The windows that do not slide."""
    kept = {
        name: [window for window in windows if window not in slid.get(name, ())]
        for name, windows in files.definition.reading.items()
    }
    return {name: windows for name, windows in kept.items() if windows}


def _turned(files: _Files, as_of: date) -> Reading:
    """What is carried since the end of a month that now is another's, and so is read from partials."""
    before, now = carried(files.definition, as_of - ONE_DAY), carried(files.definition, as_of)
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


def _distinct(reading: Reading) -> list[Window]:
    return list(dict.fromkeys(window for windows in reading.values() for window in windows))


def _counted(cells: Sequence[Cell]) -> list[str]:
    grains = Counter(cell.grain for cell in cells)
    return [_number(grains[grain], grain) for grain in GRAINS if grains[grain]]


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
