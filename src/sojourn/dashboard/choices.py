"""What the filters offer: grains, and the values of every dimension that the metric tables hold."""

from collections.abc import Sequence

from sojourn.dashboard.boards import dimension_values
from sojourn.dashboard.figures import words
from sojourn.dashboard.reader import Reader

ALL = "all"  # what a select says without a choice; it never stands in the address
Choices = dict[str, Sequence[tuple[str, str]]]
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
