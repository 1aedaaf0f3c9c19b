"""Contracts only: what a table, a setting, a model and a mergeable state must be, and how mistakes are told."""

from sojourn.core.contracts import Estimator, Mergeable, Spec, Step, Value, fingerprint
from sojourn.core.errors import (
    BadInput,
    BadSpec,
    DiskFull,
    EmptyInput,
    EngineError,
    Locked,
    MissingColumn,
    MissingExtra,
    MissingTable,
    NotAWarehouse,
    NotFitted,
    SojournError,
    TooManyRejected,
    Unreachable,
    UnreadableSource,
    missing_columns,
)
from sojourn.core.optional import need
from sojourn.core.progress import Advance, doing, progress, say
from sojourn.core.tables import MONEY, UTC_US, check_table, need_columns, need_rows

__all__ = [
    "MONEY",
    "UTC_US",
    "Advance",
    "BadInput",
    "BadSpec",
    "DiskFull",
    "EmptyInput",
    "EngineError",
    "Estimator",
    "Locked",
    "Mergeable",
    "MissingColumn",
    "MissingExtra",
    "MissingTable",
    "NotAWarehouse",
    "NotFitted",
    "SojournError",
    "Spec",
    "Step",
    "TooManyRejected",
    "Unreachable",
    "UnreadableSource",
    "Value",
    "check_table",
    "doing",
    "fingerprint",
    "missing_columns",
    "need",
    "need_columns",
    "need_rows",
    "progress",
    "say",
]
