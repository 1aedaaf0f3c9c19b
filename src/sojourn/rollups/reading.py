"""Partials in, values over windows out: any number of windows and of days to look from, in one query."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from sojourn.rollups.algebra import ElementSql, Sql
from sojourn.rollups.cover import Cover, cover_of
from sojourn.rollups.definition import Definition
from sojourn.rollups.known import AS_OF, Known, known_within_history
from sojourn.rollups.ledger import Ledger, ledger
from sojourn.rollups.lifting import ELEMENT, lift_elements_query, lift_query, state_column
from sojourn.rollups.spec import RollupSpec
from sojourn.rollups.windows import Reading, Window
from sojourn.warehouse import Warehouse

NO_ROW = "(CAST(NULL AS VARCHAR(5)), CAST(NULL AS DATE), CAST(NULL AS DATE), CAST(0 AS BIGINT))"
MENDED = "mended_rows"
MONTH_DAYS = 31
Lift = Callable[[str, Sequence[str]], str]


def window_table(
    warehouse: Warehouse, spec: RollupSpec, *, as_ofs: Sequence[date], known_after_hours: float | None = None
) -> pl.DataFrame:
    """The declared windows as seen from each day: `as_of`, the keys, then `<aggregate>_<window>`, sorted.

    A key has a row where it has any row of the source in any of the windows. Counts, sums and active days of nothing
    are 0, every other value of nothing is null. With `known_after_hours` only what had arrived so many hours after each
    day's start counts, as it stood then: the table that a job would have written at that time.

    Raises `BadInput` when history is shorter than a window, or when partials are missing or stale (`backfill` mends
    that), and as `known_at` does.
    """
    found = ledger(warehouse, spec)
    known = known_within_history(warehouse, found, as_ofs, after_hours=known_after_hours)
    query = window_query(warehouse, found, as_ofs=as_ofs, reading=found.definition.reading, known=known)
    # Sorted here: Spark would compute the whole query twice, first for a sample of its keys.
    return warehouse.engine.frame(query).sort("as_of", *spec.keys, nulls_last=True)


def window_query(
    warehouse: Warehouse, found: Ledger, *, as_ofs: Sequence[date], reading: Reading, known: Known | None = None
) -> str:
    """SQL for these aggregates over these windows; it reads partials, and raw rows for windows of hours alone.

    Where only what was `known` counts, it also reads the raw rows of days that were something else then.

    A window that reaches beyond history holds what there is: `need_history` refuses that. Raises `BadInput` when
    partials are missing or stale.
    """
    windows = list(dict.fromkeys(window for each in reading.values() for window in each))
    cover = cover_of(warehouse, found, as_ofs, windows, known=known)
    found.need_current([cell for cell in cover.used if cell.grain == "day"])
    return Windows(warehouse, found.definition, cover, reading).query()


@dataclass(frozen=True)
class Windows:
    """One query for windows.

    `looks` is a relation of keys and `as_of` to which it keeps, None for all keys. `carried` are the windows whose
    states are wanted too.
    """

    warehouse: Warehouse
    definition: Definition
    cover: Cover
    reading: Reading
    looks: str | None = None
    carried: Reading = field(default_factory=dict)

    def query(self) -> str:
        """The query: the keys, `as_of`, `<aggregate>_<window>` in the order of the reading,
        `<aggregate>__<part>_<window>`.

        Partials that lie in the same windows are merged first, and what is left per key, at most one row per band of
        days, is merged once more per window: a filter per window over every partial takes 1.6 times (500,000 users, six
        windows) to 5 times (20,000 users) as long.
        """
        keys = ", ".join(self.definition.keys)
        asked = {**self.reading, **self.carried}
        columns = [Column(name, algebra) for name, algebra in self.definition.wide.items() if name in asked]
        kept = [name for column in columns for name in column.kept.values()]
        banded = [each for column in columns for each in column.banded()]
        parts = [*self._cover_parts(), ("opened", self._opened(kept))]
        parts.append(
            (
                "banded",
                f"SELECT {', '.join([keys, 'as_of', 'bands', *banded])} FROM opened GROUP BY {keys}, as_of, bands",
            )
        )
        finished = [*self._finished(columns), *self._states(columns)]
        found = f"SELECT {', '.join([keys, 'as_of', *finished])} FROM banded GROUP BY {keys}, as_of"
        long = {name: algebra for name, algebra in self.definition.long.items() if name in self.reading}
        if not long:
            return f"WITH {_named(parts)} {found}"
        parts += [("wide", found), *(part for name, algebra in long.items() for part in self._elements(name, algebra))]
        return f"WITH {_named(parts)} {self._joined(list(long))}"

    def names(self) -> list[str]:
        """The columns that the query gives, without `as_of`."""
        values = [f"{name}_{window.name}" for name, windows in self.reading.items() for window in windows]
        return [*self.definition.keys, *values, *self._carried_names()]

    def _carried_names(self) -> Iterator[str]:
        for name, windows in self.carried.items():
            for window in windows:
                shown = self.shows(name, window)
                yield from Column(name, self.definition.wide[name]).carried(window, shown=shown).values()

    def _cover_parts(self) -> Iterator[tuple[str, str]]:
        sql = self.definition.sql
        rows = [*(row.sql() for row in self.cover.rows), *(day.sql() for day in self.cover.mended)]
        yield "cover(grain, start, as_of, bands)", sql.values(rows or [NO_ROW])
        if self.cover.mended:
            yield MENDED, f"SELECT * FROM {self.cover.mended_rows}"
        if self.cover.lives:
            keys = ", ".join([*self.definition.keys, *self._seen_from()])
            days = self._life_days(self.definition.spec.table)
            yield "firsts", f"SELECT {keys}, min(start) AS _first FROM {days} GROUP BY {keys}"
            yield (
                "lives(as_of, days, bands)",
                sql.values(
                    [f"(DATE '{as_of}', {days}, CAST({bands} AS BIGINT))" for as_of, days, bands in self.cover.lives]
                ),
            )

    def _opened(self, kept: Sequence[str]) -> str:
        """Every wide state that lies in any window, with the windows that it lies in."""
        return self._every_state(
            self.definition.spec.table, kept, lambda rows, by: lift_query(self.definition, rows, by=by)
        )

    def _every_state(self, table: str, taken: Sequence[str], lift: Lift) -> str:
        keys = ", ".join([*self.definition.keys, *taken])
        cells = self._partials(table, self.cover.cells)
        lies = "JOIN cover AS c ON c.grain = n.grain AND c.start = n.start AND c.as_of = n.as_of"
        if self.looks is None:
            parts = [f"SELECT as_of, bands, {keys} FROM {cells} JOIN cover USING (grain, start)"]
        else:
            parts = [f"SELECT c.as_of, c.bands, {keys} FROM ({self._looked_at(cells, taken)}) AS n {lies}"]
        for raw in self.cover.raw:
            rows = f"({lift(raw.relation, ())})"
            parts.append(
                f"SELECT DATE '{raw.as_of}' AS as_of, CAST({raw.bands} AS BIGINT) AS bands, {keys} FROM {rows}"
            )
        if self.cover.mended:
            rows = f"({lift(MENDED, (AS_OF,))})"
            seen = f"c.grain = 'raw' AND c.start = m.day AND c.as_of = m.{AS_OF}"
            parts.append(f"SELECT c.as_of, c.bands, {keys} FROM {rows} AS m JOIN cover AS c ON {seen}")
        if self.cover.lives:
            days = self._life_days(table)
            same = " AND ".join([self._same_key("p", "f"), *(f"p.{each} = f.{each}" for each in self._seen_from())])
            within = f"p.start < {self.definition.sql.day_after('f._first', 'l.days')} AND p.start < l.as_of"
            listed = ", ".join([*(f"p.{key}" for key in self.definition.keys), *taken])
            own = "".join(f" AND l.{each} = p.{each}" for each in self._seen_from())
            joined = f"{days} AS p JOIN firsts AS f ON {same} JOIN lives AS l ON {within}{own}"
            parts.append(f"SELECT l.as_of, l.bands, {listed} FROM {joined}")
        return " UNION ALL ".join(parts)

    def _looked_at(self, cells: str, taken: Sequence[str]) -> str:
        """The partials' states of the keys that are looked at, whatever windows they lie in."""
        own = ", ".join([*(f"p.{key}" for key in self.definition.keys), *taken])
        near = f"SELECT p.grain, p.start, k.as_of, {own} FROM {cells} AS p JOIN {self.looks} AS k"
        # Apart, or an optimizer joins the looks with the cover first: a row per look and partial.
        sql = self.definition.sql
        within = f"{self._same_key('p', 'k')} AND p.start < {sql.day_after('k.as_of', str(self._reach_forth()))}"
        back = self._reach_back()
        if back is not None:
            within += f" AND p.start >= {sql.day_after('k.as_of', str(-back))}"
        return f"WITH near AS {sql.materialized} ({near} ON {within}) SELECT * FROM near"

    def _reach_back(self) -> int | None:
        """At most so many days before `as_of` begins a partial that any window reads; None: any number."""
        starts = [window.start_days for window in self.cover.windows]
        return None if None in starts else MONTH_DAYS - min(start for start in starts if start is not None)

    def _reach_forth(self) -> int:
        """So many days after `as_of` all windows are over."""
        return max(window.end_days for window in self.cover.windows)

    def _life_days(self, table: str) -> str:
        """The states of all days before any `as_of`: of each `as_of` apart where what was known counts."""
        if self.cover.known is None:
            return self._partials(table, self.life_days)
        return self.cover.known.day_states(table)

    def _seen_from(self) -> list[str]:
        return [] if self.cover.known is None else ["as_of"]

    def _partials(self, table: str, cells: Sequence[Mapping[str, str]]) -> str:
        return self.warehouse.relation(table, only=cells)

    def _same_key(self, left: str, right: str) -> str:
        return same_key(self.definition, left, right)

    def _finished(self, columns: Sequence["Column"]) -> Iterator[str]:
        for column in columns:
            for window in self.reading.get(column.name, ()):
                yield f"{column.finished(column.gathered(only=self._inside(window)))} AS {column.name}_{window.name}"

    def _states(self, columns: Sequence["Column"]) -> Iterator[str]:
        for column in columns:
            for window in self.carried.get(column.name, ()):
                gathered = column.gathered(only=self._inside(window))
                yield from (
                    f"{gathered[part]} AS {name}"
                    for part, name in column.carried(window, shown=self.shows(column.name, window)).items()
                )

    def shows(self, name: str, window: Window) -> bool:
        """Whether the query gives this value."""
        return window in self.reading.get(name, ())

    def _inside(self, window: Window) -> str:
        return f"FILTER (WHERE (bands & {1 << self.cover.bit(window)}) <> 0)"

    def _elements(self, name: str, algebra: ElementSql) -> Iterator[tuple[str, str]]:
        """The steps from stored elements to values: merged per element, seen per window, finished per key."""
        table, windows = self.definition.spec.table_of(name), self.reading[name]
        keys, element = ", ".join(self.definition.keys), state_column(name, ELEMENT)
        stored = {part: state_column(name, part) for part in algebra.lift}
        rows = self._every_state(
            table,
            [element, *stored.values()],
            lambda rows, by: lift_elements_query(self.definition, name, rows, by=by),
        )
        yield f"{name}__rows", rows
        merged = ["bit_or(bands) AS bands"]
        for window in windows:
            for part, template in algebra.merge.items():
                merged.append(f"{template.format(**stored, only=self._inside(window))} AS {part}_{window.name}")
        last = f"{name}__seen"
        taken = ", ".join([keys, "as_of", f"{element} AS element", *merged])
        yield last, f"SELECT {taken} FROM {name}__rows GROUP BY {keys}, as_of, {element}"
        for step, template in algebra.steps:
            made = [f"{self._in_window(template, algebra, window)} AS {step}_{window.name}" for window in windows]
            yield f"{name}__{step}", f"SELECT *, {', '.join(made)} FROM {last}"
            last = f"{name}__{step}"
        values = [f"{self._in_window(algebra.finish, algebra, window)} AS {name}_{window.name}" for window in windows]
        yield f"{name}__found", f"SELECT {', '.join([keys, 'as_of', *values])} FROM {last} GROUP BY {keys}, as_of"

    def _in_window(self, template: str, algebra: ElementSql, window: Window) -> str:
        own = {part: f"{part}_{window.name}" for part in [*algebra.lift, *(step for step, _ in algebra.steps)]}
        end = self.cover.end_sql(window, self.definition.sql)
        over = f"PARTITION BY {', '.join(self.definition.keys)}, as_of"
        present = f"((bands & {1 << self.cover.bit(window)}) <> 0)"
        return template.format(**own, element="element", present=present, over=over, end=end)

    def _joined(self, long: Sequence[str]) -> str:
        keys = [f"wide.{key}" for key in self.definition.keys]
        columns = []
        for name, windows in self.reading.items():
            nothing = self.definition.aggregates[name].of_nothing
            for window in windows:
                column = f"{name}_{window.name}"
                if name in long:
                    columns.append(f"{or_nothing(f'{name}__found.{column}', nothing)} AS {column}")
                else:
                    columns.append(f"wide.{column}")
        same = {
            name: f"wide.as_of = {name}__found.as_of AND {self._same_key('wide', f'{name}__found')}" for name in long
        }
        joins = " ".join(f"LEFT JOIN {name}__found ON {condition}" for name, condition in same.items())
        states = [f"wide.{name}" for name in self._carried_names()]
        return f"SELECT {', '.join([*keys, 'wide.as_of', *columns, *states])} FROM wide {joins}"

    @property
    def life_days(self) -> list[dict[str, str]]:
        """The partitions that windows over a key's own first days read."""
        return [cell.partition for cell in self.cover.life_cells]


class Column:
    """One aggregate on its way through the query: kept, merged by band, finished per window."""

    def __init__(self, name: str, algebra: Sql) -> None:
        self.name = name
        self.algebra = algebra
        self.kept = {part: state_column(name, part) for part in algebra.reading()}

    def banded(self) -> list[str]:
        """The columns of what is kept, merged."""
        return [f"{merged} AS {self.kept[part]}" for part, merged in self.gathered(only="").items()]

    def gathered(self, *, only: str) -> dict[str, str]:
        """SQL for the parts of the merged state; a sum that slides is 0 where there is nothing."""
        templates = self.algebra.gathering()
        merged = {part: template.format(**self.kept, only=only) for part, template in templates.items()}
        sums = self.algebra.slide.sums if self.algebra.slide else {}
        return {part: f"coalesce({sql}, 0)" if part in sums else sql for part, sql in merged.items()}

    def finished(self, parts: Mapping[str, str]) -> str:
        """SQL for the value of a merged state."""
        return self.algebra.finish.format(**parts, as_of="as_of")

    def carried(self, window: Window, *, shown: bool) -> dict[str, str]:
        """The column of a window's table in which each part of the state lies, those apart that a value shows."""
        parts = self.algebra.gathering()
        return {
            part: f"{state_column(self.name, part)}_{window.name}"
            for part in parts
            if not (shown and part == self.algebra.shown)
        }


def same_key(definition: Definition, left: str, right: str) -> str:
    """SQL for whether the rows of two relations have the same key; no key is a key too."""
    return " AND ".join(f"{left}.{key} IS NOT DISTINCT FROM {right}.{key}" for key in definition.keys)


def or_nothing(value: str, nothing: int | None) -> str:
    """SQL for a value of a key, which has none where the other side of a join lacks the key."""
    return value if nothing is None else f"coalesce({value}, {nothing})"


def _named(parts: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} AS ({query})" for name, query in parts)
