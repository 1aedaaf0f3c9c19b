"""What an aggregate is: a Mergeable in Python, and the same law as SQL templates that any engine fills in.

A *state* is what a stored partial keeps for one key and one span of days; in SQL it is one column or more. Rows whose
value is NULL, and rows that the aggregate's filter leaves out, change no state.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from typing import Any, ClassVar

from sojourn.rollups.dialect import Dialect

Row = Mapping[str, Any]
State = Any
Templates = Mapping[str, str]

INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
FLOATS = frozenset({"FLOAT", "DOUBLE"})


@dataclass(frozen=True)
class Sql:
    """An aggregate's algebra in SQL: per part of the state a template, whose braces name what is filled in.

    - `lift` makes parts from rows; `{value}` is NULL where the filter does not hold.
    - `merge` joins stored states cut from the same rows in any way. `{<part>}` is a stored column, `{only}` stands
      where a `FILTER` may come, `{offset}` is the number of days from the start of the span merged into to the start
      of each state's own span.
    - `read` is what a window reads of one stored state, and `gather` merges what was read. Partials in a window
      never share a day, which makes active days, first and last several times cheaper than `merge`.
    - `finish` is the value, a scalar over gathered columns; `{as_of}` is the day from whose start one looks back.
    """

    lift: Templates
    merge: Templates
    finish: str
    read: Templates = field(default_factory=dict)
    gather: Templates = field(default_factory=dict)

    def reading(self) -> Templates:
        """The templates that open a stored state for a window: by default each part as it lies."""
        return self.read or {part: f"{{{part}}}" for part in self.lift}

    def gathering(self) -> Templates:
        """The templates that merge opened states: by default those that merge stored ones."""
        return self.gather or self.merge


@dataclass(frozen=True)
class Aggregate(ABC):
    """A Mergeable over rows with `value`, `day`, `ts` and `event_id`, with its algebra in SQL beside it.

    `kind` is the SQL type of the value. The empty state is None unless a class says otherwise.
    """

    kind: str = "INTEGER"

    function: ClassVar[str]
    needs_expression: ClassVar[bool] = True
    needs_number: ClassVar[bool] = False
    needs_columns: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def of_row(self, row: Row) -> State:
        """The state of one row whose value is not null."""

    @abstractmethod
    def join(self, left: State, right: State) -> State:
        """The merge of two states, neither of them empty."""

    @abstractmethod
    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""

    def empty(self) -> State:
        """The state of no rows."""
        return None

    def lift(self, rows: Iterable[Row]) -> State:
        """The state of these rows."""
        return reduce(self.merge, (self.of_row(row) for row in rows if row["value"] is not None), self.empty())

    def merge(self, left: State, right: State) -> State:
        """The state of both sets of rows together."""
        if left is None:
            return right
        return left if right is None else self.join(left, right)

    def finish(self, state: State, as_of: date | None = None) -> Any:  # noqa: ARG002 (only recency asks for the day)
        """The value that the state stands for, seen from the start of day `as_of`."""
        return state
