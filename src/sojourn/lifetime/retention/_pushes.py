"""The campaign log day by day: what each user was sent, and with which probability it was decided."""

from datetime import timedelta

import numpy as np
import polars as pl

from sojourn.core import BadInput
from sojourn.lifetime.retention._days import Span, ahead_list, days_list, spread
from sojourn.warehouse import Warehouse

TABLE = "pushes"
NEEDED = ("user_id", "propensity", "sent", "day")
PUSHED_BEFORE, PUSHED_AHEAD, PROPENSITY = "pushed_before", "pushed_ahead", "propensity_ahead"
PUSH_COLUMNS = (PUSHED_BEFORE, PUSHED_AHEAD, PROPENSITY)


def push_days(warehouse: Warehouse, table: pl.DataFrame, span: Span) -> list[pl.Series]:
    """The push columns of `activity_table` for these users. Raises `BadInput` for a log that cannot be read."""
    users = table["user_id"]
    decided = _decisions(warehouse, span)
    sent = spread(decided.filter(pl.col("sent") > 0), users=users, span=span, value=None)
    chance = spread(decided, users=users, span=span, value="propensity")
    turn = spread(decided, users=users, span=span, value=None) > 0
    lags = slice(span.before - 1, None, -1)
    unknown = np.arange(span.ahead) >= (span.end - span.as_of).days
    before, chances = sent[:, lags], chance[:, lags]
    recency = np.where(before.any(axis=1), before.argmax(axis=1) + 1, np.nan)
    turns = turn[:, lags].sum(axis=1)
    usual = np.divide(chances.sum(axis=1), turns, out=np.full(len(users), np.nan), where=turns > 0)
    unseen = np.arange(1, span.before + 1) > table["tenure_days"].to_numpy()[:, None]
    return [
        pl.Series("pushes_7d", before[:, :7].sum(axis=1).astype(np.int64)),
        pl.Series("pushes_28d", before[:, :28].sum(axis=1).astype(np.int64)),
        pl.Series("push_recency_days", recency).fill_nan(None),
        pl.Series("push_propensity_28d", usual).fill_nan(None),
        days_list(before, hidden=unseen, name=PUSHED_BEFORE),
        ahead_list(sent[:, span.before :], span=span, name=PUSHED_AHEAD),
        days_list(chance[:, span.before :], hidden=~turn[:, span.before :] | unknown, name=PROPENSITY, kind=pl.Float64),
    ]


def _decisions(warehouse: Warehouse, span: Span) -> pl.DataFrame:
    """`user_id, day, sent, propensity`: one row per user and day on which anything was decided.

    Several decisions of a day are one: sent where any was, with the probability that any would be.
    """
    first = span.as_of - timedelta(days=span.before)
    last = min(span.as_of + timedelta(days=span.ahead), span.end)
    cells = [place for place in warehouse.places(TABLE) if str(first) <= place["day"] < str(last)]
    if not cells:
        kinds = {"user_id": pl.String, "day": pl.Date, "sent": pl.Int8, "propensity": pl.Float64}
        return pl.DataFrame(schema=kinds)
    log = warehouse.engine.frame(f"SELECT * FROM {warehouse.relation(TABLE, only=cells)}")
    missing = [name for name in NEEDED if name not in log.columns]
    if missing:
        raise BadInput(
            f"lifetime.activity_table: table 'pushes' has no column {', '.join(map(repr, missing))}; it has "
            f"{log.columns}. Effects of pushes need to know who was sent one, and with which probability."
        )
    strange = log.filter(~pl.col("propensity").is_between(0, 1) | pl.col("propensity").is_null()).height
    if strange:
        raise BadInput(
            f"lifetime.activity_table: {strange} of {log.height} rows of table 'pushes' have no propensity in [0, 1] "
            "on the days asked for. Record the probability with which each push was sent, or leave the rows out."
        )
    chance = pl.col("propensity").cast(pl.Float64)
    return (
        log.group_by(pl.col("user_id").cast(pl.String), "day")
        .agg(
            sent=pl.col("sent").cast(pl.Int8).max(),
            propensity=pl.when(pl.len() == 1).then(chance.first()).otherwise(1 - (1 - chance).product()),
        )
        .sort("user_id", "day")
    )
