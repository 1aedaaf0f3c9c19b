"""The scores of a task's models on one split, compared only with their like, and the `metrics.json` that keeps them."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import polars as pl
from pydantic import Field, model_validator

from sojourn.core import BadInput, Spec, UnreadableSource
from sojourn.evaluate.bootstrap import BootstrapSpec, Interval, Task, bootstrap_metrics
from sojourn.evaluate.metrics import METRICS, Kind


class Scores(Spec):
    """Every model's figures for one task on the rows that `split` (a `split_fingerprint`) stands for."""

    task: str
    kind: Kind
    split: str = Field(min_length=1)
    rows: int = Field(ge=1)
    chosen: str | None = None
    models: dict[str, dict[str, Interval]] = Field(min_length=1)

    @model_validator(mode="after")
    def _chosen_is_one_of_the_models(self) -> Self:
        if self.chosen is not None and self.chosen not in self.models:
            raise ValueError(f"the chosen model {self.chosen!r} is none of {list(self.models)}")
        return self

    def beside(self, other: "Scores") -> "Scores":
        """The models of both, in one. Raises `BadInput` unless task, kind and split are the same."""
        for what, ours, theirs in (
            ("task", self.task, other.task),
            ("kind", self.kind, other.kind),
            ("split", self.split, other.split),
        ):
            if ours != theirs:
                raise BadInput(
                    f"evaluate.Scores: figures of {what} {ours} and {what} {theirs} cannot be compared: they were not "
                    "measured on the same rows and days. Score both on one: score_models(table, task=..., split=...)"
                )
        twice = sorted(set(self.models) & set(other.models))
        if twice:
            raise BadInput(f"evaluate.Scores: both sides have models named {twice}. Rename one of each first.")
        return self.with_changes(models={**self.models, **other.models})

    def best(self, metric: str) -> str:
        """The model with the best value of a metric; the first of equals. Raises `BadInput` when none has a value."""
        if metric not in next(iter(self.models.values())):
            known = list(next(iter(self.models.values())))
            raise BadInput(f"evaluate.Scores: {self.task} has no metric {metric!r}; it has {known}.")
        cost = {name: _cost(metric, figures[metric].value) for name, figures in self.models.items()}
        defined = {name: value for name, value in cost.items() if value is not None}
        if not defined:
            raise BadInput(
                f"evaluate.Scores: {metric} is undefined for all models of {self.task}. Pick another metric."
            )
        return min(defined, key=defined.__getitem__)

    def table(self) -> pl.DataFrame:
        """One row per model and metric: `model, metric, value, low, high`."""
        rows = [
            {"model": model, "metric": metric, **figure.model_dump()}
            for model, figures in self.models.items()
            for metric, figure in figures.items()
        ]
        floats = dict.fromkeys(("value", "low", "high"), pl.Float64)
        return pl.DataFrame(rows, schema={"model": pl.String, "metric": pl.String, **floats})


def score_models(
    table: pl.DataFrame,
    *,
    task: Task,
    split: str,
    chosen: str | None = None,
    bootstrap: BootstrapSpec | None = None,
) -> Scores:
    """Every model of the task judged on the rows of `table`, with intervals; `split` is their `split_fingerprint`.

    >>> table = pl.DataFrame({"user_id": ["a", "b"], "spend": [0.0, 5.0], "ltv": [0.0, 5.0], "zero": [0.0, 0.0]})
    >>> task = Task(name="ltv_90", kind="value", truth="spend", models=("ltv", "zero"))
    >>> score_models(table, task=task, split="5d41402abc4b2a76").best("mae")
    'ltv'
    """
    models = bootstrap_metrics(table, task=task, bootstrap=bootstrap)
    return Scores(task=task.name, kind=task.kind, split=split, rows=table.height, chosen=chosen, models=models)


def write_metrics(path: Path, scores: Iterable[Scores]) -> None:
    """Write `metrics.json`: `{"tasks": {task: {kind, split, rows, chosen, models}}}`.

    `models` is `{model: {metric: {value, low, high}}}`. Undefined figures are
    null. The file appears whole or not at all.
    """
    tasks: dict[str, Any] = {}
    for one in scores:
        if one.task in tasks:
            raise BadInput(f"evaluate.write_metrics got task {one.task!r} twice. Join them first: first.beside(second)")
        tasks[one.task] = one.model_dump(mode="json", exclude={"task"})
    write_whole(path, json.dumps({"tasks": tasks}, indent=2, ensure_ascii=False) + "\n")


def read_metrics(path: Path) -> dict[str, Scores]:
    """The scores by task that `write_metrics` wrote. Raises `UnreadableSource` for a file that is none."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
        return {task: Scores(task=task, **values) for task, values in tasks.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise UnreadableSource(f"evaluate.read_metrics: {path} is no metrics.json of ours: {fault}") from fault


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, never half of it.

    Raises `UnreadableSource` when the place cannot be written.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with staged.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)
    except OSError as fault:
        raise UnreadableSource(f"{path} cannot be written: {fault.strerror}. Choose another place.") from fault


def _cost(metric: str, value: float | None) -> float | None:
    if value is None:
        return None
    return {"low": value, "high": -value, "zero": abs(value)}[METRICS[metric].better]
