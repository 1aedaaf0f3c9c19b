"""Metric tables and predictions of an app of any size, made by formulas in the shape in which rooms publish them.

What the dashboard costs depends on the size of these tables, not on how they were counted: a board of ten million users
has as many rows as one of ten thousand, and ten million predictions can be written in half a minute.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import polars as pl

from sojourn.warehouse import Warehouse

CHANNELS = {"organic": 0.38, "search": 0.24, "social": 0.18, "video": 0.12, "referral": 0.08}
COUNTRIES = {"US": 0.3, "DE": 0.16, "BR": 0.15, "JP": 0.13, "FR": 0.1, "GB": 0.09, "IN": 0.07}
QUALITY = {"organic": 1.15, "search": 1.05, "social": 0.8, "video": 0.75, "referral": 1.3}
START = date(2025, 1, 1)
MONEY = pl.Decimal(38, 4)
COHORT_KEYS = ["cohort", "channel", "country"]
EVERY = {"day": "1d", "week": "1w", "month": "1mo"}


def fill_board(warehouse: Warehouse, *, users: int, days: int) -> int:
    """Write the tables of board `users`, values and cohorts of each day, week and month; the number of rows written."""
    cells = _cells(users, days)
    written = 0
    for grain in EVERY:
        table = _by_period(cells, grain)
        values = pl.concat(list(_metrics(table, days=days, grain=grain)), how="diagonal")
        keys = ["metric", "channel", "country", "state"]
        written += _put(warehouse, "metric_values_users", values, grain=grain, order_by=keys)
        written += _put(
            warehouse,
            "metric_cohorts_users",
            _cohorts(table, days=days, grain=grain),
            grain=grain,
            order_by=COHORT_KEYS,
        )
    return written


def fill_predictions(warehouse: Warehouse, *, users: int, as_of: date, horizon_days: int = 90) -> int:
    """Write the predictions of this many users, and their states with channel and country, by SQL."""
    luck = "(hash(i::VARCHAR || '{}') % 1000000 + 0.5) / 1000000.0"
    value = (
        f"CASE WHEN {luck.format('a')} < 0.12 THEN exp(2.2 + 1.1 * ({luck.format('b')} * 4 - "
        f"2)) ELSE 0.4 * {luck.format('c')} END"
    )
    predictions = (
        f"SELECT 'u' || lpad(i::VARCHAR, 8, '0') AS user_id, {value} AS ltv_{horizon_days}, 0.4 * ({value}) AS "
        f"ltv_{horizon_days}_low, 2.1 * ({value}) AS ltv_{horizon_days}_high, {luck.format('d')} AS "
        f"churn_prob_{horizon_days}, 'sojourn' AS model_version, 'f' AS fingerprint FROM range({users}) AS t(i)"
    )
    state = (
        f"SELECT 'u' || lpad(i::VARCHAR, 8, '0') AS user_id, {_drawn('x', CHANNELS)} AS "
        f"channel, {_drawn('y', COUNTRIES)} AS country FROM range({users}) AS t(i)"
    )
    for table, query in (("predictions", predictions), ("metric_state_users", state)):
        with warehouse.writing(table) as writer:
            writer.put({"as_of": str(as_of)}, query, order_by=["user_id"], fingerprint="bench")
    return users


def _drawn(salt: str, shares: dict[str, float]) -> str:
    edges = np.cumsum(list(shares.values()))
    luck = f"(hash(i::VARCHAR || '{salt}') % 10000) / 10000.0"
    cases = " ".join(f"WHEN {luck} < {edge:.4f} THEN '{name}'" for name, edge in zip(shares, edges, strict=True))
    return f"CASE {cases} ELSE '{next(iter(shares))}' END"


def _cells(users: int, days: int) -> pl.DataFrame:
    """One row for each cohort day, day and combination of dimensions: size, active users, purchases, revenue."""
    c, d = np.triu_indices(days)
    frames = []
    for channel, share in CHANNELS.items():
        for country, part in COUNTRIES.items():
            wave = 1 + 0.25 * np.sin(c / 9 + len(channel)) + 0.002 * c
            size = np.floor(users / days * share * part * wave) + 1
            age = d - c
            kept = np.where(age == 0, 1.0, QUALITY[channel] * 0.42 * (1.0 + age) ** -0.42)
            active = np.floor(size * np.minimum(kept, 1.0) * (1 + 0.06 * np.sin(2 * np.pi * d / 7)))
            active = np.where(age == 0, size, np.minimum(active, size))
            revenue = np.round(active * 0.11 * QUALITY[channel] * (1 + 0.01 * age**0.5), 2)
            frames.append(
                pl.DataFrame({"c": c, "d": d, "size": size, "active": active, "revenue": revenue}).with_columns(
                    channel=pl.lit(channel), country=pl.lit(country)
                )
            )
    return pl.concat(frames)


def _by_period(cells: pl.DataFrame, grain: str) -> pl.DataFrame:
    """Cells by period of the cohort and of the day: some are active on one of its days alone."""
    if grain == "day":
        return cells.with_columns(cohort=_day("c"), start=_day("d"))
    every = EVERY[grain]
    dated = cells.with_columns(cohort=_day("c").dt.truncate(every), start=_day("d").dt.truncate(every))
    sizes = dated.filter(pl.col("c") == pl.col("d")).group_by("cohort", "channel", "country").agg(pl.col("size").sum())
    found = dated.group_by("cohort", "start", "channel", "country").agg(
        pl.col("active").sum(), pl.col("revenue").sum(), n_days=pl.col("d").n_unique()
    )
    found = found.join(sizes, on=["cohort", "channel", "country"])
    active = (
        pl.when(pl.col("cohort") == pl.col("start"))
        .then(pl.col("size"))
        .otherwise((pl.col("active") / pl.col("n_days") * 1.9).floor().clip(0, pl.col("size")))
    )
    return found.with_columns(active=active)


def _metrics(cells: pl.DataFrame, *, days: int, grain: str) -> Iterator[pl.DataFrame]:
    last = START + timedelta(days=days)
    over = pl.col("start").dt.offset_by(EVERY[grain]) <= last
    dims = ["channel", "country"]
    total = cells.group_by("start", *dims).agg(
        pl.col("active").sum(),
        pl.col("revenue").sum(),
        new=pl.col("size").filter(pl.col("cohort") == pl.col("start")).sum(),
    )
    total = total.sort("start").with_columns(
        before=pl.col("active").shift(1, fill_value=0).over(dims, order_by="start")
    )
    known = pl.min_horizontal((pl.col("active") - pl.col("new")).clip(0), pl.col("before"))
    total = total.with_columns(returning=(known * 0.86).floor()).with_columns(
        resurrected=pl.col("active") - pl.col("new") - pl.col("returning"),
        dormant=pl.col("before") - pl.col("returning"),
    )
    total = total.with_columns(
        paying=(pl.col("active") * 0.043).floor(),
        sessions=(pl.col("active") * 2.1).floor(),
        monthly=pl.col("active") * 3.4,
    )
    sums = {
        "active_users": ("active", None), "new_users": ("new", None), "revenue": ("revenue", None),
        "paying_users": ("paying", None), "sessions": ("sessions", None), "stickiness": ("active", "monthly"),
        "sessions_per_user": ("sessions", "active"), "paying_share": ("paying", "active"),
        "arpu": ("revenue", "active"), "arppu": ("revenue", "paying"),
    }  # fmt: skip
    for name, (above, below) in sums.items():
        yield _figures(total.with_columns(mature=over), ["start", *dims], name, above, below)
    states = total.unpivot(
        ["new", "returning", "resurrected", "dormant"], index=["start", *dims], variable_name="state", value_name="n"
    )
    yield _figures(states.with_columns(mature=over), ["start", *dims, "state"], "lifecycle", "n", None)


def _cohorts(cells: pl.DataFrame, *, days: int, grain: str) -> pl.DataFrame:
    """What cohort metrics are read from: the size of each cohort, who was active in the period, and their revenue."""
    last = START + timedelta(days=days)
    over = pl.col("start").dt.offset_by(EVERY[grain]) <= last
    whole = pl.col("size").cast(pl.Int64), pl.col("active").cast(pl.Int64), pl.col("revenue").cast(MONEY)
    return cells.select("start", *COHORT_KEYS, *whole, mature=over)


def _figures(table: pl.DataFrame, keys: list[str], name: str, above: str, below: str | None) -> pl.DataFrame:
    upper = pl.col(above).cast(pl.Float64)
    lower = pl.lit(None, dtype=pl.Float64) if below is None else pl.col(below).cast(pl.Float64)
    return table.select(
        *keys,
        metric=pl.lit(name),
        value=upper if below is None else upper / lower,
        numerator=upper.cast(MONEY),
        denominator=lower.cast(MONEY),
        mature="mature",
    )


def _put(warehouse: Warehouse, name: str, table: pl.DataFrame, *, grain: str, order_by: list[str]) -> int:
    with warehouse.writing(name) as writer:
        for (start,), rows in table.partition_by("start", as_dict=True, maintain_order=True).items():
            place = {"grain": grain, "start": str(start)}
            writer.put(place, rows.drop("start"), order_by=order_by, fingerprint="bench")
    return table.height


def _day(column: str) -> pl.Expr:
    return pl.lit(START) + pl.duration(days=pl.col(column))
