"""A model on disk: `model.json` with the spec and what was learned, LightGBM's text beside it. Never a pickle."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import polars as pl

from sojourn.core import Estimator, Spec, UnreadableSource
from sojourn.evaluate.scores import write_whole

FILE = "model.json"
Plain = TypeVar("Plain", bound=Estimator)


def save_model(path: Path, *, model: Estimator, learned: dict[str, Any]) -> None:
    """Write `model.json` into the folder `path`, whole or not at all."""
    whole = {"model": type(model).__name__, "spec": model.spec.model_dump(mode="json"), "learned": learned}
    write_whole(path / FILE, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def load_model(path: Path, *, model: type[Estimator]) -> dict[str, Any]:
    """The `spec` and `learned` values that `save_model` wrote for this kind of model. Raises `UnreadableSource`."""
    try:
        whole: dict[str, Any] = json.loads((path / FILE).read_text(encoding="utf-8"))
        found = whole["model"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UnreadableSource(
            f"lifetime.{model.__name__}.load: {path} holds no saved model ({fault}). Save one first: model.save(path)"
        ) from fault
    if found != model.__name__:
        raise UnreadableSource(
            f"lifetime.{model.__name__}.load: {path} holds a {found}. Load it with lifetime.{found}.load(path)"
        )
    return whole


def save_plain(path: Path, *, model: Estimator, names: Sequence[str]) -> None:
    """Write a model whose learned attributes, `<name>_`, are all plain values."""
    save_model(path, model=model, learned={name: getattr(model, f"{name}_") for name in names})


def load_plain(path: Path, *, model: type[Plain], spec: type[Spec]) -> Plain:
    """The model that `save_plain` wrote. Raises `UnreadableSource`."""
    whole = load_model(path, model=model)
    found = model(spec(**whole["spec"]))  # type: ignore[call-arg]
    for name, learned in whole["learned"].items():
        setattr(found, f"{name}_", learned)
    return found


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table as one Parquet file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        table.write_parquet(staged)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
