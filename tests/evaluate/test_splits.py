"""Splits: no label is ever seen too early, and the fingerprint knows exactly which rows were judged."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sojourn.core import BadInput, BadSpec, EmptyInput, MissingColumn
from sojourn.evaluate import Fold, Split, SplitSpec, as_of_grid, split_fingerprint, time_split

START = date(2017, 1, 1)
offsets = st.lists(st.integers(0, 800), min_size=1, max_size=40)


def days(*numbers: int) -> list[date]:
    return [START + timedelta(days=number) for number in numbers]


def label_end(as_of: date, split: Split) -> date:
    return as_of + timedelta(days=split.horizon_days)


def split_or_none(as_ofs, spec) -> Split | None:
    try:
        return time_split(as_ofs, spec=spec)
    except BadInput:
        return None


@given(offsets, st.integers(1, 120), st.integers(1, 3), st.integers(0, 3))
def test_no_label_window_ends_after_the_next_stage_begins(numbers, horizon_days, folds, early_stop):
    spec = SplitSpec(horizon_days=horizon_days, folds=folds, early_stop=early_stop)
    split = split_or_none(days(*numbers), spec)
    assume(split is not None)
    assert split is not None
    for fold in split.folds:
        judged_on = fold.early_stop or (fold.test,)
        assert all(label_end(day, split) <= min(judged_on) for day in fold.train)
        assert all(label_end(day, split) <= fold.test for day in fold.early_stop)
        assert len(fold.early_stop) <= early_stop
        assert fold.train
    for earlier, later in zip(split.folds, split.folds[1:], strict=False):
        assert label_end(earlier.test, split) <= later.test
    assert split.final.test == max(days(*numbers))
    assert len(split.folds) == folds


@given(offsets, st.integers(1, 120), st.randoms())
def test_order_and_repeats_of_as_of_dates_do_not_matter(numbers, horizon_days, random):
    spec = SplitSpec(horizon_days=horizon_days)
    shuffled = [*numbers, numbers[0]]
    random.shuffle(shuffled)
    assert split_or_none(days(*shuffled), spec) == split_or_none(days(*numbers), spec)


@given(offsets, st.integers(1, 120), st.integers(1, 3))
def test_a_split_is_refused_only_where_the_obvious_search_finds_none(numbers, horizon_days, folds):
    found = split_or_none(days(*numbers), SplitSpec(horizon_days=horizon_days, folds=folds))
    chain = [max(numbers)]  # the longest chain of tests, and one training date before it, by brute force
    while len(chain) <= folds and (earlier := [n for n in numbers if n + horizon_days <= chain[-1]]):
        chain.append(max(earlier))
    assert (found is not None) == (len(chain) == folds + 1)


def test_early_stopping_gives_way_where_history_has_no_room_for_it():
    grid = as_of_grid(START, end_day=date(2018, 1, 1), horizon_days=90, history_days=30)
    first, last = time_split(grid, spec=SplitSpec(horizon_days=90)).folds
    assert first.early_stop == ()
    assert last.early_stop == (date(2017, 7, 5),)
    assert last.test == date(2017, 10, 3)


def test_known_at_gives_every_date_whose_label_has_ended():
    split = time_split(days(0, 30, 60, 90), spec=SplitSpec(horizon_days=30))
    assert split.known_at(split.final.test) == tuple(days(0, 30, 60))
    assert split.selection == split.folds[:1]


def test_splits_survive_json():
    split = time_split(days(0, 30, 60, 90), spec=SplitSpec(horizon_days=30))
    assert Split.from_json(split.to_json()) == split


@given(st.integers(0, 500), st.integers(1, 90), st.integers(1, 60), st.integers(1, 40))
def test_every_as_of_date_of_the_grid_has_its_history_and_its_whole_label(length, horizon, step, history):
    end = START + timedelta(days=length)
    try:
        grid = as_of_grid(START, end_day=end, horizon_days=horizon, step_days=step, history_days=history)
    except BadInput:
        assert length < horizon + history
        return
    assert all(START + timedelta(days=history) <= day <= end - timedelta(days=horizon) for day in grid)
    assert grid[-1] == end - timedelta(days=horizon)
    assert grid[0] - timedelta(days=step) < START + timedelta(days=history)


TABLE = pl.DataFrame({"user_id": ["a", "b", "a"], "as_of": days(60, 60, 30), "spend": [1.0, 2.0, 3.0]})
SPLIT = time_split(days(0, 30, 60), spec=SplitSpec(horizon_days=30))


@given(st.permutations(range(3)))
def test_the_fingerprint_does_not_see_row_order(order):
    assert split_fingerprint(TABLE[list(order)], split=SPLIT) == split_fingerprint(TABLE, split=SPLIT)


def test_the_fingerprint_sees_rows_days_horizon_and_folds():
    other_folds = time_split(days(0, 30, 60), spec=SplitSpec(horizon_days=30, folds=1))
    other_horizon = time_split(days(0, 30, 60), spec=SplitSpec(horizon_days=29))
    other_days = time_split(days(0, 30, 60, 61), spec=SplitSpec(horizon_days=30))
    prints = {
        split_fingerprint(TABLE, split=SPLIT),
        split_fingerprint(TABLE[:2], split=SPLIT),
        split_fingerprint(pl.concat([TABLE, TABLE[:1]]), split=SPLIT),
        split_fingerprint(TABLE.with_columns(user_id=pl.Series(["a", "b", "c"])), split=SPLIT),
        *(split_fingerprint(TABLE, split=split) for split in (other_folds, other_horizon, other_days)),
    }
    assert len(prints) == 7


def test_the_fingerprint_reads_only_keys():
    changed = TABLE.with_columns(spend=pl.lit(0.0))
    assert split_fingerprint(changed, split=SPLIT) == split_fingerprint(TABLE, split=SPLIT)


def test_neighbouring_keys_are_not_run_together():
    one = pl.DataFrame({"user_id": ["ab"], "item": ["c"]})
    two = pl.DataFrame({"user_id": ["a"], "item": ["bc"]})
    keys = ("user_id", "item")
    assert split_fingerprint(one, split=SPLIT, keys=keys) != split_fingerprint(two, split=SPLIT, keys=keys)


def test_history_shorter_than_the_horizon_says_how_many_days_there_are_and_are_needed():
    with pytest.raises(BadInput) as fault:
        as_of_grid(START, end_day=date(2017, 2, 10), horizon_days=90)
    assert str(fault.value) == (
        "evaluate.as_of_grid: the log has 40 days (2017-01-01 to 2017-02-10, end excluded), but a horizon of 90 days "
        "after 1 of history needs 91. Use a shorter horizon, or bring a longer log."
    )


def test_as_of_dates_that_span_too_little_say_how_many_days_there_are_and_are_needed():
    with pytest.raises(BadInput) as fault:
        time_split(days(0, 30, 100), spec=SplitSpec(horizon_days=90))
    assert str(fault.value) == (
        "evaluate.time_split: 2 folds with a horizon of 90 days need as-of dates that span 180 days and a log of 270; "
        "these span 100 days (2017-01-01 to 2017-04-11). Use a shorter horizon, fewer folds, or a longer log."
    )


def test_as_of_dates_too_far_apart_say_so():
    with pytest.raises(BadInput, match=r"the 3 as-of dates .* lie too far apart for 2 folds of 90 days\. Add dates"):
        time_split(days(0, 100, 181), spec=SplitSpec(horizon_days=90))


def test_no_as_of_dates_at_all_is_refused():
    with pytest.raises(BadInput, match=r"got no as-of dates\. Make some: as_of_grid"):
        time_split([], spec=SplitSpec(horizon_days=30))


def test_a_hand_made_fold_that_leaks_is_refused():
    with pytest.raises(BadSpec, match="label window of 2017-01-31 ends on 2017-03-02, after the next as-of date"):
        Fold(horizon_days=30, train=tuple(days(0, 30)), early_stop=tuple(days(31)), test=days(90)[0])


def test_a_hand_made_split_whose_choice_saw_the_final_label_is_refused():
    folds = [Fold(horizon_days=30, train=tuple(days(0)), test=days(test)[0]) for test in (40, 50)]
    with pytest.raises(BadSpec, match="the test window of 2017-02-10 ends on 2017-03-12, after the next test"):
        Split(horizon_days=30, as_ofs=tuple(days(0, 40, 50)), folds=tuple(folds))
    with pytest.raises(BadSpec, match="every fold needs the horizon of the split, 20 days"):
        Split(horizon_days=20, as_ofs=tuple(days(0, 40)), folds=(folds[0],))


def test_a_fingerprint_of_nothing_or_of_missing_keys_is_refused():
    with pytest.raises(EmptyInput, match="table without rows"):
        split_fingerprint(TABLE[:0], split=SPLIT)
    with pytest.raises(MissingColumn, match="needs column 'user_id'"):
        split_fingerprint(TABLE.drop("user_id"), split=SPLIT)
    with pytest.raises(BadInput, match=r"found nulls in the keys \['user_id'\]"):
        split_fingerprint(TABLE.with_columns(user_id=pl.lit(None, dtype=pl.String)), split=SPLIT)
