"""Windows of business days seen from a day, the partials that cover them, and whether history reaches that far."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sojourn.core import BadInput
from sojourn.rollups.partials import ONE_DAY, Ledger
from sojourn.rollups.spec import RollupSpec


@dataclass(frozen=True)
class Window:
    """A span of business days seen from a day `as_of`: [as_of + start_days, as_of + end_days).

    `start_days` None means from the first day of history.
    """

    name: str
    start_days: int | None
    end_days: int

    def span(self, as_of: date) -> tuple[date, date]:
        """The days [start, end) that this window covers from `as_of`."""
        start = date.min if self.start_days is None else as_of + timedelta(days=self.start_days)
        return start, as_of + timedelta(days=self.end_days)


Reading = Mapping[str, Sequence[Window]]
"""Which windows to read each aggregate over; the values come out as `<aggregate>_<window>`."""


Cover = tuple[date, date, int]
"""A partial's start, a day to look from, and one bit for each window, in order, that the partial lies in."""


def past(days: int) -> Window:
    """The last N days before `as_of`.

    >>> past(7).span(date(2024, 5, 8))
    (datetime.date(2024, 5, 1), datetime.date(2024, 5, 8))
    """
    return Window(f"{days}d", -days, 0)


def ahead(days: int) -> Window:
    """The N days that begin with `as_of`."""
    return Window(f"{days}d", 0, days)


def whole_past() -> Window:
    """All history before `as_of`."""
    return Window("all", None, 0)


def declared(spec: RollupSpec) -> Reading:
    """The windows that the spec itself declares."""
    return {name: [past(days) for days in spec.windows_of(name)] for name in spec.aggregates}


def covering(found: Ledger, as_ofs: Sequence[date], windows: Sequence[Window]) -> Iterator[Cover]:
    """The partials that cover the windows as seen from each day."""
    for as_of in sorted(set(as_ofs)):
        spans = [window.span(as_of) for window in windows]
        for day in found.days(min(start for start, _ in spans), max(end for _, end in spans)):
            bits = sum(1 << i for i, (start, end) in enumerate(spans) if start <= day < end)
            if bits:
                yield day, as_of, bits


def need_history(found: Ledger, as_ofs: Sequence[date], windows: Sequence[Window]) -> None:
    """Raise `BadInput` unless every window lies within the source's history, seen from every day."""
    if not as_ofs:
        raise BadInput("No day to look from is given. Name at least one as_of, such as date(2024, 5, 1).")
    spec, first, last = found.definition.spec, min(as_ofs), max(as_ofs)
    where = f"Rollup {spec.name!r} over {spec.source!r}"
    back = max([1, *(-(window.start_days or 0) for window in windows)])
    if (there := (first - found.first).days) < back:
        raise BadInput(
            f"{where}: {back} days before {first} are needed and there are {max(there, 0)}; history begins on "
            f"{found.first}. Look from {found.first + back * ONE_DAY} or later, or ask for a shorter window."
        )
    forth = max([0, *(window.end_days for window in windows)])
    if (there := (found.end - last).days) < forth:
        raise BadInput(
            f"{where}: {forth} days from {last} on are needed and there are {max(there, 0)}; history ends with "
            f"{found.end - ONE_DAY}. Look from {found.end - forth * ONE_DAY} or earlier, or ask for fewer days."
        )


def need_current(found: Ledger, days: Iterable[date]) -> None:
    """Raise `BadInput` naming the days whose partials are missing or stale, or the other definition that made them."""
    found.refuse_other_definitions()
    behind = sorted(set(days) & set(found.to_build(date.min, date.max)))
    if behind:
        spec = found.definition.spec
        raise BadInput(
            f"Table {spec.table!r} is behind table {spec.source!r} on {len(behind)} days, the first {behind[0]}. Build "
            f"them: sojourn rollup backfill --from {behind[0]} --to {behind[-1] + ONE_DAY}"
        )
