"""What a page is made of, without a word of Dash: tiles, panels, and the sentence for each way they can be missing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from sojourn.core import BadInput, EmptyInput, MissingTable, SojournError
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.reader import Reader
from sojourn.evaluate.parts import Style

Width = Literal["full", "half"]
Tone = Literal["good", "bad", "calm"]


@dataclass(frozen=True)
class Cell:
    """How one column of a shown table looks: its heading, its style and what goes before the number.

    `told`, where given, makes the text of a cell from its row.
    """

    heading: str
    style: Style = "text"
    digits: int | None = None
    unit: str = ""
    told: Callable[[Mapping[str, Any]], str] | None = None


@dataclass(frozen=True)
class Drawn:
    """One panel filled in: the table that is downloaded, the figure or the rows that are seen, and what they say.

    `said` is the sentence for whoever cannot see the figure. `empty`, when given, is shown in place of both: why there
    is nothing, and what to do. `shown` rows of the table are seen where there is no figure, in the columns of `cells`.
    """

    table: pl.DataFrame
    figure: Any = None
    said: str = ""
    empty: str | None = None
    cells: dict[str, Cell] = field(default_factory=dict)
    shown: int = 12
    note: str = ""


@dataclass(frozen=True)
class Tile:
    """One number: the latest, how it changed, and the way there as a few points."""

    label: str
    value: str
    change: str = ""
    tone: Tone = "calm"
    against: str = ""
    line: Sequence[float | None] = ()
    definition: str = ""


@dataclass(frozen=True)
class Part:
    """One panel of a page: its name in addresses, its title, its definition, and what fills it."""

    name: str
    title: str
    definition: str
    make: Callable[[Reader, Filters], Drawn]
    width: Width = "full"
    height: int = 320


@dataclass(frozen=True)
class View:
    """One page: `notices` of what is wrong and `tiles` on top, then the parts; `controls` are its filters.

    `wanted`, where given, says of a warehouse whether it has anything to do with the page.
    """

    name: str
    title: str
    lead: str
    parts: tuple[Part, ...]
    tiles: Callable[[Reader, Filters], Sequence[Tile]] | None = None
    controls: tuple[str, ...] = ("board", "from", "to", "grain", "channel", "segment")
    notices: Callable[[Reader, Filters], Sequence[str]] | None = None
    wanted: Callable[[Reader], bool] | None = None

    @property
    def path(self) -> str:
        """Where the page lies."""
        return "/" if self.name == "overview" else f"/{self.name}"

    def part(self, name: str) -> Part:
        """The part of this name. Raises `BadInput`."""
        found = next((part for part in self.parts if part.name == name), None)
        if found is None:
            raise BadInput(f"Page {self.name!r} has no chart {name!r}; it has {[part.name for part in self.parts]}.")
        return found


def nothing(sentence: str) -> Drawn:
    """A panel that has nothing to show, and says why."""
    return Drawn(pl.DataFrame(), empty=sentence)


def drawn(part: Part, reader: Reader, filters: Filters) -> Drawn | SojournError:
    """The part filled in, or the sentence of what stood in the way."""
    try:
        return part.make(reader, filters)
    except (EmptyInput, MissingTable) as emptiness:  # nothing is wrong, only not there yet
        return nothing(str(emptiness))
    except SojournError as mistake:
        return mistake
