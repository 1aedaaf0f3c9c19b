"""What an aggregate is: a Mergeable in Python, and the same law as SQL templates that any engine fills in.

A *state* is what a stored partial keeps for one key and one span of days. It takes one of two shapes:

- `Sql`: a few columns beside the key, such as a count and a sum;
- `ElementSql`: one row per key and *element*, such as a word and how often it was used. Nothing is cut off, and no
  single value grows with what it holds, however much one key does.

Rows whose value is NULL, and rows that the aggregate's filter leaves out, change no state.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from typing import Any, ClassVar, Literal

from sojourn.rollups.dialect import Dialect

Row = Mapping[str, Any]
State = Any
Templates = Mapping[str, str]

INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
FLOATS = frozenset({"FLOAT", "DOUBLE"})


@dataclass(frozen=True)
class Slide:
    """How a window's state follows from the day before's: one day comes in, one day goes out.

    `sums` are parts that go out as they came in, by subtraction, with the type they are kept in. Any other state has a
    `lead` part, the largest or the smallest of all (`sense`), which the other parts accompany: as long as the day that
    goes out does not hold it, it stays. `latest` says that the lead grows from day to day, so that with the day that
    holds it all is gone; otherwise what remains is looked for in the rest of the window.
    """

    sums: Templates = field(default_factory=dict)
    lead: str | None = None
    sense: Literal["max", "min"] = "max"
    latest: bool = False

    @property
    def falls_back(self) -> bool:
        """Whether a lost lead has something to fall back on."""
        return self.lead is not None and not self.latest


@dataclass(frozen=True)
class Sql:
    """An aggregate's algebra in SQL: per part of the state a template, whose braces name what is filled in.

    - `lift` makes parts from rows of one day; `{value}` is NULL where the filter does not hold.
    - `merge` joins states of the same day, however its rows were cut, and without `gather` those of different days too.
      `{<part>}` is a column of the state, `{only}` stands where a `FILTER` may come.
    - `read` is what a partial of whole days keeps of a state, and `gather` merges what is kept. No two of the partials
      that are ever merged share a day, which makes active days, first and last several times smaller and cheaper.
    - `finish` is the value, a scalar over gathered columns; `{as_of}` is the day from whose start one looks back.
    - `slide` is how a gathered state moves on by a day, where it can; `shown` is the part that `finish` shows as it is.
    """

    lift: Templates
    merge: Templates
    finish: str
    read: Templates = field(default_factory=dict)
    gather: Templates = field(default_factory=dict)
    slide: Slide | None = None
    shown: str | None = None

    def reading(self) -> Templates:
        """The templates that make what is kept of a state of whole days: by default each part as it is."""
        return self.read or {part: f"{{{part}}}" for part in self.lift}

    def gathering(self) -> Templates:
        """The templates that merge states of different days: by default those that merge any."""
        return self.gather or self.merge


@dataclass(frozen=True)
class ElementSql:
    """The algebra of a state with one row per key and element, in SQL templates.

    - `element` is what one row of the source gives: an expression over `{value}` and `{by}`, or a list of them where
      `lists` is true. Rows where it is NULL are left out.
    - `lift` makes the parts of an element's state from rows, `merge` joins stored ones, as in `Sql`; without parts the
      element's presence is its state.
    - A window sees each element once, with its merged parts (`{<part>}`) and whether it lies in the window
      (`{present}`). `steps` add columns one after the other, each of which sees those before it; `{over}` partitions a
      SQL window by key. `finish` aggregates a key's elements into the value. `{end}` is the day after the window's
      last.
    """

    element: str
    finish: str
    lists: bool = False
    lift: Templates = field(default_factory=dict)
    merge: Templates = field(default_factory=dict)
    steps: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Aggregate(ABC):
    """A Mergeable over rows with `value`, `day`, `ts` and `event_id`, with its algebra in SQL beside it.

    `kind` is the SQL type of the value and `by_kind` that of the category, where there is one; `k` and `q` are the
    settings of the same name in `AggregateSpec`; `zone` and `week_start` are the warehouse's. The empty state is None
    unless a class says otherwise.
    """

    kind: str = "INTEGER"
    by_kind: str | None = None
    k: int | None = None
    q: float | None = None
    zone: str = "UTC"
    week_start: int = 0

    function: ClassVar[str]
    needs_expression: ClassVar[bool] = True
    needs_number: ClassVar[bool] = False
    needs_by: ClassVar[bool] = False
    needs_columns: ClassVar[tuple[str, ...]] = ()
    takes_lists: ClassVar[bool] = False
    default_k: ClassVar[int | None] = None
    needs_q: ClassVar[bool] = False
    longest_days: ClassVar[int | None] = None
    by_instant: ClassVar[bool] = False
    of_nothing: ClassVar[Any] = None

    @abstractmethod
    def of_row(self, row: Row) -> State:
        """The state of one row whose value is not null."""

    @abstractmethod
    def join(self, left: State, right: State) -> State:
        """The merge of two states, neither of them empty."""

    @abstractmethod
    def sql(self, engine: Dialect) -> Sql | ElementSql:
        """The same algebra in SQL."""

    def empty(self) -> State:
        """The state of no rows."""
        return None

    def lift(self, rows: Iterable[Row]) -> State:
        """The state of these rows."""
        return reduce(self.merge, (self.of_row(row) for row in rows if self.counts(row)), self.empty())

    def counts(self, row: Row) -> bool:
        """Whether the row changes the state."""
        return row["value"] is not None and (not self.needs_by or row["by"] is not None)

    def merge(self, left: State, right: State) -> State:
        """The state of both sets of rows together."""
        if left is None:
            return right
        return left if right is None else self.join(left, right)

    def finish(self, state: State, as_of: date | None = None) -> Any:  # noqa: ARG002 (few ask for the day)
        """The value that the state stands for, seen from the start of day `as_of`."""
        return state

    @classmethod
    def refuses(cls, kind: str) -> str | None:  # noqa: ARG003 (most take every type)
        """What is needed instead of values of this SQL type, in words; None where they can be aggregated."""
        return None

    @property
    def element_kind(self) -> str:
        """The SQL type of one value: of a list's values where the values are lists."""
        return self.kind.removesuffix("[]") if self.takes_lists else self.kind
