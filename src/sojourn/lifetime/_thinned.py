"""Rows enough to tell models apart: of very many, those of some users."""

from collections.abc import Iterable
from hashlib import blake2b

import polars as pl

# What more rows teach shows less in a figure than which users happen to be in the test.
MOST_ROWS = 60_000
# A table that folds are cut from keeps some more users than the folds will take.
SPARE = 1.25


def thinned(table: pl.DataFrame, *, most: int = MOST_ROWS) -> pl.DataFrame:
    """The table, or where it has more than so many rows, all rows of as many users as fit, in the table's order.

    Users stay by the order of a hash of their names: of two tables, the users that stay in one tend to in the other.

    >>> table = pl.DataFrame({"user_id": ["a", "a", "b", "b", "c", "c"]})
    >>> thinned(table, most=4)["user_id"].n_unique(), thinned(table, most=6).height
    (2, 6)
    """
    if table.height <= most:
        return table
    sizes = table.group_by("user_id").len()
    placed = sizes.with_columns(place=places(sizes["user_id"])).sort("place", "user_id")
    kept = placed.filter(pl.col("len").cum_sum() <= most)["user_id"]
    return table.filter(pl.col("user_id").is_in(kept.implode()))


def thinned_dates(table: pl.DataFrame, *, dates: int, most: int = MOST_ROWS) -> pl.DataFrame:
    """Of each date so many users that as many dates together have `SPARE` times `most` rows, those `thinned` keeps."""
    share = SPARE * most / dates
    users = table.select(pl.col("user_id").unique())
    of_date = table.group_by("as_of").len()["len"].max()
    if table.is_empty() or int(str(of_date)) <= share:
        return table
    kept = users.filter(places(users["user_id"]) < share / int(str(of_date)))["user_id"]
    return table.filter(pl.col("user_id").is_in(kept.implode()))


def places(users: Iterable[str]) -> pl.Series:
    """A number from 0 to 1 for each user, the same wherever and whenever, evenly spread."""
    digests = (blake2b(user.encode(), digest_size=6).digest() for user in users)
    return pl.Series("place", [int.from_bytes(each) / 2**48 for each in digests], dtype=pl.Float64)
