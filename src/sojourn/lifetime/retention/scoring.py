"""A fitted model of daily activity and a warehouse come in; every user's coming days go into a table of it."""

import json
from datetime import date

import polars as pl

from sojourn import __version__
from sojourn.core import fingerprint
from sojourn.features import FeatureSpec
from sojourn.lifetime.log_end import log_days
from sojourn.lifetime.retention.activity import activity_table
from sojourn.lifetime.retention.study import FittedRetention
from sojourn.rollups import refreshed
from sojourn.warehouse import PartitionInfo, Warehouse

TABLE = "retention_predictions"
BESIDE = ("users", "superseded_users", "pushes")


def score_retention(
    warehouse: Warehouse,
    *,
    fitted: FittedRetention,
    features: FeatureSpec | None = None,
    as_of: date | None = None,
) -> PartitionInfo:
    """The coming days of every user as of a day, as partition `as_of` of table `retention_predictions`.

    It has the columns that `predict_retention` writes without a plan, but `as_of`, sorted by `user_id`, and
    `inputs`, a fingerprint of what they were predicted from. What is current by fingerprint is not written again.
    Raises what `activity_table` does.
    """
    day = as_of or log_days(warehouse)[1]
    partition, inputs = {"as_of": str(day)}, _inputs(warehouse, fitted, features, day)
    wanted = fingerprint("retention predictions", inputs, fitted.mark)
    with warehouse.writing(TABLE) as writer:
        stored = warehouse.partition(TABLE, partition)
        if stored is not None and stored.fingerprint == wanted:
            return stored
        table = activity_table(warehouse, [day], spec=fitted.spec, features=features, end=day)
        rows = fitted.model.predict(table).drop("as_of")
        rows = rows.with_columns(
            model_version=pl.lit(f"sojourn {__version__}"), fingerprint=pl.lit(fitted.mark), inputs=pl.lit(inputs)
        )
        return writer.put(partition, rows, order_by=["user_id"], fingerprint=wanted)


def _inputs(warehouse: Warehouse, fitted: FittedRetention, features: FeatureSpec | None, day: date) -> str:
    """A fingerprint of the features asked for, and of all that the warehouse knows from before the day."""
    asked = fitted.spec.features(features)
    found = refreshed(warehouse, asked.rollup, end=day)
    beside = [f"{table} {each.fingerprint}" for table in BESIDE for each in warehouse.partitions(table)]
    plain = json.dumps(asked.model_dump(mode="json", exclude={"labels"}), sort_keys=True)
    return fingerprint(plain, found.definition.fingerprint, found.input_of(date.min, day), *beside)
