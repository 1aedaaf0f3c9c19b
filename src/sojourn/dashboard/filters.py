"""What a reader of a page has chosen, and how it stands in the page's address, so that a link shows the same."""

from collections.abc import Sequence
from datetime import date
from typing import Self
from urllib.parse import parse_qsl, urlencode

from pydantic import model_validator

from sojourn.core import BadSpec, Spec
from sojourn.dashboard.spec import Grain

NAMES = {
    "board": "board",
    "from": "start",
    "to": "end",
    "grain": "grain",
    "channel": "channel",
    "segment": "segment",
    "user": "user",
}


class Filters(Spec):
    """What is looked at: the days from `start` to `end`, both included, as a person says it.

    `grain` is the length of a period (None: the dashboard's own), `channel` one acquisition channel, `segment` one
    value of any other dimension as `dimension=value`, `user` the key of one user, `board` whose metrics are shown. None
    means all, or no choice.

    >>> Filters.from_query("?from=2025-03-01&segment=country%3DDE").segment
    'country=DE'
    """

    board: str | None = None
    start: date | None = None
    end: date | None = None
    grain: Grain | None = None
    channel: str | None = None
    segment: str | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"the first day, {self.start}, comes after the last, {self.end}; choose an earlier first")
        if self.segment is not None and "=" not in self.segment:
            raise ValueError(f"segment {self.segment!r} names no value; write it as dimension=value")
        return self

    @classmethod
    def from_query(cls, query: str) -> Self:
        """The filters of an address's query; names it does not know are left alone. Raises `BadSpec`."""
        given = {NAMES[name]: word for name, word in parse_qsl(query.removeprefix("?")) if name in NAMES and word}
        try:
            return cls(**given)
        except BadSpec as fault:
            raise BadSpec(f"The page's address holds a filter that cannot be read. {fault}") from fault

    def only(self, names: Sequence[str]) -> Self:
        """The same without the choices that a page has no control for, named as in the address."""
        return self.with_changes(**{field: None for name, field in NAMES.items() if name not in names})

    def query(self) -> str:
        """The query of the address, without the question mark; what is not chosen is left out.

        >>> Filters(start=date(2025, 3, 1), channel="search ads").query()
        'from=2025-03-01&channel=search+ads'
        """
        held = {name: getattr(self, field) for name, field in NAMES.items()}
        return urlencode([(name, str(value)) for name, value in held.items() if value is not None])

    def conditions(self, *, channel: str) -> dict[str, str]:
        """The value that each named dimension must have."""
        found = {} if self.channel is None else {channel: self.channel}
        if self.segment is not None:
            dim, _, value = self.segment.partition("=")
            found[dim] = value
        return found
