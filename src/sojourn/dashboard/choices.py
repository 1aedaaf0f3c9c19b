"""What the filters offer: grains, and the values of every dimension that the metric tables hold."""

from collections.abc import Iterable, Mapping, Sequence

from sojourn.dashboard.boards import dimension_values
from sojourn.dashboard.figures import words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.parts import View
from sojourn.dashboard.reader import Reader

ALL = "all"  # what a select says without a choice; it never stands in the address
Choices = dict[str, Sequence[tuple[str, str]]]
LISTED = 8  # so many values are named in a sentence
GRAINS = (("day", "Days"), ("week", "Weeks"), ("month", "Months"))


def choices(reader: Reader) -> Choices:
    """The options of each select as (value in the address, words); the first is what stands without a choice."""
    values = dimension_values(reader)
    usual = dict(GRAINS)[reader.spec.grain]
    channels = values.pop(reader.spec.channel, [])
    segments = [(f"{dim}={value}", f"{words(dim)}: {words(value)}") for dim in values for value in values[dim]]
    return {
        "grain": [(ALL, usual), *((value, told) for value, told in GRAINS if value != reader.spec.grain)],
        "channel": [(ALL, "All channels"), *((value, words(value)) for value in channels)],
        "segment": [(ALL, "Everyone"), *segments],
    }


def known(reader: Reader, view: View, filters: Filters) -> tuple[Filters, list[str]]:
    """The filters without a channel or segment that there is not, and a sentence for each that was left out.

    Without any metrics nothing is known of channels, and every page says so itself.
    """
    values = dimension_values(reader)
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
