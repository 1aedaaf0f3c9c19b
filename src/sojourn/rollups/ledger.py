"""Which days a source has, and which partials stand beside them: found current, stale or foreign by fingerprint."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from sojourn.core import BadInput, EmptyInput, fingerprint
from sojourn.rollups.definition import Definition, define
from sojourn.rollups.grains import ONE_DAY, Cell, closed, fewest, month_of, months_later, week_of
from sojourn.rollups.spec import RollupSpec
from sojourn.warehouse import Warehouse


@dataclass(frozen=True)
class Ledger:
    """The days of a source from `known_from` up to `known_to`, and the partials of one rollup that lie there.

    A partial's fingerprint is `<definition>.<input>`: what was asked, and the fingerprint of the days it was made from.
    `every_day` are all days of the source; `source` and `rows` tell of the known ones alone.
    """

    definition: Definition
    every_day: Sequence[date]
    source: Mapping[date, str]
    stored: Mapping[Cell, str]
    rows: Mapping[date, int]

    @property
    def first(self) -> date:
        """The first day of the source's history."""
        return self.every_day[0]

    @property
    def end(self) -> date:
        """The day after the last day of the source's history."""
        return self.every_day[-1] + ONE_DAY

    def days(self, start: date, end: date) -> list[date]:
        """The days in [start, end) on which the source has rows, in order."""
        return list(self.every_day[bisect_left(self.every_day, start) : bisect_left(self.every_day, end)])

    def holes(self, start: date, end: date) -> list[date]:
        """The days in [start, end), within history, on which the source has no row."""
        start, end = max(start, self.first), min(end, self.end)
        there = set(self.days(start, end))
        return [day for day in (start + number * ONE_DAY for number in range((end - start).days)) if day not in there]

    def wanted(self, cell: Cell) -> str:
        """The fingerprint that the partial of this cell should have."""
        if cell.grain == "day":
            return f"{self.definition.fingerprint}.{self.source[cell.start]}"
        return f"{self.definition.fingerprint}.{self.input_of(cell.start, cell.end)}"

    def input_of(self, start: date, end: date) -> str:
        """A fingerprint of all that the source holds on the days [start, end)."""
        return fingerprint("days", *(f"{day} {self.source[day]}" for day in self.days(start, end)))

    def is_current(self, cell: Cell) -> bool:
        """Whether the partial of this cell is there and was made from what the source holds now."""
        return self.stored.get(cell) == self.wanted(cell)

    def to_build(self, start: date, end: date) -> list[Cell]:
        """The days in [start, end) whose partial is missing or stale; then weeks, then months, that hold any of the
        days.

        A week or month has a partial once it is over, which the first day after it in the source tells, and once all
        its days have theirs.
        """
        days = self.days(start, end)
        large = closed(days, end=self.end, week_start=self.definition.first_weekday)
        cells = [*(Cell("day", day) for day in days), *(cell for cell in large if self._can_merge(cell, start, end))]
        return [cell for cell in cells if not self.is_current(cell)]

    def _can_merge(self, cell: Cell, start: date, end: date) -> bool:
        outside = [day for day in self.days(cell.start, cell.end) if not start <= day < end]
        return self.knows(cell) and all(self.is_current(Cell("day", day)) for day in outside)

    def knows(self, cell: Cell) -> bool:
        """Whether the fingerprint of every day in the cell is known."""
        return all(day in self.source for day in self.days(cell.start, cell.end))

    def to_drop(self, start: date, end: date) -> list[Cell]:
        """The stored cells that touch [start, end) and have no place any more.

        They hold no day on which the source has rows; or are weeks or months that are not over, as the log has become
        shorter; or weeks that begin on another weekday than weeks do now.
        """
        touched = [cell for cell in self.stored if cell.start < end and cell.end > start]
        return sorted(cell for cell in touched if not self._has_place(cell))

    def _has_place(self, cell: Cell) -> bool:
        over = cell.grain == "day" or cell.end <= self.end
        on_grid = cell.grain != "week" or week_of(cell.start, self.definition.first_weekday) == cell.start
        return over and on_grid and bool(self.days(cell.start, cell.end))

    def cover(self, start: date, end: date, *, of: Set[date] | None = None) -> list[Cell]:
        """The fewest cells that hold all days in [start, end) and no other; weeks and months only where current.

        Where `of` is given, all of its days, and no day of the source that is not among them.
        """
        week_start = self.definition.first_weekday
        if of is None:
            has = self._current_at_large.__contains__
            return fewest(start, end, days=self.every_day, has=has, week_start=week_start)
        days = [day for day in self.every_day if day in of]
        return fewest(start, end, days=days, has=lambda cell: self._holds_only(cell, of), week_start=week_start)

    def _holds_only(self, cell: Cell, days: Set[date]) -> bool:
        return cell in self._current_at_large and all(day in days for day in self.days(cell.start, cell.end))

    @cached_property
    def _current_at_large(self) -> set[Cell]:
        large = (cell for cell in self.stored if cell.grain != "day")
        return {
            cell for cell in large if self.knows(cell) and self.days(cell.start, cell.end) and self.is_current(cell)
        }

    def other_definitions(self) -> dict[str, int]:
        """The fingerprints of other definitions that made stored partials, with the number of days of each."""
        made = [each.partition(".")[0] for cell, each in self.stored.items() if cell.grain == "day"]
        return {each: made.count(each) for each in sorted(set(made)) if each != self.definition.fingerprint}

    def refuse_other_definitions(self) -> None:
        """Raise `BadInput` with every fingerprint and the mends when partials of another definition are stored."""
        others = self.other_definitions()
        if others:
            told = ", ".join(f"{each} ({days} days)" for each, days in others.items())
            raise BadInput(
                f"Table {self.definition.spec.table!r} holds partials of another definition: {told}, and this one is "
                f"{self.definition.fingerprint}. Give the new rollup another name, or replace the old partials: "
                f"sojourn rollup backfill --rebuild"
            )

    def need_current(self, cells: Sequence[Cell]) -> None:
        """Raise `BadInput` naming the days whose partials are missing or stale, or the definition that made them."""
        self.refuse_other_definitions()
        behind = sorted({cell.start for cell in cells if not self.is_current(cell)})
        if behind:
            spec = self.definition.spec
            raise BadInput(
                f"Table {spec.table!r} is behind table {spec.source!r} on {len(behind)} days, the first {behind[0]}. "
                f"Build them: sojourn rollup backfill --from {behind[0]} --to {behind[-1] + ONE_DAY}"
            )


def ledger(warehouse: Warehouse, spec: RollupSpec, *, start: date = date.min, end: date = date.max) -> Ledger:
    """How the partials of this rollup stand on the days [start, end), and on all days of weeks and months that touch
    them.

    Only those days' files are looked into. Raises as `define` does, and `EmptyInput` for a source without days.
    """
    places = [place for place in warehouse.places(spec.source) if "day" in place]
    definition = define(warehouse, spec, last=places[-1] if places else None)
    every_day = [date.fromisoformat(place["day"]) for place in places]
    if not every_day:
        raise EmptyInput(f"Table {spec.source!r} has no partition by day. Ingest events first: sojourn ingest FILE")
    start, end = max(start, every_day[0]), min(end, every_day[-1] + ONE_DAY)
    low = min(month_of(start), week_of(start, definition.first_weekday))
    high = max(months_later(month_of(end), 1), week_of(end, definition.first_weekday) + 7 * ONE_DAY)
    days = {
        date.fromisoformat(each.partition["day"]): each
        for each in warehouse.partitions(spec.source, keep=lambda place: str(low) <= place["day"] < str(high))
    }
    return Ledger(
        definition,
        [day for day in every_day if day in days or not low <= day < high],
        source={day: each.fingerprint for day, each in days.items()},
        stored=_stored(warehouse, definition, low=low, high=high),
        rows={day: each.rows for day, each in days.items()},
    )


def _stored(warehouse: Warehouse, definition: Definition, *, low: date, high: date) -> dict[Cell, str]:
    """The fingerprint of each stored cell; an empty one where its tables do not agree."""
    tables = definition.tables()
    found: list[dict[Cell, str]] = []
    for table in tables:
        infos = warehouse.partitions(
            table, keep=lambda place: "grain" in place and str(low) <= place["start"] < str(high)
        )
        found.append({_cell(each.partition): each.fingerprint for each in infos})
    cells = {cell for each in found for cell in each}
    marks = {cell: {each.get(cell, "") for each in found} for cell in cells}
    return {cell: mark.pop() if len(mark) == 1 else "" for cell, mark in marks.items()}


def _cell(partition: Mapping[str, str]) -> Cell:
    grain = partition["grain"]
    assert grain in {"day", "week", "month"}
    return Cell(grain, date.fromisoformat(partition["start"]))  # type: ignore[arg-type]
