"""What to read and how its columns become ours."""

import re
from datetime import date
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from sojourn.core import Spec

TableName = Literal["events", "users", "items", "costs"]
ListName = Literal["words", "emoji", "tags"]
LISTS: tuple[ListName, ...] = get_args(ListName)

NEEDED: dict[str, tuple[str, ...]] = {
    "events": ("user_id", "ts", "event"),
    "users": ("user_id",),
    "items": ("item_id",),
    "costs": ("day", "amount"),
}
OPTIONAL: dict[str, tuple[str, ...]] = {
    "events": ("event_id", "item_id", "amount", "arrived_at", "zone"),
    "users": ("valid_from", "arrived_at"),
    "items": ("arrived_at",),
    "costs": ("channel", "campaign", "currency", "arrived_at"),
}
# `rowid` would hide the engine's own.
RESERVED: dict[str, tuple[str, ...]] = {
    "events": ("day", "superseded_at", "rowid"),
    "users": ("valid_to", "rowid"),
    "items": ("rowid",),
    "costs": ("rowid",),
}


def list_column(text: str, name: str) -> str:
    """The name of the column that holds this list of a text column.

    >>> list_column("comment", "words")
    'comment_words'
    """
    return f"{text}_{name}"


class IngestSpec(Spec):
    """One source, and the map from its columns to the columns of one table of the warehouse.

    `files` are files, folders or globs of CSV, JSON lines or Parquet (`.gz` and `.zst` too); `query` is a DuckDB query
    instead. `columns` maps our column to one of theirs or to a SQL expression over theirs
    (`{"amount": "quantity * price", "event": "'purchase'"}`); an empty text leaves a column out. What is not mapped is
    guessed from common names, and every guess is reported. Columns of theirs that are not mapped are kept under their
    own names in snake case: all of them, or those in `keep`. `types` fixes the SQL type of such a column. `texts` names
    such columns of an event, and which list columns are made of each: `{"comment": ("words", "emoji", "tags")}` makes
    `comment_words`, `comment_emoji` and `comment_tags`.

    `time_zone` is the zone of times that carry none (UTC when None); `time_format` reads them: a strptime format, or
    `s`, `ms`, `us` for epochs. Rows with a fault beyond `max_rejected_share`, or rows without a user beyond
    `max_anonymous_share`, refuse the whole source. An event later than its arrival by more than `max_clock_skew_s`, or
    before `earliest` (an unset clock), is a fault.

    >>> IngestSpec(files=["orders.csv"], columns={"amount": "quantity * price"}).table
    'events'
    """

    table: TableName = "events"
    files: tuple[str, ...] = ()
    query: str | None = None
    format: Literal["csv", "jsonl", "parquet"] | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    keep: tuple[str, ...] | None = None
    types: dict[str, str] = Field(default_factory=dict)
    texts: dict[str, tuple[ListName, ...]] = Field(default_factory=dict)
    time_zone: str | None = None
    time_format: str | None = None
    max_rejected_share: float = Field(default=0.05, ge=0, le=1)
    max_anonymous_share: float = Field(default=0.5, ge=0, le=1)
    max_clock_skew_s: int = Field(default=86_400, ge=0)
    earliest: date = date(1970, 1, 2)

    @property
    def lists(self) -> dict[str, str]:
        """The list columns to make, each with what it is made of, in words.

        >>> IngestSpec(texts={"comment": ("words", "tags")}).lists
        {'comment_words': 'words of comment', 'comment_tags': 'tags of comment'}
        """
        return {list_column(text, name): f"{name} of {text}" for text, names in self.texts.items() for name in names}

    @field_validator("columns", "types", "texts")
    @classmethod
    def _named(cls, columns: dict[str, Any]) -> dict[str, Any]:
        for name in columns:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"{name!r} cannot be a column's name; use small letters, digits and _")
        return columns

    @field_validator("texts")
    @classmethod
    def _some_lists(cls, texts: dict[str, tuple[ListName, ...]]) -> dict[str, tuple[ListName, ...]]:
        for text, names in texts.items():
            if not names or len(set(names)) < len(names):
                raise ValueError(f"name each list of {text!r} once; there are {', '.join(LISTS)}")
        return texts

    @field_validator("time_zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError) as fault:
            raise ValueError("no such time zone; give an IANA name such as 'Europe/Paris' or 'UTC'") from fault
        return zone

    @model_validator(mode="after")
    def _one_source(self) -> "IngestSpec":
        if self.files and self.query is not None:
            raise ValueError("give files or a query, not both")
        if self.texts and self.table != "events":
            raise ValueError(f"lists are made of the texts of events alone; leave texts out for table {self.table!r}")
        clash = sorted({*RESERVED[self.table], *self.lists} & set(self.columns))
        if clash:
            raise ValueError(
                f"column {clash[0]!r} of table {self.table!r} is made by Sojourn; map theirs to another name"
            )
        return self
