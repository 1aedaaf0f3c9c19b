"""A fitted model and a warehouse come in; the predictions of every user go into its table `predictions`."""

from datetime import date

import polars as pl

from sojourn.core import BadInput, fingerprint
from sojourn.features import FeatureSpec, write_features
from sojourn.lifetime._flows import KEYS, flow_query
from sojourn.lifetime._seen import Seen, need_unseen
from sojourn.lifetime.extrapolation import extrapolated_column
from sojourn.lifetime.forecast import Lifetime
from sojourn.lifetime.log_end import known_end
from sojourn.lifetime.money import valued
from sojourn.warehouse import PartitionInfo, Warehouse

TABLE = "predictions"


def score_users(
    warehouse: Warehouse,
    *,
    model: Lifetime,
    features: FeatureSpec | None = None,
    as_of: date | None = None,
    seen: Seen = "refuse",
) -> PartitionInfo:
    """The predictions of every user as of a day, however many there are.

    The day defaults to the one after the log's last (`log_days`). One that the models have seen the future of is
    refused, as by `evaluate_model`; with `seen="warn"`, a replay, a line on stderr says so.

    Features go into partition `as_of` of table `features`, predictions into that of table `predictions`, sorted by
    `user_id`, with the columns that `Lifetime.predict` writes but `as_of`, which is the partition's. Rows pass through
    memory some at a time: on DuckDB in this process, on Spark where they are, as Arrow batches; the numbers are the
    same. What is current by fingerprint is not written again.

    Raises as `write_features` does, `MissingColumn` and `BadInput` for features that the model was not trained with,
    and `BadInput` for models that read sequences.
    """
    if model.spec.sequences is not None:
        raise BadInput(
            "lifetime.score_users: these models read sequences, which the table of features does not hold. "
            "Predict in memory: predict_users(warehouse, model=model, out=...)"
        )
    as_of = known_end(warehouse, as_of)
    need_unseen(warehouse, model, as_of=as_of, where="lifetime.score_users", seen=seen)
    features = valued(warehouse, features=features, spec=model.spec)
    stored = write_features(warehouse, features, as_of)
    partition = {"as_of": str(as_of)}
    wanted = predictions_fingerprint(stored.fingerprint, model.fingerprint_)
    with warehouse.writing(TABLE) as writer:
        found = warehouse.partition(TABLE, partition)
        if found is not None and found.fingerprint == wanted:
            return found
        rows = features_of_users(warehouse, model=model, features=features, as_of=as_of)
        # Refuses columns that do not fit before millions of rows are read: one row tells as much.
        model.predict(warehouse.engine.frame(f"{rows} LIMIT 1"))
        with warehouse.engine.mapped(rows, _Predict(model), kinds=_kinds(model)) as name:
            return writer.put(partition, f"SELECT * FROM {name}", order_by=["user_id"], fingerprint=wanted)


def features_of_users(warehouse: Warehouse, *, model: Lifetime, features: FeatureSpec, as_of: date) -> str:
    """SQL for what a model reads of every user as of a day, of stored features and what they were made by."""
    rows = f"SELECT * FROM {warehouse.relation('features', only=[{'as_of': str(as_of)}])}"
    if not model.refunds_:
        return rows
    return _with_flows(warehouse, rows, model, features, as_of)


def _with_flows(warehouse: Warehouse, rows: str, model: Lifetime, features: FeatureSpec, as_of: date) -> str:
    """SQL for the features with what was paid and refunded beside them; nothing counted is 0."""
    value = model.spec.value
    flows = flow_query(warehouse, features=features, value=value, as_ofs=[as_of])
    names = [name for name in warehouse.engine.columns(flows) if name not in KEYS]
    taken = ", ".join(f"coalesce(w.{name}, 0) AS {name}" for name in names)
    return f"SELECT f.*, {taken} FROM ({rows}) AS f LEFT JOIN ({flows}) AS w ON w.user_id = f.user_id"


def predictions_fingerprint(features: str, model: str) -> str:
    """The fingerprint of the predictions that these models make from these features, both given by theirs."""
    return fingerprint("predictions", features, model)


class _Predict:
    """The step from features to predictions; an object of its own so that Spark can send it to where the rows are."""

    def __init__(self, model: Lifetime) -> None:
        self._model = model

    def __call__(self, features: pl.DataFrame) -> pl.DataFrame:
        return self._model.predict(features).drop("as_of")


def _kinds(model: Lifetime) -> dict[str, str]:
    words = {"user_id", "model_version", "fingerprint"}
    marks = {extrapolated_column(task) for task in model.spec.value_tasks()}
    kinds = {**dict.fromkeys(words, "VARCHAR"), **dict.fromkeys(marks, "BOOLEAN")}
    return {name: kinds.get(name, "DOUBLE") for name in model.columns() if name != "as_of"}
