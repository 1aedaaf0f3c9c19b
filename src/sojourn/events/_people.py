"""Ids that go or become others, and the stored rows as they read then."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import polars as pl

from sojourn.events._content import content_fingerprint
from sojourn.events._keyed import WHOLE
from sojourn.events._stage import CANONICAL, STAGE
from sojourn.events.spec import TableName
from sojourn.warehouse import Engine, Warehouse, Writer

PEOPLE = "_people"
IDENTITIES = "identities"


@contextmanager
def people(engine: Engine, becomes: Mapping[str, str | None] | pl.DataFrame) -> Iterator[None]:
    """The temporary table of people while the block runs: `user_id`, and what it `becomes` (NULL: its rows go)."""
    frame = becomes if isinstance(becomes, pl.DataFrame) else _frame(becomes)
    with engine.table(frame) as name:
        engine.run(f"CREATE OR REPLACE TEMP TABLE {PEOPLE} AS SELECT user_id, becomes FROM {name}")
    try:
        yield
    finally:
        engine.run(f"DROP TABLE IF EXISTS {PEOPLE}")


def theirs(column: str = "user_id") -> str:
    """SQL: whether the column names one of the people."""
    return f"{column} IN (SELECT user_id FROM {PEOPLE})"


def seen_anew(relation: str) -> str:
    """SQL to stand after FROM: the relation without the rows that go, and with the ids that others become."""
    return (
        f"(SELECT old.* REPLACE (coalesce(people.becomes, old.user_id) AS user_id) FROM {relation} AS old "
        f"LEFT JOIN {PEOPLE} AS people ON old.user_id = people.user_id "
        f"WHERE people.user_id IS NULL OR people.becomes IS NOT NULL)"
    )


def persons(warehouse: Warehouse, users: Iterable[str]) -> list[str]:
    """Every id of these persons, sorted: the ids themselves, what they are aliases of, and all aliases of that."""
    ids = set(users)
    if warehouse.has(IDENTITIES):
        known = warehouse.frame(IDENTITIES)
        roots = ids | set(known.filter(pl.col("alias").is_in(list(ids)))["user_id"])
        ids = roots | set(known.filter(pl.col("user_id").is_in(list(roots)))["alias"])
    return sorted(ids)


def put_identities(warehouse: Warehouse, writer: Writer, query: str) -> None:
    """Write table `identities`: `alias`, `user_id`, `arrived_at`."""
    columns = ["alias", "user_id", "arrived_at"]
    mark = content_fingerprint(warehouse, query, columns)
    writer.put(WHOLE, f"SELECT * FROM ({query})", order_by=["alias"], fingerprint=mark)


def rename_staged(warehouse: Warehouse, *, table: TableName) -> None:
    """Give the stage's rows of an alias the id of its user. Their `event_id` is that of the content as it came."""
    if "user_id" in CANONICAL[table] and warehouse.has(IDENTITIES):
        known = f"{warehouse.relation(IDENTITIES)} AS known"
        warehouse.engine.run(
            f"UPDATE {STAGE} SET user_id = known.user_id FROM {known} WHERE {STAGE}.user_id = known.alias"
        )


def _frame(becomes: Mapping[str, str | None]) -> pl.DataFrame:
    columns = {"user_id": list(becomes), "becomes": list(becomes.values())}
    return pl.DataFrame(columns, schema={"user_id": pl.String, "becomes": pl.String})
