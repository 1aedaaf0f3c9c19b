"""How a rollup stands over all its history: which partials and windows are current, and which days must have them."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

from sojourn.rollups.daily import windows_fingerprint
from sojourn.rollups.grains import Cell
from sojourn.rollups.ledger import Ledger, ledger
from sojourn.rollups.spec import RollupSpec
from sojourn.rollups.windows import reach
from sojourn.warehouse import Warehouse


@dataclass(frozen=True)
class Standing:
    """A rollup as it stands: its ledger over all history, and for each `as_of` whether its windows are current."""

    warehouse: Warehouse
    found: Ledger
    windows: dict[date, bool]

    @property
    def spec(self) -> RollupSpec:
        """The rollup's spec."""
        return self.found.definition.spec

    @cached_property
    def current(self) -> list[Cell]:
        """The stored cells that are current, in order."""
        found = self.found
        held = (cell for cell in found.stored if found.days(cell.start, cell.end))
        return sorted((cell for cell in held if found.is_current(cell)), key=lambda cell: (cell.grain, cell.start))

    @cached_property
    def whole(self) -> list[Cell]:
        """The current cells all of whose days have current partials."""
        days = {cell.start for cell in self.current if cell.grain == "day"}
        return [cell for cell in self.current if days.issuperset(self.found.days(cell.start, cell.end))]

    @cached_property
    def current_windows(self) -> list[date]:
        """The days from which the stored windows are seen that are current and whose partials are, in order."""
        days = {cell.start for cell in self.current if cell.grain == "day"}
        return [as_of for as_of, is_current in self.windows.items() if is_current and days >= self._needed(as_of)]

    def _needed(self, as_of: date) -> set[date]:
        return set(self.found.days(*reach(self.found.definition.windows, as_of)))

    @cached_property
    def span(self) -> tuple[date, date]:
        """The days [start, end) that must have partials: those between any that have, and those of current windows."""
        days = [cell.start for cell in self.found.stored]
        ends = [cell.end for cell in self.found.stored]
        for as_of, is_current in self.windows.items():
            if is_current:
                start, end = reach(self.found.definition.windows, as_of)
                days.append(start)
                ends.append(end)
        return min(days, default=date.min), max(ends, default=date.min)


def standing(warehouse: Warehouse, spec: RollupSpec) -> Standing:
    """How this rollup stands. Raises as `ledger` does."""
    found = ledger(warehouse, spec)
    windows = {
        date.fromisoformat(each.partition["as_of"]): each.fingerprint
        for each in warehouse.partitions(spec.windows_table)
    }
    return Standing(
        warehouse, found, {as_of: mark == windows_fingerprint(found, as_of) for as_of, mark in windows.items()}
    )
