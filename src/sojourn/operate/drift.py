"""What a model learned from and what it is asked about today come in; how far apart they are, by feature, comes out."""

from datetime import date
from math import log
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import fingerprint
from sojourn.lifetime import steady_features
from sojourn.operate.declared import WatchSpec
from sojourn.operate.registry import Reference, Registry
from sojourn.warehouse import PartitionInfo, Warehouse

TABLE = "drift"
GROUPS = 10
MOST_WORDS = 20
# A group that is empty on one side would make the index infinite.
LEAST_SHARE = 1e-4
MISSING, OTHER = "missing", "other"


def reference_of(rows: pl.DataFrame, *, additive: tuple[str, ...]) -> Reference:
    """How each feature is spread over the training rows: tenths of numbers, shares of words, and what is missing.

    Features are as models read them (`steady_features`): rates, not sums.
    """
    table = steady_features(_plain(rows), additive=additive)
    return {"rows": table.height, "features": {name: _spread(table[name]) for name in table.columns}}


def stability(reference: Reference, table: pl.DataFrame) -> pl.DataFrame:
    """The population stability index of each feature of the reference: `feature, psi, missing, missing_before`.

    PSI is the sum over groups of (share now - share then) x ln(share now / share then); by custom less than 0.1 is
    calm, more than 0.25 another population. A feature that the table lacks counts as missing everywhere.
    """
    rows = []
    for name, spread in reference["features"].items():
        column = table[name] if name in table.columns else pl.Series(name, [None] * table.height, dtype=pl.Float64)
        now = _shares(column, spread)
        index = sum((a - b) * log(a / b) for a, b in zip(_floored(now), _floored(spread["shares"]), strict=True))
        rows.append((name, index, now[-1], spread["shares"][-1]))
    schema = {"feature": pl.String, "psi": pl.Float64, "missing": pl.Float64, "missing_before": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("psi", "feature", descending=[True, False])


def write_drift(
    warehouse: Warehouse, registry: Registry, version: str, *, as_of: date, watch: WatchSpec
) -> tuple[PartitionInfo, bool]:
    """The drift of the stored features as of a day against what a version learned from, in table `drift`.

    Returns the partition, and whether it was current already. Raises `MissingTable` without the features.
    """
    place = {"model": registry.kind, "as_of": str(as_of)}
    stored = warehouse.fingerprint_of("features", {"as_of": str(as_of)}) or ""
    wanted = fingerprint("drift", version, stored, str(watch.sample_users))
    with warehouse.writing(TABLE) as writer:
        found = warehouse.partition(TABLE, place)
        if found is not None and found.fingerprint == wanted:
            return found, True
        spec = registry.load(version).spec
        users = sampled(warehouse, warehouse.relation("features", only=[{"as_of": str(as_of)}]), watch.sample_users)
        table = steady_features(_plain(users), additive=spec.additive)
        rows = stability(registry.reference(version), table).with_columns(
            users=pl.lit(table.height, dtype=pl.Int64), version=pl.lit(version)
        )
        return writer.put(place, rows, order_by=["feature"], fingerprint=wanted), False


def sampled(warehouse: Warehouse, relation: str, most: int) -> pl.DataFrame:
    """The rows of at most about so many users, drawn by a hash of the id: the same on every engine and every day."""
    [(rows,)] = warehouse.engine.rows(f"SELECT count(*) FROM {relation}")
    if rows <= most:
        return warehouse.engine.frame(f"SELECT * FROM {relation}")
    bound = f"{int(most / rows * 16**6):06x}"
    return warehouse.engine.frame(f"SELECT * FROM {relation} WHERE substr(md5(user_id), 1, 6) < '{bound}'")


def _plain(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(name for name in table.columns if not table[name].dtype.is_nested())


def _spread(column: pl.Series) -> dict[str, Any]:
    if column.dtype == pl.String:
        counts = column.drop_nulls().value_counts(sort=True).sort("count", column.name, descending=[True, False])
        spread: dict[str, Any] = {"words": counts[column.name].head(MOST_WORDS).to_list()}
    else:
        found = column.drop_nulls().drop_nans().to_numpy()
        ends = np.quantile(found, np.arange(1, GROUPS) / GROUPS) if len(found) else np.array([])
        spread = {"ends": [float(each) for each in np.unique(ends)]}
    return {**spread, "shares": _shares(column, spread)}


def _shares(column: pl.Series, spread: dict[str, Any]) -> list[float]:
    """The share of the rows in each group; the last is what is missing."""
    if "words" in spread:
        words = spread["words"]
        at = column.cast(pl.String).replace_strict({word: n for n, word in enumerate(words)}, default=len(words))
        groups, missing = at.to_numpy(), column.is_null().to_numpy()
    else:
        numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        groups, missing = np.searchsorted(spread["ends"], numbers, side="left"), np.isnan(numbers)
    many = len(spread["words"] if "words" in spread else spread["ends"]) + 1
    counts = np.bincount(np.where(missing, many, groups).astype(np.int64), minlength=many + 1)
    return [float(each) for each in counts / max(len(column), 1)]


def _floored(shares: list[float]) -> list[float]:
    return [max(each, LEAST_SHARE) for each in shares]
