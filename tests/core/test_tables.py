"""A table is checked at the door, and all of its faults are told."""

import pandera.polars as pa
import polars as pl
import pytest

from sojourn.core import BadInput, EmptyInput, MissingColumn, check_table, need_rows


class Orders(pa.DataFrameModel):
    user_id: str
    amount: float = pa.Field(ge=0)


def test_a_good_table_comes_back_unchanged():
    table = pl.DataFrame({"user_id": ["a"], "amount": [1.0]})
    assert check_table(table, Orders, where="test").equals(table)


def test_a_fault_names_column_check_and_value():
    table = pl.DataFrame({"user_id": ["a", "b"], "amount": [1.0, -2.0]})
    with pytest.raises(
        BadInput, match=r"test got a table that is not a Orders: column 'amount' fails .* \(found -2.0\)"
    ):
        check_table(table, Orders, where="test")


def test_a_missing_column_comes_first():
    with pytest.raises(MissingColumn, match="test needs column 'user_id'"):
        check_table(pl.DataFrame({"user": ["a"], "amount": [-1.0]}), Orders, where="test")


def test_an_empty_table_is_refused_with_the_mend():
    with pytest.raises(EmptyInput, match=r"lifetime.fit got a table without rows. Ingest first."):
        need_rows(pl.DataFrame({"a": []}), where="lifetime.fit", mend="Ingest first.")
