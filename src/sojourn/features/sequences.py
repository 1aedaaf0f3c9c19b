"""Events in, sequences out: the last things that each user did, in order, and each of the last days in numbers."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from pydantic import Field

from sojourn.core import BadInput, MissingTable, Spec
from sojourn.warehouse import Warehouse

PREFIX = "seq_"
EVENT, AGE, AMOUNT = "seq_event", "seq_age_h", "seq_amount"
DAYS = ("seq_day_events", "seq_day_spend", "seq_day_pushes")
HOUR_US = 3_600_000_000


class SequenceSpec(Spec):
    """How much of a user's past a sequence holds: the last `events` within the last `days`, and each of these days.

    >>> SequenceSpec(events=32).days
    56
    """

    events: int = Field(default=48, ge=1, le=4096)
    days: int = Field(default=56, ge=1, le=3650)


def sequence_table(warehouse: Warehouse, spec: SequenceSpec | None = None, as_ofs: Sequence[date] = ()) -> pl.DataFrame:
    """What each user did lately, as seen from each `as_of`: a row for every user with an event in the `days` before it.

    Sorted by `as_of, user_id`. Everything lies on business days strictly before `as_of`; ties in time go by `event_id`.

    - `seq_event` (list of text), `seq_age_h` (hours before the first instant of `as_of`), `seq_amount` (null: none),
      for the last `events` events, the oldest first;
    - `seq_day_events`, `seq_day_spend`, `seq_day_pushes` (arrays, one number a day, the oldest first): how many events,
      the sum of amounts, how many pushes were sent. Pushes come from the table `pushes`, where there is one.

    Raises `MissingTable` without events, `BadInput` without an `as_of` or for one with no event in reach.
    """
    spec = spec or SequenceSpec()
    if not as_ofs:
        raise BadInput("features.sequence_table needs at least one day to look from, such as as_ofs=[date(2025, 3, 1)]")
    if not warehouse.has("events"):
        raise MissingTable(
            "features.sequence_table needs the table 'events'; the warehouse has none. Fill it: sojourn ingest ..."
        )
    return pl.concat([_seen_from(warehouse, spec, as_of) for as_of in sorted(set(as_ofs))])


def _seen_from(warehouse: Warehouse, spec: SequenceSpec, as_of: date) -> pl.DataFrame:
    events = _days(warehouse, "events", spec, as_of)
    if events is None:
        raise BadInput(
            f"features.sequence_table: no event lies in the {spec.days} days before {as_of}. "
            "Choose a day within the log."
        )
    amount = "amount" if "amount" in warehouse.engine.columns(f"SELECT * FROM {events}") else "NULL"
    ordered = "PARTITION BY user_id ORDER BY ts DESC, event_id DESC"
    last = warehouse.engine.frame(
        f"SELECT user_id, ts, event_id, event, CAST({amount} AS DOUBLE) AS amount FROM (SELECT *, row_number() OVER "
        f"({ordered}) AS _back FROM {events} WHERE user_id IS NOT NULL) WHERE _back <= {spec.events}"
    )
    midnight = datetime.combine(as_of, time(), ZoneInfo(warehouse.spec.zone)).astimezone(UTC)
    age = (pl.lit(midnight) - pl.col("ts").cast(pl.Datetime("us", "UTC"))).dt.total_microseconds() / HOUR_US
    # A user's business day may follow another zone than the warehouse's: nothing is younger than the day's start.
    told = last.sort("user_id", "ts", "event_id").with_columns(age_h=age.clip(lower_bound=0.0))
    lists = told.group_by("user_id", maintain_order=True).agg(
        pl.col("event").cast(pl.String).alias(EVENT), pl.col("age_h").alias(AGE), pl.col("amount").alias(AMOUNT)
    )
    return lists.with_columns(_daily(warehouse, spec, as_of, lists["user_id"], amount)).select(
        "user_id", pl.lit(as_of).alias("as_of"), EVENT, AGE, AMOUNT, *DAYS
    )


def _daily(warehouse: Warehouse, spec: SequenceSpec, as_of: date, users: pl.Series, amount: str) -> list[pl.Series]:
    """One array for each of the columns of days, in the order of these users."""
    events = _days(warehouse, "events", spec, as_of)
    pushes = _days(warehouse, "pushes", spec, as_of) if warehouse.has("pushes") else None
    counted = (
        f"SELECT user_id, day, count(*) AS n, CAST(sum({amount}) AS DOUBLE) AS s FROM {events} GROUP BY user_id, day"
    )
    done = warehouse.engine.frame(counted)
    found = [_spread(done, "n", spec, as_of, users), _spread(done, "s", spec, as_of, users)]
    sent = pl.DataFrame(schema={"user_id": pl.String, "day": pl.Date, "n": pl.Int64})
    if pushes is not None:
        sent = warehouse.engine.frame(
            f"SELECT user_id, day, count(*) AS n FROM {pushes} WHERE sent GROUP BY user_id, day"
        )
    found.append(_spread(sent, "n", spec, as_of, users))
    return [pl.Series(name, numbers) for name, numbers in zip(DAYS, found, strict=True)]


def _spread(counted: pl.DataFrame, name: str, spec: SequenceSpec, as_of: date, users: pl.Series) -> np.ndarray:
    """(users, days): zero where nothing was counted."""
    numbers = np.zeros((len(users), spec.days))
    row = pl.DataFrame({"user_id": users}).with_row_index("row")
    back = (pl.lit(as_of) - pl.col("day")).dt.total_days()
    placed = counted.join(row, on="user_id").select(
        "row", back.alias("back"), pl.col(name).cast(pl.Float64).fill_null(0)
    )
    numbers[placed["row"].to_numpy(), spec.days - placed["back"].to_numpy()] = placed[name].to_numpy()
    return numbers


def _days(warehouse: Warehouse, table: str, spec: SequenceSpec, as_of: date) -> str | None:
    """SQL to stand after FROM: the rows of the days in reach; None where there is no such day."""
    first = str(as_of - timedelta(days=spec.days))
    days = [place for place in warehouse.places(table) if first <= place["day"] < str(as_of)]
    return warehouse.relation(table, only=days) if days else None
