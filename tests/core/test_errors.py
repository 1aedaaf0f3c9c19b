"""Every error is one class away from the base, and reads as a sentence."""

import inspect

import polars as pl
import pytest

import sojourn.core.errors as errors
from sojourn.core import MissingColumn, MissingExtra, SojournError, missing_columns, need, need_columns

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, SojournError)]


@pytest.mark.parametrize("error", [each for each in CLASSES if each is not SojournError])
def test_an_error_is_ours_and_a_built_in(error):
    ours, theirs = error.__mro__[1], [each for each in error.__mro__ if each.__module__ == "builtins"]
    assert issubclass(ours, SojournError)
    assert theirs[0] is not Exception


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_prints_as_its_sentence(error):
    assert str(error("What, where, how to mend.")) == "What, where, how to mend."


def test_a_missing_column_names_all_of_them_and_the_likely_rename():
    with pytest.raises(MissingColumn) as caught:
        need_columns(pl.DataFrame({"user": [1], "tss": [2]}), ["user_id", "ts"], where="rollups.build")
    assert str(caught.value) == (
        "rollups.build needs columns 'user_id', 'ts'; the table has ['user', 'tss']. "
        "Rename it first: table.rename({'user': 'user_id', 'tss': 'ts'})"
    )


def test_a_missing_column_without_a_likely_name_says_so():
    assert str(missing_columns("x", missing=["amount"], found=["q"])).endswith("Add it, or map another column to it.")


def test_a_missing_library_names_the_feature_and_the_line_to_install():
    with pytest.raises(
        MissingExtra, match=r"the Spark engine needs the library 'no_such_lib'.*pip install 'sojourn\[spark\]'"
    ):
        need("no_such_lib.sub", extra="spark", for_="the Spark engine")
