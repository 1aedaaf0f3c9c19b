"""What the filters offer: grains, and the values of every dimension that the metric tables hold."""

from collections.abc import Sequence

from sojourn.dashboard.boards import dimension_values
from sojourn.dashboard.reader import Reader

Choices = dict[str, Sequence[tuple[str, str]]]
GRAINS = (("day", "Days"), ("week", "Weeks"), ("month", "Months"))


def choices(reader: Reader) -> Choices:
    """The options of each select as (value in the address, words); the first is what stands without a choice."""
    values = dimension_values(reader)
    usual = dict(GRAINS)[reader.spec.grain]
    channels = values.pop(reader.spec.channel, [])
    segments = [(f"{dim}={value}", f"{dim.replace('_', ' ').capitalize()}: {value}") for dim in values for value in values[dim]]
    return {
        "grain": [("", usual), *((value, told) for value, told in GRAINS if value != reader.spec.grain)],
        "channel": [("", "All channels"), *((value, value.replace("_", " ").capitalize()) for value in channels)],
        "segment": [("", "Everyone"), *segments],
    }
