"""Rollups and portraits in, point-in-time tables out: one row per user and day, features from strictly before it."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from uuid import uuid4

import polars as pl

from sojourn.core import SojournError, UnreadableSource, fingerprint
from sojourn.features.portrait import SUPERSEDED, USERS
from sojourn.features.query import Question, ask, feature_query, population_query, training_query
from sojourn.features.spec import FeatureSpec
from sojourn.warehouse import DuckDBEngine, PartitionInfo, Warehouse
from sojourn.warehouse.engine import identifier
from sojourn.warehouse.files import parquet_files, remove

TABLE = "features"
# Raised when the meaning of a feature changes, so that tables written before are known to be old.
HABITS = "1"
KEYS = ("as_of", "user_id")


def training_set(warehouse: Warehouse, spec: FeatureSpec, as_ofs: Sequence[date]) -> pl.DataFrame:
    """Features from strictly before each `as_of`, labels from business days [as_of, as_of + N), sorted by both keys.

    A row for every user first seen before `as_of`, test accounts excepted (`population` counts both). Counts, sums and
    active days of nothing are 0; any other null says that there was nothing to take it from. Day partials that are
    missing or stale are built first. Raises as `ask` does: history must reach `history_days` back and the longest
    horizon ahead.
    """
    question = ask(warehouse, spec, as_ofs, horizons_days=spec.labels.horizons_days)
    return warehouse.engine.frame(training_query(question)).sort(KEYS)


def feature_table(warehouse: Warehouse, spec: FeatureSpec, as_of: date) -> pl.DataFrame:
    """The features of every user first seen before `as_of`, without labels: for scoring. Raises as `ask` does."""
    question = ask(warehouse, spec, [as_of], horizons_days=())
    return warehouse.engine.frame(feature_query(question)).sort(KEYS)


def population(warehouse: Warehouse, spec: FeatureSpec, as_ofs: Sequence[date]) -> pl.DataFrame:
    """How many users each `as_of` has, and how many test accounts were left out: `as_of`, `users`, `test_accounts`."""
    return warehouse.engine.frame(population_query(ask(warehouse, spec, as_ofs, horizons_days=())))


def write_features(warehouse: Warehouse, spec: FeatureSpec, as_of: date) -> PartitionInfo:
    """The features of one day as partition `as_of` of table `features`, Parquet to Parquet; skipped when current."""
    question = ask(warehouse, spec, [as_of], horizons_days=())
    partition, wanted = {"as_of": str(as_of)}, features_fingerprint(question)
    with warehouse.writing(TABLE) as writer:
        if warehouse.fingerprint_of(TABLE, partition) == wanted:
            return next(info for info in warehouse.partitions(TABLE) if info.partition == partition)
        query = feature_query(question)
        names = [identifier(name) for name in warehouse.engine.columns(query) if name != "as_of"]
        rows = f"SELECT {', '.join(names)} FROM ({query})"
        return writer.put(partition, rows, order_by=["user_id"], fingerprint=wanted)


def export_features(warehouse: Warehouse, spec: FeatureSpec, as_ofs: Sequence[date], *, out: Path) -> int:
    """Write features without labels into one Parquet file; the number of rows. The file appears whole or not at all."""
    return _export(warehouse, feature_query(ask(warehouse, spec, as_ofs, horizons_days=())), out=out)


def export_training_set(warehouse: Warehouse, spec: FeatureSpec, as_ofs: Sequence[date], *, out: Path) -> int:
    """Write a training set into one Parquet file; the number of rows. The file appears whole or not at all."""
    question = ask(warehouse, spec, as_ofs, horizons_days=spec.labels.horizons_days)
    return _export(warehouse, training_query(question), out=out)


def _export(warehouse: Warehouse, query: str, *, out: Path) -> int:
    staged = out.with_name(f".{out.name}.{uuid4().hex}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        kinds = warehouse.engine.columns(query)
        rows = warehouse.engine.copy(query, kinds=kinds, order_by=KEYS, to=staged, metadata={})
        if staged.is_dir():
            _gather(staged)
        staged.replace(out)
    except OSError as fault:
        if isinstance(fault, SojournError):
            raise
        raise UnreadableSource(
            f"{out} cannot be written: {fault.strerror}. Choose another place with --out."
        ) from fault
    finally:
        if staged.exists():
            remove(staged)
    return rows


def _gather(folder: Path) -> None:
    """Put one sorted file in the place of a folder of files, which is what Spark writes."""
    aside, engine = folder.with_name(f"{folder.name}.parts"), DuckDBEngine()
    folder.replace(aside)
    try:
        rows = f"SELECT * FROM {engine.scan([str(file) for file in parquet_files(aside)], hive_types={})}"
        engine.copy(rows, kinds=engine.columns(rows), order_by=KEYS, to=folder, metadata={})
    finally:
        remove(aside)


def features_fingerprint(question: Question) -> str:
    """The fingerprint of the features as of a day: what was asked, and all that was known of every user before it."""
    [as_of] = question.as_ofs
    found = question.found
    days = f"{found.definition.fingerprint} {found.input_of(date.min, as_of)}"
    beside = [USERS]
    if question.known is not None:
        beside.append(SUPERSEDED)
        days = f"{days} {_former(question.warehouse, as_of)}"
    users = (info.fingerprint for table in beside for info in question.warehouse.partitions(table))
    # Labels do not change features, so they are not part of what was asked.
    asked = json.dumps(question.spec.model_dump(mode="json", exclude={"labels"}), sort_keys=True)
    return fingerprint("features", HABITS, asked, days, *users)


def _former(warehouse: Warehouse, as_of: date) -> str:
    """A fingerprint of the versions of events that were superseded on days before this one."""
    days = warehouse.partitions("superseded", keep=lambda place: place["day"] < str(as_of))
    return fingerprint("former", *(f"{each.partition['day']} {each.fingerprint}" for each in days))
