"""Two ids that turn out to be one person: a declared mapping comes in, and the log reads as if it had always held."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sojourn.core import UTC_US, BadInput, EmptyInput, UnreadableSource, need_columns
from sojourn.events._people import IDENTITIES, people, put_identities
from sojourn.events._resettle import Touched, resettle_events, resettle_users
from sojourn.events._tombstones import forgotten_among
from sojourn.warehouse import DuckDBEngine, Engine, Warehouse
from sojourn.warehouse.engine import literal

PAIR = ("alias", "user_id")
# Each round doubles the length of the chains that are resolved.
ROUNDS = 40


@dataclass(frozen=True)
class MergeReport:
    """What a merge did: pairs read, aliases that were new, all aliases known now, and the rows renamed in each table.

    `forgotten` pairs name a user with a tombstone and were not taken.
    """

    read: int
    new: int
    aliases: int
    forgotten: int
    touched: tuple[Touched, ...]


def merge_identities(warehouse: Warehouse, file: str | Path, *, as_of: datetime) -> MergeReport:
    """Take the mapping in a CSV or Parquet file, columns `alias` and `user_id`, and give aliases' rows their user's id.

    Table `identities` keeps the mapping, chains resolved, with the time we learned of each alias; ingest applies it to
    whatever comes later. Events, users and the superseded versions of both are then what they would be had every row
    come with the user's id, but that `event_id` stays that of the content as it came: a replay of an old file is known.
    Any order of ingests and merges gives the same tables; run again after a kill, it completes.

    Raises `UnreadableSource`, `MissingColumn` or `EmptyInput` for the file, and `BadInput` for an empty id, an alias of
    two users, a circle, or events that are registered in place. Nothing is written then.
    """
    if as_of.tzinfo is None:
        raise BadInput(f"as_of = {as_of} has no zone. Give one: as_of.replace(tzinfo=UTC)")
    if not isinstance(warehouse.engine, DuckDBEngine):
        raise BadInput(
            "Ids are merged with DuckDB. Open the warehouse with it: Warehouse.open(root), without an EngineSpec."
        )
    _refuse_in_place(warehouse)
    declared = _read(warehouse.engine, file)
    with warehouse.writing(IDENTITIES) as writer:
        gone = forgotten_among(warehouse, pl.concat([declared["alias"], declared["user_id"]]))
        taken = declared.filter(~pl.col("alias").is_in(list(gone)), ~pl.col("user_id").is_in(list(gone)))
        known = _known(warehouse)
        pairs = pl.concat([known.select(PAIR), taken]).unique(maintain_order=True)
        resolved = resolve(pairs, file=file).join(known.select("alias", "arrived_at"), on="alias", how="left")
        identities = resolved.with_columns(pl.col("arrived_at").fill_null(pl.lit(as_of.astimezone(UTC), UTC_US)))
        if not identities.equals(known):
            with warehouse.engine.table(identities) as name:
                put_identities(warehouse, writer, f"SELECT * FROM {name}")
    becomes = identities.select(pl.col("alias").alias("user_id"), pl.col("user_id").alias("becomes"))
    with people(warehouse.engine, becomes):
        touched = (*resettle_events(warehouse), *resettle_users(warehouse))
    new = identities.height - known.height
    return MergeReport(declared.height, new, identities.height, declared.height - taken.height, touched)


def aliases_of(warehouse: Warehouse) -> list[str]:
    """Every id that the declared mapping calls an alias, sorted."""
    return _known(warehouse)["alias"].to_list()


def resolve(pairs: pl.DataFrame, *, file: str | Path = "the mapping") -> pl.DataFrame:
    """Each alias, sorted, with the user at the end of its chain. An id paired with itself says nothing.

    Raises `BadInput` for a circle, and for an alias of two users that are not one person by the other pairs.

    >>> resolve(pl.DataFrame({"alias": ["a", "b"], "user_id": ["b", "c"]})).rows()
    [('a', 'c'), ('b', 'c')]
    """
    pairs = pairs.filter(pl.col("alias") != pl.col("user_id"))
    ends = pairs.unique("alias", keep="first", maintain_order=True)
    for _ in range(ROUNDS):
        further = _followed(ends, through=ends)
        circle = further.filter(pl.col("alias") == pl.col("user_id"))["alias"]
        if further.equals(ends):
            break
        ends = further
        if len(circle):
            raise _circle(sorted(circle), file)
    else:
        raise _circle(sorted(ends.filter(pl.col("user_id").is_in(ends["alias"].to_list()))["alias"]), file)
    _refuse_two(pairs, ends, file)
    return ends.sort("alias")


def _followed(pairs: pl.DataFrame, *, through: pl.DataFrame) -> pl.DataFrame:
    """The pairs with each user replaced by what that one is an alias of."""
    steps = through.select(pl.col("alias").alias("user_id"), pl.col("user_id").alias("next"))
    joined = pairs.join(steps, on="user_id", how="left", maintain_order="left")
    return joined.select("alias", pl.coalesce("next", "user_id").alias("user_id"))


def _refuse_two(pairs: pl.DataFrame, ends: pl.DataFrame, file: str | Path) -> None:
    both = _followed(pairs, through=ends).unique()
    several = both.filter(pl.col("alias").is_duplicated()).sort(PAIR)
    if several.height:
        alias = several["alias"][0]
        first, second = several.filter(pl.col("alias") == alias)["user_id"].head(2)
        raise BadInput(
            f"{file}: alias {alias!r} is of two users, {first!r} and {second!r} (table 'identities' counts too). Leave "
            f"one pair out, or, if they are one person, add a line that says so: {second},{first}"
        )


def _circle(members: Sequence[str], file: str | Path) -> BadInput:
    return BadInput(
        f"{file}: the aliases go in a circle through {', '.join(map(repr, members[:3]))} (table 'identities' counts "
        f"too). Choose the id that is to stay, and let it be nobody's alias."
    )


def _read(engine: Engine, file: str | Path) -> pl.DataFrame:
    path = Path(file)
    if not path.is_file():
        raise UnreadableSource(
            f"{path} is no file. Give a CSV or Parquet file with columns 'alias' and 'user_id', one alias a line."
        )
    reader = "read_parquet({})" if path.suffix == ".parquet" else "read_csv({}, header = true, all_varchar = true)"
    relation = reader.format(literal(str(path)))
    need_columns(engine.frame(f"SELECT * FROM {relation} LIMIT 0"), PAIR, where=f"merge of {path}")
    chosen = ", ".join(f"nullif(CAST({name} AS VARCHAR), '') AS {name}" for name in PAIR)
    pairs = engine.frame(f"SELECT {chosen} FROM {relation}")
    if pairs.is_empty():
        raise EmptyInput(f"{path} holds no pair. Give one alias a line: alias,user_id")
    empty = pairs.with_row_index("row", offset=1).filter(pl.any_horizontal(pl.col(PAIR).is_null()))
    if empty.height:
        raise BadInput(f"{path}: row {empty['row'][0]} lacks an alias or a user_id. Fill it in, or leave the row out.")
    return pairs


def _known(warehouse: Warehouse) -> pl.DataFrame:
    if not warehouse.has(IDENTITIES):
        return pl.DataFrame(schema={"alias": pl.String, "user_id": pl.String, "arrived_at": UTC_US})
    return warehouse.frame(IDENTITIES).select(*PAIR, "arrived_at").sort("alias")


def _refuse_in_place(warehouse: Warehouse) -> None:
    source = warehouse.registered("events")
    if source is not None:
        raise BadInput(
            f"Table 'events' is read in place from {source.folder}, and Sojourn never changes those files. Map the ids "
            f"there, or in the columns that are registered: --map user_id=..."
        )
