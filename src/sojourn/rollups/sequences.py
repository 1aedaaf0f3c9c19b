"""The longest text, and the last values in order of time."""

from datetime import date
from typing import Any

from sojourn.rollups.aggregates import Moment
from sojourn.rollups.algebra import Aggregate, Row, Slide, Sql, State
from sojourn.rollups.dialect import Dialect
from sojourn.rollups.types import not_kept


class Longest(Aggregate):
    """The text with the most characters; of equally long ones the first in the order of bytes. Null when there is none.

    A list of texts counts as all of them.
    """

    function = "longest"
    takes_lists = True

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Only texts have a length."""
        return None if kind in {"VARCHAR", "VARCHAR[]"} else "a text or a list of texts"

    def counts(self, row: Row) -> bool:
        """Whether the row holds any text."""
        return bool(self._texts(row)) if row["value"] is not None else False

    def of_row(self, row: Row) -> tuple[int, str]:
        """The state of one row: the length, negative, and the text."""
        return min((-len(text), text) for text in self._texts(row))

    def join(self, left: tuple[int, str], right: tuple[int, str]) -> tuple[int, str]:
        """The longer of two."""
        return min(left, right)

    def finish(self, state: State, as_of: date | None = None) -> str | None:  # noqa: ARG002
        """The text alone."""
        return None if state is None else state[1]

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        of = "x" if self.kind.endswith("[]") else "{value}"
        text = engine.struct({"size": f"-CAST(length({of}) AS BIGINT)", "value": of})
        if self.kind.endswith("[]"):
            lifted = f"min({engine.smallest_in_list('{value}', text)})"
        else:
            lifted = f"min(CASE WHEN {{value}} IS NOT NULL THEN {text} END)"
        return Sql(
            lift={"text": lifted},
            merge={"text": "min({text}) {only}"},
            finish="{text}.value",
            slide=Slide(lead="text", sense="min"),
        )

    def _texts(self, row: Row) -> list[str]:
        value = row["value"]
        return [text for text in value if text is not None] if self.kind.endswith("[]") else [value]


class LastN(Aggregate):
    """The last `k` values in order of time, the earliest first; ties go by `event_id`. Null when there is none."""

    function = "last_n"
    needs_columns = ("ts", "event_id")
    default_k = 10

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Types that a file does not give back."""
        return not_kept(kind)

    def of_row(self, row: Row) -> tuple[Moment, ...]:
        """The state of one row."""
        return ((row["ts"], row["event_id"], row["value"]),)

    def join(self, left: tuple[Moment, ...], right: tuple[Moment, ...]) -> tuple[Moment, ...]:
        """The last of both."""
        return tuple(sorted((*left, *right), key=lambda moment: moment[:2])[-self._most :])

    def finish(self, state: State, as_of: date | None = None) -> list[Any] | None:  # noqa: ARG002
        """The values alone."""
        return None if state is None else [value for _, _, value in state]

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        moment = engine.struct({"ts": "ts", "event_id": "event_id", "value": "{value}"})
        kept = f"CASE WHEN {{value}} IS NOT NULL THEN {moment} END"
        return Sql(
            lift={"moments": engine.last_of(kept, self._most)},
            merge={"moments": engine.last_of_lists("{moments}", self._most)},
            finish=engine.field_backwards("{moments}", "value"),
        )

    @property
    def _most(self) -> int:
        return self.k or self.default_k or 1
