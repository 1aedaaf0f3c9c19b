"""A sample of stored values, each recomputed from the events of its key, one at a time, by the algebra in Python."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from sojourn.rollups.algebra import Aggregate, Row, State
from sojourn.rollups.cover import Cover, CoverRow
from sojourn.rollups.definition import Definition
from sojourn.rollups.findings import Check, VerifySpec, told
from sojourn.rollups.grains import Cell
from sojourn.rollups.lifting import source_rows
from sojourn.rollups.reading import Windows, same_key
from sojourn.rollups.rederived import drawn
from sojourn.rollups.standing import Standing
from sojourn.rollups.windows import HourWindow, LifeWindow, Reading, Window, reach

MOST_PLACES = 3
FEW_ROWS = 16
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Raw:
    """The raw rows of some keys: for each key its rows in time, each with every aggregate's value."""

    definition: Definition
    rows: Mapping[Key, Sequence[Mapping[str, Any]]]

    def value(self, name: str, key: Key, window: Window, as_of: date) -> tuple[Any, float]:
        """What an aggregate gives over a window for a key, and how large what was added up is."""
        aggregate = self.definition.aggregates[name]
        rows = [_row(row, name) for row in self.rows.get(key, ()) if self._lies_in(row, key, window, as_of)]
        # Days in a row are counted back from the window's end, days since from where one looks.
        seen_from = window.span(as_of)[1] if name in self.definition.long else as_of
        numbers = [abs(float(row["value"])) for row in rows if isinstance(row["value"], int | float | Decimal)]
        return aggregate.finish(_lifted(aggregate, rows), seen_from), sum(numbers)

    def _lies_in(self, row: Mapping[str, Any], key: Key, window: Window, as_of: date) -> bool:
        if isinstance(window, HourWindow):
            first, end = window.instants(as_of, self.definition.zone)
            return bool(first <= row["ts"] < end)
        if isinstance(window, LifeWindow):
            born = min(each["day"] for each in self.rows[key])
            return bool(row["day"] < min(born + timedelta(days=window.days), as_of))
        start, end_day = window.span(as_of)
        return bool(start <= row["day"] < end_day)


def verify_sample(found: Standing, spec: VerifySpec) -> list[Check]:
    """A sample of keys of stored windows and of partials, with every aggregate and window of each."""
    chance = np.random.default_rng(spec.seed)
    checks = []
    cells = [
        cell
        for grain in ("day", "week", "month")
        for cell in drawn([each for each in found.current if each.grain == grain], 1, chance)
    ]
    of_partials = _Sample(found, spec.sample, chance)
    for cell in cells:
        of_partials.cell(cell, share=len(cells))
    checks.append(of_partials.check(found.spec.table))
    if found.windows:
        as_ofs = drawn(found.current_windows, MOST_PLACES, chance)
        of_windows = _Sample(found, spec.sample, chance)
        for as_of in as_ofs:
            of_windows.windows(as_of, share=len(as_ofs))
        checks.append(of_windows.check(found.spec.windows_table))
    return checks


class _Sample:
    """Keys drawn, values compared, faults found."""

    def __init__(self, found: Standing, size: int, chance: np.random.Generator) -> None:
        self._found = found
        self._definition = found.found.definition
        self._size = size
        self._chance = chance
        self._compared = 0
        self._faults: list[str] = []

    def check(self, table: str) -> Check:
        """What was compared and found."""
        return Check("recomputed", table, self._compared, "values", told(self._faults))

    def cell(self, cell: Cell, *, share: int) -> None:
        """Compare the values of one stored partial with those of its days' rows."""
        warehouse, definition = self._found.warehouse, self._definition
        window = Window("cell", -(cell.end - cell.start).days, 0)
        reading = {name: [window] for name in definition.aggregates}
        cover = Cover([window], [CoverRow(cell, cell.end, 1)])
        relation = warehouse.relation(definition.spec.table, only=[cell.partition])
        keys = self._keys(relation, share)
        with warehouse.engine.table(keys.with_columns(as_of=pl.lit(cell.end))) as name:
            query = Windows(warehouse, definition, cover, reading, looks=name).query()
            stored = warehouse.engine.frame(query)
            raw = self._raw(name, self._found.found.days(cell.start, cell.end))
        self._compare(stored, raw, reading, cell.end, place=f"in the {cell.grain} from {cell.start}")

    def windows(self, as_of: date, *, share: int) -> None:
        """Compare the values of the stored windows as of a day with those of the raw rows before it."""
        warehouse, definition = self._found.warehouse, self._definition
        relation = warehouse.relation(definition.spec.windows_table, only=[{"as_of": str(as_of)}])
        with warehouse.engine.table(self._keys(relation, share)) as name:
            stored = warehouse.engine.frame(f"SELECT r.* FROM {self._only(relation, name)}")
            raw = self._raw(name, self._found.found.days(*reach(definition.windows, as_of)))
        self._compare(stored, raw, definition.reading, as_of, place=f"as of {as_of}")

    def _keys(self, relation: str, share: int) -> pl.DataFrame:
        keys = ", ".join(self._definition.keys)
        every = self._found.warehouse.engine.frame(f"SELECT DISTINCT {keys} FROM {relation} ORDER BY {keys}")
        size = min(every.height, -(-self._size // share))
        return every[sorted(map(int, self._chance.choice(every.height, size=size, replace=False)))]

    def _only(self, relation: str, keys: str) -> str:
        return f"{relation} AS r JOIN {keys} AS o ON {same_key(self._definition, 'r', 'o')}"

    def _raw(self, keys: str, days: Sequence[date]) -> Raw:
        definition, spec = self._definition, self._definition.spec
        columns = [f"{key} AS k{at}" for at, key in enumerate(definition.keys)]
        columns += [name for name in ("day", "ts", "event_id") if name in definition.columns]
        columns += [f"{definition.value(name)} AS {name}__value" for name in spec.aggregates]
        columns += [f"({each.by}) AS {name}__by" for name, each in spec.aggregates.items() if each.by is not None]
        rows = self._only(source_rows(self._found.warehouse, definition, days), keys)
        query = f"SELECT {', '.join(columns)} FROM (SELECT r.* FROM {rows}) AS raw"
        found: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
        for row in self._found.warehouse.engine.frame(query).iter_rows(named=True):
            found[tuple(row[f"k{at}"] for at in range(len(spec.keys)))].append(row)
        return Raw(definition, found)

    def _compare(self, stored: pl.DataFrame, raw: Raw, reading: Reading, as_of: date, *, place: str) -> None:
        for row in stored.iter_rows(named=True):
            key = tuple(row[name] for name in self._definition.spec.keys)
            for name, window in _pairs(reading):
                column = f"{name}_{window.name}"
                wanted, size = raw.value(name, key, window, as_of)
                self._compared += 1
                if not is_equal(row[column], wanted, size=size):
                    who = ", ".join(
                        f"{key} = {value!r}" for key, value in zip(self._definition.spec.keys, key, strict=True)
                    )
                    told = column.removesuffix("_cell")
                    self._faults.append(f"{told} of {who} {place} is {row[column]!r}, and its events give {wanted!r}")


def is_equal(got: Any, wanted: Any, *, size: float = 0.0) -> bool:
    """Whether two values are the same: exactly, but for doubles to 1e-12 of themselves or of what they are made from.

    >>> is_equal(0.1 + 0.2, 0.3), is_equal([1, None], [1, None]), is_equal(1, 2)
    (True, True, False)
    """
    if isinstance(wanted, float) and isinstance(got, float | int):
        both_nan = math.isnan(got) and math.isnan(wanted)
        return both_nan or math.isclose(got, wanted, rel_tol=1e-12, abs_tol=1e-12 * max(size, 1.0))
    if isinstance(wanted, list) and isinstance(got, list):
        return len(got) == len(wanted) and all(is_equal(*pair, size=size) for pair in zip(got, wanted, strict=True))
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        return got.keys() == wanted.keys() and all(is_equal(got[key], wanted[key], size=size) for key in wanted)
    return bool(got == wanted)


def _pairs(reading: Reading) -> Iterator[tuple[str, Window]]:
    return ((name, window) for name, windows in reading.items() for window in windows)


def _row(row: Mapping[str, Any], name: str) -> Row:
    return {**row, "value": row[f"{name}__value"], "by": row.get(f"{name}__by")}


def _lifted(aggregate: Aggregate, rows: Sequence[Row]) -> State:
    # In halves: merging a large state with that of one row, again and again, copies it each time.
    if len(rows) <= FEW_ROWS:
        return aggregate.lift(rows)
    half = len(rows) // 2
    return aggregate.merge(_lifted(aggregate, rows[:half]), _lifted(aggregate, rows[half:]))
