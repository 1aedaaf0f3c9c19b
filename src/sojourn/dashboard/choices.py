"""What the filters offer: grains, and the values of every dimension that the metric tables hold."""

from collections.abc import Iterable, Mapping, Sequence

from sojourn.dashboard.acquired import CAMPAIGN, campaigns
from sojourn.dashboard.boards import dimension_values
from sojourn.dashboard.figures import words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.parts import View
from sojourn.dashboard.reader import Reader
from sojourn.metrics.acquisition_spec import NO_CAMPAIGN

ALL = "all"  # what a select says without a choice; it never stands in the address
Choices = dict[str, Sequence[tuple[str, str]]]
LISTED = 8  # so many values are named in a sentence
GRAINS = (("day", "Days"), ("week", "Weeks"), ("month", "Months"))


def values_of(reader: Reader, view: View) -> dict[str, list[str]]:
    """Every dimension that a page can be filtered by, with its values; acquisition knows channel and campaign alone."""
    values = dimension_values(reader)
    if view.name != "acquisition" or not values:
        return values
    told = campaigns(reader)
    return {dim: values[dim] for dim in values if dim == reader.spec.channel} | ({CAMPAIGN: told} if told else {})


def choices(reader: Reader, view: View) -> Choices:
    """The options of each select as (value in the address, words); the first is what stands without a choice."""
    values = values_of(reader, view)
    usual = dict(GRAINS)[reader.spec.grain]
    channels = values.pop(reader.spec.channel, [])
    segments = [(f"{dim}={value}", _said(dim, value)) for dim in values for value in values[dim]]
    boards = reader.boards() or [reader.spec.board]
    return {
        "board": [(ALL, words(boards[0])), *((name, words(name)) for name in boards[1:])],
        "grain": [(ALL, usual), *((value, told) for value, told in GRAINS if value != reader.spec.grain)],
        "channel": [(ALL, "All channels"), *((value, words(value)) for value in channels)],
        "segment": [(ALL, "All campaigns" if view.name == "acquisition" else "Everyone"), *segments],
    }


def _said(dim: str, value: str) -> str:
    if dim == CAMPAIGN:
        return "No campaign" if value == NO_CAMPAIGN else words(value)
    return f"{words(dim)}: {words(value)}"


def known(reader: Reader, view: View, filters: Filters) -> tuple[Filters, list[str]]:
    """The filters without a channel or segment that there is not, and a sentence for each that was left out.

    Without any metrics nothing is known of channels, and every page says so itself. `reader` is that of the board.
    """
    values = values_of(reader, view)
    if not values:
        return filters, []
    notices = []
    for dim, value in filters.conditions(channel=reader.spec.channel).items():
        fault = _unknown(dim, value, values)
        if fault:
            notices.append(f"{fault} {view.title} is shown without that filter.")
            gone = "channel" if dim == reader.spec.channel and filters.channel == value else "segment"
            filters = filters.with_changes(**{gone: None})
    return filters, notices


def board_of(reader: Reader, view: View, filters: Filters) -> tuple[Reader, Filters, list[str]]:
    """The reader of the board that the filters ask for; the usual one, and a sentence, for one that there is not."""
    boards = reader.boards()
    if filters.board is None or filters.board in boards:
        return on_board(reader, filters.board), filters, []
    told = f"The address asks for board {filters.board!r}, which has no metrics; there are {_listed(boards)}."
    found = on_board(reader, None)
    return found, filters.with_changes(board=None), [f"{told} {view.title} is shown for {found.spec.board!r}."]


def on_board(reader: Reader, board: str | None) -> Reader:
    """The reader of this board where it has metrics, else of the declared one, else of the first that has any."""
    boards = reader.boards()
    return reader.on(board if board in boards else boards[0] if boards else None)


def _unknown(dim: str, value: str, values: Mapping[str, Sequence[str]]) -> str:
    if dim not in values:
        return f"The address asks for {dim} {value!r}, and there is no such dimension; there are {_listed(values)}."
    if value not in values[dim]:
        return f"The address asks for {dim} {value!r}, which nobody has; there are {_listed(values[dim])}."
    return ""


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    shown = ", ".join(every[:LISTED])
    return f"{shown} and {len(every) - LISTED} more" if len(every) > LISTED else shown or "none"
