"""Fitted trees and users come in; what pushed each user's predictions up or down goes out, largest first."""

from datetime import date

import numpy as np
import polars as pl

from sojourn.core import BadInput, Estimator, fingerprint
from sojourn.features import FeatureSpec
from sojourn.lifetime._boost import Floats
from sojourn.lifetime.effects import feature_words, paying, stages_of
from sojourn.lifetime.forecast import Lifetime, churn_column
from sojourn.lifetime.log_end import known_end
from sojourn.lifetime.money import valued
from sojourn.lifetime.scoring import TABLE, features_of_users
from sojourn.lifetime.spec import ChurnSpec
from sojourn.lifetime.stack import Stack
from sojourn.warehouse import PartitionInfo, Warehouse

REASONS = "prediction_reasons"
SCHEMA = {
    "user_id": pl.String,
    "prediction": pl.String,
    "place": pl.Int64,
    "feature": pl.String,
    "words": pl.String,
    "value": pl.Float64,
    "push": pl.Float64,
}


def user_reasons(model: Lifetime, *, table: pl.DataFrame, most: int = 8) -> pl.DataFrame:
    """What pushed each user's predictions, at most `most` features each: a row a user, prediction and feature.

    Columns: `user_id`, `prediction` (the column of the predictions: `ltv_<N>`, `churn_prob_<N>`), `place` (1 pushes
    most), `feature`, `words`, `value` (the user's own; null where unknown, or a word) and `push`: what the feature adds
    to the score of the trees (SHAP value, mean over boosters) as a share of all that features add or take for this
    user, so that sizes sum to 1. Above 0 the prediction is higher for it than the average user's, below 0 lower. Of
    two stages each counts half, a stack's members count by weight, of a model that takes refunds apart what is paid is
    told. Predictions by models without trees have no rows, nor has a feature that pushes nothing.
    """
    found = [pl.DataFrame(schema=SCHEMA)]
    for task in model.spec.tasks():
        if (fitted := model.models_.get(task.name)) is None:
            continue
        name = churn_column(task) if isinstance(task, ChurnSpec) else task.name
        pushes = _pushes(fitted, table)
        if pushes:
            found.append(_largest(table, pushes, prediction=name, most=most))
    return pl.concat(found).sort("user_id", "prediction", "place")


def explain_users(
    warehouse: Warehouse,
    *,
    model: Lifetime,
    features: FeatureSpec | None = None,
    as_of: date | None = None,
    users: int = 10_000,
) -> PartitionInfo:
    """The reasons of the `users` of whom most is expected, into partition `as_of` of table `prediction_reasons`.

    They must have been scored by this model (`score_users`): `BadInput` otherwise. SHAP values take a hundred times as
    long as predictions, so not everybody has them. What is current by fingerprint is not written again.
    """
    as_of = known_end(warehouse, as_of)
    partition = {"as_of": str(as_of)}
    scored = warehouse.partition(TABLE, partition) if warehouse.has(TABLE) else None
    if scored is None:
        raise BadInput(f"lifetime.explain_users: nobody was scored as of {as_of}. Score first: sojourn ltv score")
    mark = fingerprint(REASONS, scored.fingerprint, model.fingerprint_, str(users))
    with warehouse.writing(REASONS) as writer:
        found = warehouse.partition(REASONS, partition)
        if found is not None and found.fingerprint == mark:
            return found
        longest = max(model.spec.value_tasks(), key=lambda task: task.horizon_days).name
        chosen = (
            f"SELECT user_id FROM {warehouse.relation(TABLE, only=[partition])} "
            f"WHERE fingerprint = '{model.fingerprint_}' ORDER BY {longest} DESC, user_id LIMIT {int(users)}"
        )
        features = valued(warehouse, features=features, spec=model.spec)
        rows = features_of_users(warehouse, model=model, features=features, as_of=as_of)
        table = warehouse.engine.frame(f"SELECT f.* FROM ({rows}) AS f JOIN ({chosen}) AS c ON c.user_id = f.user_id")
        if table.is_empty():
            raise BadInput(
                f"lifetime.explain_users: the predictions as of {as_of} are another model's. Score again: "
                "sojourn ltv score"
            )
        reasons = user_reasons(model, table=table.sort("user_id"))
        return writer.put(partition, reasons, order_by=["user_id", "prediction", "place"], fingerprint=mark)


def _pushes(model: Estimator, table: pl.DataFrame) -> dict[str, tuple[Floats, Floats]]:
    """By feature: its value and its push for every row; empty for a model without trees."""
    model = paying(model)
    if isinstance(model, Stack):
        return _of_members(model, table)
    stages, design = stages_of(model)
    if design is None:
        return {}
    matrix = design.matrix(table.drop(pl.selectors.starts_with("label_")), where="lifetime.user_reasons")
    push = np.mean([_shares(stage.effects(matrix)) for stage in stages], axis=0)
    # A word's number in the trees is its place in a list, which tells a reader nothing.
    is_word = np.isin(design.names, list(design.words))
    value = np.where(is_word, np.nan, matrix)
    return {name: (value[:, at], push[:, at]) for at, name in enumerate(design.names)}


def _of_members(stack: Stack, table: pl.DataFrame) -> dict[str, tuple[Floats, Floats]]:
    summed: dict[str, tuple[Floats, Floats]] = {}
    told = {name: _pushes(member, table) for name, member in stack.members_.items()}
    whole = sum(stack.weights_[name] for name, pushes in told.items() if pushes)
    for name, pushes in told.items():
        for feature, (value, push) in pushes.items():
            before = summed[feature][1] if feature in summed else np.zeros(len(push))
            summed[feature] = (value, before + push * (stack.weights_[name] / whole if whole else 0.0))
    return summed


def _shares(added: Floats) -> Floats:
    """Each row's contributions as shares of all of that row's, sizes taken."""
    total = np.abs(added).sum(axis=1, keepdims=True)
    return np.asarray(np.divide(added, total, out=np.zeros_like(added), where=total > 0))


def _largest(
    table: pl.DataFrame, pushes: dict[str, tuple[Floats, Floats]], *, prediction: str, most: int
) -> pl.DataFrame:
    names = list(pushes)
    push = np.column_stack([pushes[name][1] for name in names])
    value = np.column_stack([pushes[name][0] for name in names])
    order = np.argsort(-np.abs(push), axis=1, kind="stable")[:, :most]
    rows = np.arange(len(push))[:, None]
    wide = order.shape[1]
    found = pl.DataFrame(
        {
            "user_id": np.repeat(table["user_id"].to_numpy(), wide),
            "prediction": [prediction] * order.size,
            "place": np.tile(np.arange(1, wide + 1), len(push)),
            "feature": [names[at] for at in order.ravel()],
            "words": [feature_words(names[at]) for at in order.ravel()],
            "value": value[rows, order].ravel(),
            "push": push[rows, order].ravel(),
        },
        schema=SCHEMA,
    )
    return found.filter(pl.col("push") != 0).with_columns(pl.col("value").fill_nan(None))
