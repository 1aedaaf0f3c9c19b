"""How an engine spells what the engines spell differently. Everything else in this room's SQL is common to all."""

from collections.abc import Mapping
from typing import Protocol

from sojourn.warehouse.engine import identifier


class Dialect(Protocol):
    """The spellings that this room needs; one small class per engine."""

    def quote(self, name: str) -> str:
        """The name as an identifier."""

    def struct(self, fields: Mapping[str, str]) -> str:
        """A struct of these expressions; structs compare field by field, in this order."""

    def days_between(self, earlier: str, later: str) -> str:
        """Whole days from one DATE to another."""

    def shift_left(self, bits: str, by: str) -> str:
        """A BIGINT's bits moved up by a number of places."""

    def sum_of_doubles(self, number: str) -> str:
        """The sum of doubles, added in the order of their size so that a rerun gives the same bits."""


class DuckDBSql:
    """DuckDB's spellings.

    >>> DuckDBSql().struct({"ts": "ts", "value": "amount"})
    'struct_pack(ts := ts, value := amount)'
    """

    def quote(self, name: str) -> str:
        """The name as an identifier."""
        return identifier(name)

    def struct(self, fields: Mapping[str, str]) -> str:
        """A struct of these expressions; structs compare field by field, in this order."""
        return f"struct_pack({', '.join(f'{name} := {expression}' for name, expression in fields.items())})"

    def days_between(self, earlier: str, later: str) -> str:
        """Whole days from one DATE to another."""
        return f"date_diff('day', {earlier}, {later})"

    def shift_left(self, bits: str, by: str) -> str:
        """A BIGINT's bits moved up by a number of places."""
        return f"({bits} << ({by}))"

    def sum_of_doubles(self, number: str) -> str:
        """The sum of doubles, added in the order of their size so that a rerun gives the same bits."""
        return f"sum({number} ORDER BY {number})"
