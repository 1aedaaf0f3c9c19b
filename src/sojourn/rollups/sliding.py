"""Yesterday's windows and two days of partials in, today's windows out: what a long window costs when it moves by a
day.

A sum moves on by adding the day that comes in and subtracting the day that goes out, both exact. A smallest, largest,
first or last value stays as it is unless the day that goes out holds it; the few keys that lose theirs are read again
from the partials that cover the window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from sojourn.rollups.algebra import Slide
from sojourn.rollups.cover import cover_of
from sojourn.rollups.definition import Definition
from sojourn.rollups.grains import ONE_DAY, Cell
from sojourn.rollups.ledger import Ledger
from sojourn.rollups.reading import Column, Windows, or_nothing, same_key
from sojourn.rollups.windows import Reading, Window, past, whole_past
from sojourn.warehouse import Warehouse

LEAST_DAYS = 28


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


def _is_long(window: Window) -> bool:
    return window in (whole_past(), past(-(window.start_days or 0))) and (
        window.start_days is None or -window.start_days >= LEAST_DAYS
    )


def _reaches_back(windows: Sequence[Window], some_day: date) -> Iterator[date]:
    # A calendar window's reach differs from day to day; `start_days` bounds it.
    return (date.min if each.start_days is None else some_day + timedelta(days=each.start_days) for each in windows)


@dataclass(frozen=True)
class Sliding:
    """One query for the windows as of a day, from the table of windows as of the day before."""

    warehouse: Warehouse
    found: Ledger
    as_of: date
    table: str
    carried: Reading

    def query(self) -> str:
        """The query: the keys, `<aggregate>_<window>` in the order of the spec, `<aggregate>__<part>_<window>`."""
        d = self.definition
        parts = [("before", f"SELECT * FROM {self._before}"), ("entering", self._day(self.as_of - ONE_DAY))]
        parts += [(_leaving(days), self._day(self.as_of - (days + 1) * ONE_DAY)) for days in self._spans]
        again = self._again
        if again:
            parts += [("lost", self._lost()), ("again", self._windows(again, carried=again, only="lost"))]
        if self._rest:
            parts.append(("rest", self._windows(self._rest, carried={}, only=None)))
        moved = ", ".join(f"{sql} AS {name}" for name, sql in self._moved())
        parts.append(("moved", f"SELECT {', '.join([*self._keys(), moved])} FROM before AS c {self._joins()}"))
        named = ", ".join(f"{name} AS ({query})" for name, query in parts)
        chosen = ", ".join([*(f"m.{key}" for key in d.keys), *self._chosen()])
        rest = f"LEFT JOIN rest AS rest ON {same_key(d, 'm', 'rest')}" if self._rest else ""
        return f"WITH {named} SELECT {chosen} FROM moved AS m {rest} WHERE m.{self._present} > 0"

    @property
    def definition(self) -> Definition:
        """What the rollup means."""
        return self.found.definition

    @property
    def _before(self) -> str:
        return self.warehouse.relation(self.table, only=[{"as_of": str(self.as_of - ONE_DAY)}])

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {name: Column(name, self.definition.wide[name]) for name in self.carried}

    @cached_property
    def _spans(self) -> list[int]:
        days = {-window.start_days for windows in self.carried.values() for window in windows if window.start_days}
        return sorted(days)

    @cached_property
    def _rest(self) -> dict[str, list[Window]]:
        """The windows that do not slide."""
        kept = {
            name: [w for w in ws if w not in self.carried.get(name, ())] for name, ws in self.definition.reading.items()
        }
        return {name: windows for name, windows in kept.items() if windows}

    @cached_property
    def _again(self) -> dict[str, list[Window]]:
        """The windows in which a value can be lost with the day that goes out."""
        leads = {name: [w for w in ws if w.start_days] for name, ws in self.carried.items() if self._slide(name).lead}
        return {name: windows for name, windows in leads.items() if windows}

    @cached_property
    def _present(self) -> str:
        """The column that counts a key's rows in the longest window."""
        name = self.definition.presence
        longest = min(self.carried[name], key=lambda window: window.span(self.as_of)[0])
        return self._stored(name, longest)["n"]

    def _slide(self, name: str) -> Slide:
        slide = self.definition.wide[name].slide
        assert slide is not None, "only what slides is carried"
        return slide

    def _stored(self, name: str, window: Window) -> dict[str, str]:
        """The column of the windows' table that holds each part of a state."""
        shown = window in self.definition.reading.get(name, ())
        states = self._columns[name].carried(window, shown=shown)
        return {part: states.get(part, f"{name}_{window.name}") for part in self.definition.wide[name].gathering()}

    def _day(self, day: date) -> str:
        """One day's opened states: a relation without rows where the source has none on that day."""
        columns = [each for name in self.carried for each in self._columns[name].opened()]
        there = day in self.found.source
        cell = Cell("day", day if there else self.as_of - ONE_DAY)
        relation = self.warehouse.relation(self.definition.spec.table, only=[cell.partition])
        none = "" if there else " WHERE false"
        return f"SELECT {', '.join([*self.definition.keys, *columns])} FROM {relation}{none}"

    def _windows(self, reading: Reading, *, carried: Reading, only: str | None) -> str:
        windows = list(dict.fromkeys(window for each in reading.values() for window in each))
        cover = cover_of(self.warehouse, self.found, [self.as_of], windows)
        return Windows(self.warehouse, self.definition, cover, reading, only=only, carried=carried).query()

    def _keys(self) -> list[str]:
        return [f"coalesce(c.{key}, i.{key}) AS {key}" for key in self.definition.keys]

    def _joins(self) -> str:
        joins = [f"FULL JOIN entering AS i ON {same_key(self.definition, 'c', 'i')}"]
        # A key that leaves or loses anything was there the day before.
        tables = [
            *((_leaving(days), _leaving(days)) for days in self._spans),
            *([("again", "r")] if self._again else []),
        ]
        joins += [f"LEFT JOIN {table} AS {name} ON {same_key(self.definition, 'c', name)}" for table, name in tables]
        return " ".join(joins)

    def _moved(self) -> Iterator[tuple[str, str]]:
        for name, windows in self.carried.items():
            for window in windows:
                yield from self._moved_state(name, window)

    def _moved_state(self, name: str, window: Window) -> Iterator[tuple[str, str]]:
        slide, read, stored = self._slide(name), self._columns[name].read, self._stored(name, window)
        for part, kind in slide.sums.items():
            out = f" - coalesce({self._out(window)}.{read[part]}, 0)" if window.start_days else ""
            moved = f"coalesce(c.{stored[part]}, 0) + coalesce(i.{read[part]}, 0){out}"
            yield stored[part], f"CAST({moved} AS {self.definition.sql.kind(kind)})"
        if slide.lead is None:
            return
        lead = stored[slide.lead]
        better = ">" if slide.sense == "max" else "<"
        comes = f"i.{read[slide.lead]} IS NOT NULL AND (c.{lead} IS NULL OR i.{read[slide.lead]} {better} c.{lead})"
        for part, column in stored.items():
            cases = f"WHEN {comes} THEN i.{read[part]} ELSE c.{column} END"
            if window.start_days:
                cases = f"WHEN {self._is_lost(name, window)} THEN r.{self._again_column(name, window, part)} {cases}"
            yield column, f"CASE {cases}"

    def _is_lost(self, name: str, window: Window) -> str:
        """Whether the day that goes out held the value, and the day that comes in has no better one."""
        slide, read = self._slide(name), self._columns[name].read
        assert slide.lead is not None
        lead, out = read[slide.lead], f"{self._out(window)}.{read[slide.lead]}"
        worse = "<" if slide.sense == "max" else ">"
        held = f"{out} IS NOT NULL AND {out} = c.{self._stored(name, window)[slide.lead]}"
        return f"{held} AND (i.{lead} IS NULL OR i.{lead} {worse} {out})"

    def _lost(self) -> str:
        """The keys that have lost any value."""
        keys = ", ".join(f"c.{key}" for key in self.definition.keys)
        lost = [self._is_lost(name, window) for name, windows in self._again.items() for window in windows]
        tables = [("entering", "i"), *((_leaving(days), _leaving(days)) for days in self._spans)]
        joins = " ".join(
            f"LEFT JOIN {table} AS {name} ON {same_key(self.definition, 'c', name)}" for table, name in tables
        )
        return f"SELECT {keys} FROM before AS c {joins} WHERE {' OR '.join(f'({each})' for each in lost)}"

    def _again_column(self, name: str, window: Window, part: str) -> str:
        states = self._columns[name].carried(window, shown=True)
        return states.get(part, f"{name}_{window.name}")

    def _out(self, window: Window) -> str:
        return _leaving(-(window.start_days or 0))

    def _chosen(self) -> Iterator[str]:
        d = self.definition
        for name, windows in d.reading.items():
            for window in windows:
                column = f"{name}_{window.name}"
                if window in self.carried.get(name, ()):
                    parts = {part: f"m.{stored}" for part, stored in self._stored(name, window).items()}
                    yield f"{d.wide[name].finish.format(**parts, as_of=self._as_of)} AS {column}"
                else:
                    yield f"{or_nothing(f'rest.{column}', d.aggregates[name].of_nothing)} AS {column}"
        for name, windows in self.carried.items():
            for window in windows:
                shown = window in d.reading.get(name, ())
                yield from (f"m.{column}" for column in self._columns[name].carried(window, shown=shown).values())

    @property
    def _as_of(self) -> str:
        return f"DATE '{self.as_of}'"


def _leaving(days: int) -> str:
    return f"leaving_{days}d"
