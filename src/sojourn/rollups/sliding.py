"""Yesterday's windows and two days of partials in, today's windows out: what a long window costs when it moves a day.

A sum moves on by adding the day that comes in and subtracting the day that goes out, both exact. A smallest, largest,
first or last value stays as it is unless the day that goes out holds it. What it falls back on then is at hand: the
best of the rest of that day's month (`rests`), of all days since (a state carried along, `_since`), and of the day
that comes in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from sojourn.rollups.algebra import Slide
from sojourn.rollups.cover import cover_of
from sojourn.rollups.definition import Definition
from sojourn.rollups.grains import ONE_DAY, Cell, month_of, months_later
from sojourn.rollups.ledger import Ledger
from sojourn.rollups.reading import Column, Windows, or_nothing, same_key
from sojourn.rollups.rests import rest_relation
from sojourn.rollups.windows import Reading, Window, past, whole_past
from sojourn.warehouse import Warehouse

# The month of the day that leaves is over when the window moves on: the shortest span of which this holds.
LEAST_DAYS = 30


def carried(definition: Definition, as_of: date) -> dict[str, list[Window]]:
    """The windows whose states the table of windows carries: those that slide, and what they fall back on.

    The latter are `<window>_since`: the days since the end of the month from which the next day leaves.
    """
    found = sliding(definition)
    for name, windows in found.items():
        slide = definition.wide[name].slide
        if slide is not None and slide.falls_back:
            windows.extend([_since(window, as_of) for window in windows if window.start_days is not None])
    return found


def sliding(definition: Definition) -> dict[str, list[Window]]:
    """The windows of each aggregate that move on from the day before's: long rolling ones and all history.

    Where there is any, it has the count by which a key is known to be in the longest of them. Without one that reaches
    as far as all other windows, nothing slides.
    """
    found = {
        name: [window for window in windows if _is_long(window)]
        for name, windows in definition.reading.items()
        if name in definition.wide and definition.wide[name].slide is not None
    }
    every = {window for windows in found.values() for window in windows}
    some_day = date(2024, 5, 15)
    if not every or min(w.span(some_day)[0] for w in every) > min(_reaches_back(definition.windows, some_day)):
        return {}
    longest = min(every, key=lambda window: window.span(some_day)[0])
    counted = found.get(definition.presence, [])
    found[definition.presence] = counted if longest in counted else [*counted, longest]
    return {name: windows for name, windows in found.items() if windows}


def falling_back(definition: Definition) -> list[str]:
    """The aggregates whose value may leave a window with a day, and is then looked for in the rest of its month."""
    return [
        name
        for name, windows in sliding(definition).items()
        if any(window.start_days is not None for window in windows)
        and (slide := definition.wide[name].slide) is not None
        and slide.falls_back
    ]


def _is_long(window: Window) -> bool:
    days = -(window.start_days or 0)
    return window == whole_past() or (window == past(days) and days >= LEAST_DAYS)


def _reaches_back(windows: Sequence[Window], some_day: date) -> Iterator[date]:
    # A calendar window's reach differs from day to day; `start_days` bounds it.
    return (date.min if each.start_days is None else some_day + timedelta(days=each.start_days) for each in windows)


def _since(window: Window, as_of: date) -> Window:
    start = months_later(month_of(window.span(as_of)[0]), 1)
    return Window(f"{window.name}_since", (min(start, as_of) - as_of).days, 0)


@dataclass(frozen=True)
class Sliding:
    """One query for the windows as of a day, from the table of windows as of the day before."""

    warehouse: Warehouse
    found: Ledger
    as_of: date
    table: str

    def query(self) -> str:
        """The query: the keys, `<aggregate>_<window>` in the order of the spec, `<aggregate>__<part>_<window>`."""
        d = self.definition
        parts = [("before", f"SELECT * FROM {self._before}"), ("entering", self._day(self._yesterday))]
        for window in self._leaving:
            parts.append((_out(window), self._day(self._left(window))))
            if self._leads(window):
                parts.append((_rest(window), f"SELECT * FROM {self._rest_of(window)}"))
        if self._turned:
            parts.append(("turned", self._windows({}, carried=self._turned)))
        if self._others:
            parts.append(("others", self._windows(self._others, carried={})))
        moved = ", ".join(f"{sql} AS {name}" for name, sql in self._moved())
        parts.append(("moved", f"SELECT {', '.join([*self._keys(), moved])} FROM before AS c {self._joins()}"))
        named = ", ".join(f"{name} AS ({query})" for name, query in parts)
        chosen = ", ".join([*(f"m.{key}" for key in d.keys), *self._chosen()])
        others = f"LEFT JOIN others ON {same_key(d, 'm', 'others')}" if self._others else ""
        return f"WITH {named} SELECT {chosen} FROM moved AS m {others} WHERE m.{self._present} > 0"

    @property
    def definition(self) -> Definition:
        """What the rollup means."""
        return self.found.definition

    @property
    def _yesterday(self) -> date:
        return self.as_of - ONE_DAY

    @property
    def _before(self) -> str:
        return self.warehouse.relation(self.table, only=[{"as_of": str(self._yesterday)}])

    @cached_property
    def _carried(self) -> dict[str, list[Window]]:
        return carried(self.definition, self.as_of)

    @cached_property
    def _slid(self) -> dict[str, list[Window]]:
        return sliding(self.definition)

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {name: Column(name, self.definition.wide[name]) for name in self._carried}

    @cached_property
    def _leaving(self) -> list[Window]:
        """The windows that a day leaves."""
        return list(dict.fromkeys(w for windows in self._slid.values() for w in windows if w.start_days is not None))

    @cached_property
    def _turned(self) -> dict[str, list[Window]]:
        """What is carried since the end of a month that now is another's: made anew."""
        before = carried(self.definition, self._yesterday)
        return {
            name: turned
            for name, windows in self._carried.items()
            if (
                turned := [
                    w
                    for w, b in zip(windows, before[name], strict=True)
                    if _began(w, self.as_of) != _began(b, self._yesterday)
                ]
            )
        }

    @cached_property
    def _others(self) -> dict[str, list[Window]]:
        """The windows that do not slide."""
        reading = self.definition.reading
        kept = {name: [w for w in windows if w not in self._slid.get(name, ())] for name, windows in reading.items()}
        return {name: windows for name, windows in kept.items() if windows}

    @cached_property
    def _present(self) -> str:
        """The column that counts a key's rows in the longest window."""
        name = self.definition.presence
        longest = min(self._slid[name], key=lambda window: window.span(self.as_of)[0])
        return self._stored(name, longest)["n"]

    def _slide(self, name: str) -> Slide:
        slide = self.definition.wide[name].slide
        assert slide is not None, "only what slides is carried"
        return slide

    def _leads(self, window: Window) -> list[str]:
        """The aggregates whose value in this window may be lost and has something to fall back on."""
        return [name for name, windows in self._slid.items() if window in windows and self._slide(name).falls_back]

    def _stored(self, name: str, window: Window) -> dict[str, str]:
        """The column of the windows' table that holds each part of a state."""
        shown = window in self.definition.reading.get(name, ())
        states = self._columns[name].carried(window, shown=shown)
        return {part: states.get(part, f"{name}_{window.name}") for part in self.definition.wide[name].gathering()}

    def _left(self, window: Window) -> date:
        return window.span(self._yesterday)[0]

    def _day(self, day: date) -> str:
        """One day's states: a relation without rows where the source has none on that day."""
        columns = [kept for name in self._carried for kept in self._columns[name].kept.values()]
        there = day in self.found.source
        cell = Cell("day", day if there else self._yesterday)
        relation = self.warehouse.relation(self.definition.spec.table, only=[cell.partition])
        none = "" if there else " WHERE false"
        return f"SELECT {', '.join([*self.definition.keys, *columns])} FROM {relation}{none}"

    def _rest_of(self, window: Window) -> str:
        # One table of rests serves all windows, so it has what any of them falls back on.
        left = self._left(window)
        if not self.found.days(left, months_later(month_of(left), 1)):
            return f"({self._day(left)})"  # no row in the rest of the month, nor on the day: nothing to fall back on
        leads = dict.fromkeys(name for each in self._leaving for name in self._leads(each))
        algebras = {name: self.definition.wide[name] for name in leads}
        oldest = min(self._left(each) for each in self._leaving)
        return rest_relation(self.warehouse, self.found, algebras, day=left, oldest=oldest)

    def _windows(self, reading: Reading, *, carried: Reading) -> str:
        windows = [window for each in (*reading.values(), *carried.values()) for window in each]
        cover = cover_of(self.warehouse, self.found, [self.as_of], list(dict.fromkeys(windows)))
        return Windows(self.warehouse, self.definition, cover, reading, carried=carried).query()

    def _keys(self) -> list[str]:
        return [f"coalesce(c.{key}, i.{key}) AS {key}" for key in self.definition.keys]

    def _joins(self) -> str:
        joins = [f"FULL JOIN entering AS i ON {same_key(self.definition, 'c', 'i')}"]
        # A key that a day leaves was there the day before.
        for window in self._leaving:
            joins.append(f"LEFT JOIN {_out(window)} ON {same_key(self.definition, 'c', _out(window))}")
            if self._leads(window):
                joins.append(f"LEFT JOIN {_rest(window)} ON {same_key(self.definition, 'c', _rest(window))}")
        if self._turned:
            either = " AND ".join(
                f"coalesce(c.{key}, i.{key}) IS NOT DISTINCT FROM turned.{key}" for key in self.definition.keys
            )
            joins.append(f"LEFT JOIN turned ON {either}")
        return " ".join(joins)

    def _moved(self) -> Iterator[tuple[str, str]]:
        for name, windows in self._carried.items():
            for window in windows:
                if window in self._turned.get(name, ()):
                    yield from ((column, f"turned.{column}") for column in self._stored(name, window).values())
                elif self._slide(name).lead is None:
                    yield from self._moved_sums(name, window)
                else:
                    yield from self._moved_lead(name, window)

    def _moved_sums(self, name: str, window: Window) -> Iterator[tuple[str, str]]:
        kept, stored = self._columns[name].kept, self._stored(name, window)
        for part, kind in self._slide(name).sums.items():
            out = f" - coalesce({_out(window)}.{kept[part]}, 0)" if window in self._leaving else ""
            moved = f"coalesce(c.{stored[part]}, 0) + coalesce(i.{kept[part]}, 0){out}"
            yield stored[part], f"CAST({moved} AS {self.definition.sql.kind(kind)})"

    def _moved_lead(self, name: str, window: Window) -> Iterator[tuple[str, str]]:
        slide, kept, stored = self._slide(name), self._columns[name].kept, self._stored(name, window)
        assert slide.lead is not None
        here, comes = f"c.{stored[slide.lead]}", f"i.{kept[slide.lead]}"
        better = f"{comes} IS NOT NULL AND ({here} IS NULL OR {comes} {'>' if slide.sense == 'max' else '<'} {here})"
        is_left = window in self._leaving
        lost = f"{here} = {_out(window)}.{kept[slide.lead]}" if is_left else ""
        for part, column in stored.items():
            cases = [f"WHEN {better} THEN i.{kept[part]}"]
            if is_left and slide.latest:
                cases.append(f"WHEN {lost} THEN NULL")
            elif is_left:
                cases.append(f"WHEN {lost} THEN {self._fallback(name, window, part)}")
            yield column, f"CASE {' '.join(cases)} ELSE c.{column} END"

    def _fallback(self, name: str, window: Window, part: str) -> str:
        """What remains of a state when the day that goes out held its lead: the best of three."""
        slide, kept = self._slide(name), self._columns[name].kept
        since = self._stored(name, _since(window, self.as_of))
        assert slide.lead is not None
        places = [(f"{_rest(window)}.{kept[slide.lead]}", f"{_rest(window)}.{kept[part]}")]
        places += [(f"c.{since[slide.lead]}", f"c.{since[part]}"), (f"i.{kept[slide.lead]}", f"i.{kept[part]}")]
        best = f"{'greatest' if slide.sense == 'max' else 'least'}({', '.join(lead for lead, _ in places)})"
        if part == slide.lead:
            return best
        return f"CASE {' '.join(f'WHEN {lead} = {best} THEN {value}' for lead, value in places)} END"

    def _chosen(self) -> Iterator[str]:
        d = self.definition
        for name, windows in d.reading.items():
            for window in windows:
                column = f"{name}_{window.name}"
                if window in self._slid.get(name, ()):
                    parts = {part: f"m.{stored}" for part, stored in self._stored(name, window).items()}
                    yield f"{d.wide[name].finish.format(**parts, as_of=self._as_of)} AS {column}"
                else:
                    yield f"{or_nothing(f'others.{column}', d.aggregates[name].of_nothing)} AS {column}"
        for name, windows in self._carried.items():
            for window in windows:
                shown = window in d.reading.get(name, ())
                yield from (f"m.{column}" for column in self._columns[name].carried(window, shown=shown).values())

    @property
    def _as_of(self) -> str:
        return f"DATE '{self.as_of}'"


def _began(window: Window, as_of: date) -> date | None:
    """Since when a window since the end of a month is carried; None for any other."""
    return window.span(as_of)[0] if window.name.endswith("_since") else None


def _out(window: Window) -> str:
    return f"leaving_{window.name}"


def _rest(window: Window) -> str:
    return f"rest_{window.name}"
