"""How an engine spells what the engines spell differently. Everything else in this room's SQL is common to all."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from sojourn.warehouse import DuckDBEngine, Engine
from sojourn.warehouse.engine import identifier, literal

ColumnsOf = Callable[[str], Mapping[str, str]]
"""How to ask an engine for the columns of a query, and their types as DuckDB spells them."""


class Dialect(Protocol):
    """The spellings that this room needs; one small class per engine."""

    name: str
    materialized: str

    def quote(self, name: str) -> str:
        """The name as an identifier."""

    def kind(self, duckdb: str) -> str:
        """A SQL type, given as DuckDB spells it."""

    def struct(self, fields: Mapping[str, str]) -> str:
        """A struct of these expressions; structs compare field by field, in this order."""

    def days_between(self, earlier: str, later: str) -> str:
        """Whole days from one DATE to another, a BIGINT."""

    def day_after(self, day: str, days: str) -> str:
        """The DATE some days after another."""

    def shift_left(self, bits: str, by: str) -> str:
        """A BIGINT's bits moved up by a number of places."""

    def shift_right(self, bits: str, by: str) -> str:
        """A BIGINT's bits moved down by a number of places."""

    def sum_of_doubles(self, number: str) -> str:
        """The sum of doubles, added in the order of their size so that a rerun gives the same bits; `{only}` in it."""

    def last_of(self, struct: str, count: int) -> str:
        """Aggregate: the largest structs, at most so many, the largest first."""

    def last_of_lists(self, lists: str, count: int) -> str:
        """Aggregate over lists that `last_of` made: the same of all of them together; `{only}` in it."""

    def field_backwards(self, structs: str, field: str) -> str:
        """One field of a list of structs, in reversed order."""

    def smallest_in_list(self, values: str, template: str) -> str:
        """The smallest of what the template makes of each `x` in a list."""

    def list_of(self, what: str, *, order: str, only: str) -> str:
        """Aggregate: a list of the expression, ordered by another, of the rows where the condition holds."""

    def array(self, items: Sequence[str]) -> str:
        """A list of these expressions."""

    def items(self, values: str) -> str:
        """A FROM item, behind a comma or a join, that gives each value of a list as column `item`."""

    def hash60(self, text: str) -> str:
        """The first 60 bits of a text's MD5 as a BIGINT: the same number everywhere."""

    def local_hour(self, instant: str, zone: str) -> str:
        """The hour of the day, 0 to 23, at an instant in a zone."""

    def local_date(self, instant: str, zone: str) -> str:
        """The DATE at an instant in a zone."""

    def instant(self, at: datetime) -> str:
        """An instant."""

    def values(self, rows: Sequence[str]) -> str:
        """A query of these rows, each in round brackets."""

    def keep(self, name: str, query: str) -> str:
        """A statement that computes a query once and keeps its rows under a name."""

    def let_go(self, name: str) -> str:
        """A statement that lets go of what `keep` kept."""

    def with_columns(self, relation: str, columns: Mapping[str, str], *, columns_of: ColumnsOf) -> str:
        """SQL to stand after FROM: the relation with all of these columns, NULL where it lacks one."""


class DuckDBSql:
    """DuckDB's spellings.

    >>> DuckDBSql().struct({"ts": "ts", "value": "amount"})
    'struct_pack(ts := ts, value := amount)'
    """

    name = "DuckDB"
    materialized = "MATERIALIZED"

    def quote(self, name: str) -> str:
        """The name as an identifier."""
        return identifier(name)

    def kind(self, duckdb: str) -> str:
        """A SQL type, given as DuckDB spells it."""
        return duckdb

    def struct(self, fields: Mapping[str, str]) -> str:
        """A struct of these expressions; structs compare field by field, in this order."""
        return f"struct_pack({', '.join(f'{name} := {expression}' for name, expression in fields.items())})"

    def days_between(self, earlier: str, later: str) -> str:
        """Whole days from one DATE to another, a BIGINT."""
        return f"date_diff('day', {earlier}, {later})"

    def day_after(self, day: str, days: str) -> str:
        """The DATE some days after another."""
        return f"({day} + CAST({days} AS INTEGER))"

    def shift_left(self, bits: str, by: str) -> str:
        """A BIGINT's bits moved up by a number of places."""
        return f"({bits} << ({by}))"

    def shift_right(self, bits: str, by: str) -> str:
        """A BIGINT's bits moved down by a number of places."""
        return f"({bits} >> ({by}))"

    def sum_of_doubles(self, number: str) -> str:
        """The sum of doubles, added in the order of their size so that a rerun gives the same bits; `{only}` in it."""
        return f"sum({number} ORDER BY {number}) {{only}}"

    def last_of(self, struct: str, count: int) -> str:
        """Aggregate: the largest structs, at most so many, the largest first."""
        return f"max({struct}, {count})"

    def last_of_lists(self, lists: str, count: int) -> str:
        """Aggregate over lists that `last_of` made: the same of all of them together; `{only}` in it."""
        # Flattening nothing but NULLs gives an empty list.
        merged = f"list_reverse_sort(flatten(list({lists}) {{only}}))[1:{count}]"
        return f"CASE WHEN count({lists}) {{only}} > 0 THEN {merged} END"

    def field_backwards(self, structs: str, field: str) -> str:
        """One field of a list of structs, in reversed order."""
        return f"list_reverse([x.{field} for x in {structs}])"

    def smallest_in_list(self, values: str, template: str) -> str:
        """The smallest of what the template makes of each `x` in a list."""
        return f"list_aggregate([{template} for x in {values} if x IS NOT NULL], 'min')"

    def list_of(self, what: str, *, order: str, only: str) -> str:
        """Aggregate: a list of the expression, ordered by another, of the rows where the condition holds."""
        return f"list({what} ORDER BY {order}) FILTER (WHERE {only})"

    def array(self, items: Sequence[str]) -> str:
        """A list of these expressions."""
        return f"[{', '.join(items)}]"

    def items(self, values: str) -> str:
        """A FROM item, behind a comma or a join, that gives each value of a list as column `item`."""
        return f", unnest({values}) AS _items(item)"

    def hash60(self, text: str) -> str:
        """The first 60 bits of a text's MD5 as a BIGINT: the same number everywhere."""
        return f"CAST('0x' || substr(md5({text}), 1, 15) AS BIGINT)"

    def local_hour(self, instant: str, zone: str) -> str:
        """The hour of the day, 0 to 23, at an instant in a zone."""
        if zone == "UTC":
            return f"(epoch_us({instant}) // 3600000000) % 24"
        return f"hour(timezone({literal(zone)}, {instant}))"

    def local_date(self, instant: str, zone: str) -> str:
        """The DATE at an instant in a zone."""
        return f"CAST(timezone({literal(zone)}, {instant}) AS DATE)"

    def instant(self, at: datetime) -> str:
        """An instant."""
        return f"TIMESTAMPTZ '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"

    def values(self, rows: Sequence[str]) -> str:
        """A query of these rows, each in round brackets."""
        return f"VALUES {', '.join(rows)}"

    def keep(self, name: str, query: str) -> str:
        """A statement that computes a query once and keeps its rows under a name."""
        return f"CREATE OR REPLACE TEMP TABLE {name} AS {query}"

    def let_go(self, name: str) -> str:
        """A statement that lets go of what `keep` kept."""
        return f"DROP TABLE IF EXISTS {name}"

    def with_columns(self, relation: str, columns: Mapping[str, str], *, columns_of: ColumnsOf) -> str:  # noqa: ARG002
        """SQL to stand after FROM: the relation with all of these columns, NULL where it lacks one."""
        # Union by name spares a look at the files for what columns they have.
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in columns.items())
        return f"(SELECT {nulls} WHERE false UNION ALL BY NAME SELECT * FROM {relation})"


class SparkSql:
    """Spark's spellings.

    >>> SparkSql().kind("VARCHAR[]"), SparkSql().quote("order id")
    ('ARRAY<STRING>', '`order id`')
    """

    name = "Spark"
    materialized = ""

    def quote(self, name: str) -> str:
        """The name as an identifier."""
        return "`" + name.replace("`", "``") + "`"

    def kind(self, duckdb: str) -> str:
        """A SQL type, given as DuckDB spells it."""
        if duckdb.endswith("[]"):
            return f"ARRAY<{self.kind(duckdb[:-2])}>"
        spelled = {
            "VARCHAR": "STRING",
            "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
            "TIMESTAMP": "TIMESTAMP_NTZ",
            "BLOB": "BINARY",
        }
        return spelled.get(duckdb, duckdb)

    def struct(self, fields: Mapping[str, str]) -> str:
        """A struct of these expressions; structs compare field by field, in this order."""
        return f"named_struct({', '.join(f'{literal(name)}, {expression}' for name, expression in fields.items())})"

    def days_between(self, earlier: str, later: str) -> str:
        """Whole days from one DATE to another, a BIGINT."""
        return f"CAST(datediff({later}, {earlier}) AS BIGINT)"

    def day_after(self, day: str, days: str) -> str:
        """The DATE some days after another."""
        return f"date_add({day}, CAST({days} AS INT))"

    def shift_left(self, bits: str, by: str) -> str:
        """A BIGINT's bits moved up by a number of places."""
        return f"shiftleft({bits}, CAST({by} AS INT))"

    def shift_right(self, bits: str, by: str) -> str:
        """A BIGINT's bits moved down by a number of places."""
        return f"shiftright({bits}, CAST({by} AS INT))"

    def sum_of_doubles(self, number: str) -> str:
        """The sum of doubles, added in the order of their size so that a rerun gives the same bits; `{only}` in it."""
        in_order = f"array_sort(collect_list({number}) {{only}})"
        return f"aggregate({in_order}, CAST(NULL AS DOUBLE), (s, x) -> coalesce(s + x, x))"

    def last_of(self, struct: str, count: int) -> str:
        """Aggregate: the largest structs, at most so many, the largest first."""
        return _or_null(f"slice(sort_array(collect_list({struct}), false), 1, {count})")

    def last_of_lists(self, lists: str, count: int) -> str:
        """Aggregate over lists that `last_of` made: the same of all of them together; `{only}` in it."""
        return _or_null(f"slice(sort_array(flatten(collect_list({lists}) {{only}}), false), 1, {count})")

    def field_backwards(self, structs: str, field: str) -> str:
        """One field of a list of structs, in reversed order."""
        return f"reverse(transform({structs}, x -> x.{field}))"

    def smallest_in_list(self, values: str, template: str) -> str:
        """The smallest of what the template makes of each `x` in a list."""
        return f"array_min(transform(filter({values}, x -> x IS NOT NULL), x -> {template}))"

    def list_of(self, what: str, *, order: str, only: str) -> str:
        """Aggregate: a list of the expression, ordered by another, of the rows where the condition holds."""
        pairs = f"sort_array(collect_list(named_struct('o', {order}, 'w', {what})) FILTER (WHERE {only}))"
        return f"CASE WHEN count(*) FILTER (WHERE {only}) > 0 THEN transform({pairs}, p -> p.w) END"

    def array(self, items: Sequence[str]) -> str:
        """A list of these expressions."""
        return f"array({', '.join(items)})"

    def items(self, values: str) -> str:
        """A FROM item, behind a comma or a join, that gives each value of a list as column `item`."""
        return f" LATERAL VIEW explode({values}) _items AS item"

    def hash60(self, text: str) -> str:
        """The first 60 bits of a text's MD5 as a BIGINT: the same number everywhere."""
        return f"CAST(conv(substr(md5({text}), 1, 15), 16, 10) AS BIGINT)"

    def local_hour(self, instant: str, zone: str) -> str:
        """The hour of the day, 0 to 23, at an instant in a zone."""
        return f"CAST(hour(from_utc_timestamp({instant}, {literal(zone)})) AS BIGINT)"

    def local_date(self, instant: str, zone: str) -> str:
        """The DATE at an instant in a zone."""
        return f"CAST(from_utc_timestamp({instant}, {literal(zone)}) AS DATE)"

    def instant(self, at: datetime) -> str:
        """An instant."""
        return f"TIMESTAMP '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"

    def values(self, rows: Sequence[str]) -> str:
        """A query of these rows, each in round brackets."""
        return f"SELECT * FROM (VALUES {', '.join(rows)})"

    def keep(self, name: str, query: str) -> str:
        """A statement that computes a query once and keeps its rows under a name."""
        return f"CACHE TABLE {name} AS {query}"

    def let_go(self, name: str) -> str:
        """A statement that lets go of what `keep` kept."""
        return f"DROP VIEW IF EXISTS {name}"

    def with_columns(self, relation: str, columns: Mapping[str, str], *, columns_of: ColumnsOf) -> str:
        """SQL to stand after FROM: the relation with all of these columns, NULL where it lacks one."""
        found = columns_of(f"SELECT * FROM {relation}")
        # A column may have had a narrower type in older days.
        chosen = ", ".join(
            self.quote(name)
            if found.get(name) == kind
            else f"CAST({self.quote(name) if name in found else 'NULL'} AS {self.kind(kind)}) AS {self.quote(name)}"
            for name, kind in columns.items()
        )
        return f"(SELECT {chosen} FROM {relation})"


def _or_null(values: str) -> str:
    # A list of nothing is empty in Spark and NULL in DuckDB.
    return f"CASE WHEN size({values}) > 0 THEN {values} END"


def dialect_of(engine: Engine) -> Dialect:
    """The spellings of this engine."""
    return DuckDBSql() if isinstance(engine, DuckDBEngine) else SparkSql()
