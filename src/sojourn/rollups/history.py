"""Whether a source's history reaches as far back, and as far ahead, as windows ask."""

from collections.abc import Sequence
from datetime import date

from sojourn.core import BadInput
from sojourn.rollups.grains import ONE_DAY
from sojourn.rollups.ledger import Ledger
from sojourn.rollups.windows import CalendarWindow, Window


def need_history(found: Ledger, as_ofs: Sequence[date], windows: Sequence[Window], *, told: str = "") -> None:
    """Raise `BadInput` unless every window lies within the source's history, seen from every day.

    Calendar windows hold what there is: a month to date may begin before history does, but not the last whole one.
    `told` is what the refusal adds to the source's name.
    """
    if not as_ofs:
        raise BadInput("No day to look from is given. Name at least one as_of, such as date(2024, 5, 1).")
    spec, first, last = found.definition.spec, min(as_ofs), max(as_ofs)
    where = f"Rollup {spec.name!r} over {spec.source!r}{told}"
    back = max([1, *(_back(window, as_of) for window in windows for as_of in as_ofs)])
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


def _back(window: Window, as_of: date) -> int:
    if isinstance(window, CalendarWindow):
        return 0 if window.name.endswith("_to_date") else (as_of - window.span(as_of)[0]).days
    return -(window.start_days or 0)
