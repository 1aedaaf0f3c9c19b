"""Scoring through the warehouse gives what scoring in memory gives, on both engines, and is skipped when current."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput
from sojourn.features import SequenceSpec
from sojourn.lifetime import (
    Lifetime,
    predict_users,
    score_users,
)
from sojourn.warehouse import Warehouse
from sojourn.warehouse import engine as engines
from tests.lifetime.worlds import SCORED as SPEC


def stored(warehouse: Warehouse, as_of: str) -> pl.DataFrame:
    return warehouse.frame("predictions", only=[{"as_of": as_of}]).sort("user_id")


def test_the_table_holds_what_is_predicted_in_memory(app, model, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "MAPPED_ROWS", 64)  # many batches
    info = score_users(app, model=model)
    in_memory = predict_users(app, model=model, out=tmp_path).predictions.sort("user_id")
    found = stored(app, info.partition["as_of"])
    assert info.rows == in_memory.height
    assert_frame_equal(found.select(in_memory.columns), in_memory, check_dtypes=False)
    assert set(found["fingerprint"]) == {model.fingerprint_}
    assert model.columns() == in_memory.columns


def test_what_is_current_is_not_written_again(app, model):
    first = score_users(app, model=model)
    file = next(Path(app.root / "predictions").rglob("*.parquet"))
    before = file.stat().st_mtime_ns
    assert score_users(app, model=model) == first
    assert file.stat().st_mtime_ns == before


def test_spark_scores_to_the_same_numbers(app, model, spark):
    pytest.importorskip("pyspark")
    info = score_users(app, model=model)
    expected = stored(app, info.partition["as_of"])
    with app.writing("predictions") as writer:
        writer.drop(info.partition)
    on_spark = Warehouse.open(app.root, engine=spark)
    assert score_users(on_spark, model=model).rows == info.rows
    assert_frame_equal(stored(app, info.partition["as_of"]), expected, rel_tol=1e-12)
    with app.writing("predictions") as writer:
        writer.drop(info.partition)


def test_models_over_sequences_are_refused(app, model):
    other = Lifetime(SPEC.with_changes(sequences=SequenceSpec()))
    with pytest.raises(BadInput, match="these models read sequences"):
        score_users(app, model=other)
