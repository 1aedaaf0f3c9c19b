"""The event log in; what purchase processes read of each customer out: frequency, recency, age, monetary value."""

from datetime import date

import polars as pl

from sojourn.core import BadInput
from sojourn.lifetime.log_end import log_days
from sojourn.warehouse import Warehouse


def rfm_table(warehouse: Warehouse, *, as_of: date | None = None, where: str = "amount > 0") -> pl.DataFrame:
    """A row for each customer who bought before `as_of` (default: the day after the last one in the log).

    A purchase is a business day with an event for which the SQL condition `where` holds; several on one day are one.
    Sorted by `user_id`; columns: `user_id, as_of`,

    - `frequency`: purchases after the first; `recency_days`: from the first to the last of them, 0 without any;
    - `age_days`: from the first purchase to the last day before `as_of`;
    - `monetary_value`: the mean amount of the purchases after the first (null without any), in units of the amount.

    The counting runs in the warehouse's engine. Raises `BadInput` when nobody bought before `as_of`, `MissingTable`,
    and `EngineError` for a condition that is no SQL.
    """
    first, end = log_days(warehouse)
    as_of = as_of or end
    days = [place for place in warehouse.places("events") if place["day"] < str(as_of)]
    nobody = f"lifetime.rfm_table: nobody bought before {as_of}; the log begins on {first}. Choose a later day."
    if not days:
        raise BadInput(nobody)
    events = warehouse.relation("events", only=days)
    query = (
        f"WITH bought AS (SELECT user_id, day, CAST(sum(amount) AS DOUBLE) AS spend FROM {events} "
        f"WHERE user_id IS NOT NULL AND ({where}) GROUP BY user_id, day), "
        "firsts AS (SELECT user_id, min(day) AS began, max(day) AS ended, count(*) AS days, sum(spend) AS spend "
        "FROM bought GROUP BY user_id) "
        "SELECT firsts.user_id, began, ended, days, firsts.spend - bought.spend AS spend FROM firsts "
        "JOIN bought ON bought.user_id = firsts.user_id AND bought.day = firsts.began"
    )
    found = warehouse.engine.frame(query)
    if found.is_empty():
        raise BadInput(nobody)
    frequency = pl.col("days").cast(pl.Int64) - 1
    last = pl.lit(as_of).dt.offset_by("-1d")
    return found.select(
        "user_id",
        pl.lit(as_of).alias("as_of"),
        frequency.alias("frequency"),
        (pl.col("ended") - pl.col("began")).dt.total_days().alias("recency_days"),
        (last - pl.col("began")).dt.total_days().alias("age_days"),
        pl.when(frequency > 0).then(pl.col("spend") / frequency).alias("monetary_value"),
    ).sort("user_id")
