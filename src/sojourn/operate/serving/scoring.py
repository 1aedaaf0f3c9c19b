"""Rows of features as JSON come in, typed as the table of features is; the saved models' predictions go out."""

from collections.abc import Mapping, Sequence
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from sojourn.core import BadInput
from sojourn.lifetime import Lifetime
from sojourn.warehouse import Warehouse

LONGEST_TEXT = 1_000
# Beyond it, whole numbers in JSON are not exact everywhere.
EXACT = 2**53
# Beyond it, products of features are no longer finite.
LARGEST = 1e12
KEYS = {"user_id": "VARCHAR", "as_of": "DATE"}


def _whole(found: Any) -> Any:
    """7.0 as 7: many clients have no whole numbers once one of a column is missing."""
    return int(found) if isinstance(found, float) and found.is_integer() else found


# DuckDB type of a feature: its type in JSON, its type in the frame.
KINDS: Mapping[str, tuple[Any, Any]] = {
    "BIGINT": (Annotated[int, Field(ge=-EXACT, le=EXACT, strict=True), BeforeValidator(_whole)], pl.Int64),
    "DOUBLE": (Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False, strict=True)], pl.Float64),
    "VARCHAR": (Annotated[str, Field(max_length=LONGEST_TEXT, strict=True)], pl.String),
    "BOOLEAN": (Annotated[bool, Field(strict=True)], pl.Boolean),
    "DATE": (date, pl.Date),
}


class Scorer:
    """The saved models, and the rows that they read: `row` is a pydantic model with every feature, each may be null."""

    def __init__(self, models: Path, *, columns: Mapping[str, str]) -> None:
        self.model = Lifetime.load(models)
        flows = dict.fromkeys(self.model.flow_columns(), "DOUBLE")
        self._kinds = {**KEYS, **{name: kind for name, kind in columns.items() if name not in KEYS}, **flows}
        strange = [f"{name!r} ({kind})" for name, kind in self._kinds.items() if kind not in KINDS]
        if strange:
            raise BadInput(f"serve: these features have no type in JSON: {', '.join(strange)}. Leave them out.")
        self.row = _row_model(self._kinds)
        self.score([{name: _nothing(kind) for name, kind in self._kinds.items()}])  # refuses features of other models

    def score(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The predictions of these rows, in their order; null where the models have no finite number."""
        schema = {name: KINDS[kind][1] for name, kind in self._kinds.items()}
        found = self.model.predict(pl.DataFrame(rows, schema=schema, orient="row"))
        return [{name: _finite(cell) for name, cell in row.items()} for row in found.iter_rows(named=True)]

    @property
    def predictions(self) -> type[BaseModel]:
        """The pydantic model of one row's predictions."""
        words = {"model_version", "fingerprint"}
        fields: dict[str, Any] = {"user_id": (str, ...), "as_of": (date, ...)}
        for name in self.model.columns():
            if name not in fields:
                fields[name] = (str if name in words else float | None, ...)
        return create_model("Predictions", **fields)


def feature_kinds(warehouse: Warehouse) -> dict[str, str]:
    """The names and types of the columns of table `features`. Raises `MissingTable`."""
    return warehouse.engine.columns(f"SELECT * FROM {warehouse.relation('features')}")


def _row_model(kinds: Mapping[str, str]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for nth, (name, kind) in enumerate(kinds.items()):
        of, _ = KINDS[kind]
        # Fields have names of their own: a feature may be called as no Python name can be.
        fields[f"field_{nth}"] = (of if name in KEYS else of | None, Field(alias=name))
    return create_model("Row", __config__=ConfigDict(extra="forbid"), **fields)


def _nothing(kind: str) -> Any:
    return {"VARCHAR": "", "DATE": date(2000, 1, 1)}.get(kind)


def _finite(cell: Any) -> Any:
    return None if isinstance(cell, float) and not isfinite(cell) else cell
