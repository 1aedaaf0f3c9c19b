"""How saved models did on days that they had not seen, beside the baselines."""

from datetime import date

import polars as pl

from sojourn.core import BadInput
from sojourn.evaluate import BootstrapSpec, Fold, Scores, Split, score_models, split_fingerprint
from sojourn.lifetime._design import KEYS
from sojourn.lifetime.compare import task_of, truth_of
from sojourn.lifetime.extrapolation import EXTRAPOLATED
from sojourn.lifetime.forecast import Lifetime
from sojourn.lifetime.spec import ChurnSpec, ValueSpec

WHERE = "lifetime.evaluate_model"


def evaluate_model(
    model: Lifetime, *, table: pl.DataFrame, bootstrap: BootstrapSpec | None = None
) -> dict[str, Scores]:
    """The scores of every task whose label is in the table, the model's beside those of the task's baselines.

    Reads what `Lifetime.fit` reads, at one as-of date not before `model.known_until`. A task whose label is missing or
    null (its window had not ended) is left out.

    Raises `BadInput` for several as-of dates, for one that the model has seen labels of, and when no task is left.
    """
    as_of = _as_of(table, model)
    tasks = [task for task in model.spec.tasks() if _is_labelled(table, task)]
    if not tasks:
        raise BadInput(
            f"{WHERE}: no label window that begins on {as_of} had ended when the log ends. "
            "Fit on an earlier day, and evaluate on that day: sojourn ltv fit --as-of DAY"
        )
    return {task.name: _scores(model, table, task, bootstrap) for task in tasks}


def _as_of(table: pl.DataFrame, model: Lifetime) -> date:
    days = table["as_of"].unique().sort().to_list()
    if len(days) != 1:
        raise BadInput(f"{WHERE} judges one as-of date and got {len(days)}. Filter the table first.")
    as_of: date = days[0]
    if as_of < model.known_until:
        raise BadInput(
            f"{WHERE}: the models have seen everything before {model.known_until}, so figures as of {as_of} would "
            f"flatter them. Fit with less: sojourn ltv fit --as-of {as_of}"
        )
    return as_of


def _is_labelled(table: pl.DataFrame, task: ValueSpec | ChurnSpec) -> bool:
    return task.label in table.columns and table[task.label].null_count() < table.height


def _scores(
    model: Lifetime, table: pl.DataFrame, task: ValueSpec | ChurnSpec, bootstrap: BootstrapSpec | None
) -> Scores:
    known = table.filter(pl.col(task.label).is_not_null())
    features = known.drop(pl.selectors.starts_with("label_"))
    chosen = model.chosen_[task.name]
    # An extrapolated horizon had no labels, so nothing else was fitted for it.
    models = {} if chosen == EXTRAPOLATED else {**model.baselines_[task.name], chosen: model.models_[task.name]}
    columns = {name: each.predict(features)[task.name] for name, each in models.items()} or {
        chosen: model.predict(features)[task.name]
    }
    predictions = known.select(*KEYS, truth_of(task)).with_columns(**columns)
    as_of = known["as_of"][0]
    # What an extrapolated horizon learned from are the windows of its base.
    learned = model.extrapolations_[task.name].spec.base_days if chosen == EXTRAPOLATED else task.horizon_days
    fold = Fold(horizon_days=learned, train=model.trained_on_[task.name], test=as_of)
    split = Split(horizon_days=learned, as_ofs=(*fold.train, as_of), folds=(fold,))
    return score_models(
        predictions,
        task=task_of(task).with_changes(models=tuple(columns)),
        split=split_fingerprint(known, split=split),
        chosen=chosen,
        bootstrap=bootstrap,
    )
