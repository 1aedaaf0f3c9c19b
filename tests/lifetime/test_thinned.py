"""Of very many rows some users' are learned from: whole users, the same ones in every table; tests keep everybody."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.lifetime import LifetimeSpec, _thinned, compare_models, tables
from sojourn.lifetime._thinned import places, thinned, thinned_dates
from sojourn.lifetime.tables import comparison_table
from tests.lifetime.test_study import filled
from tests.lifetime.worlds import FAST

rows = st.lists(st.integers(0, 40).map("u{}".format), min_size=1, max_size=200)


@given(rows, st.integers(1, 250))
@settings(max_examples=80, deadline=None)
def test_whole_users_stay_as_many_as_fit(users, most):
    """The slow twin: users one by one in the order of their places, until one does not fit."""
    table = pl.DataFrame({"user_id": users, "row": range(len(users))})
    found = thinned(table, most=most)
    kept: set[str] = set()
    for _, user in sorted(zip(places(sorted({*users})), sorted({*users}), strict=True)):
        if len(users) > most and sum(each in kept or each == user for each in users) > most:
            break
        kept.add(user)
    assert found.equals(table.filter(pl.col("user_id").is_in(kept)))
    assert found.height <= max(most, 0)


@given(rows, rows, st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_users_that_stay_come_before_those_that_go_in_every_table(one, other, most):
    for users in (one, other):
        stay = {*thinned(pl.DataFrame({"user_id": users}), most=most)["user_id"]}
        go = {*users} - stay
        assert max(places(stay), default=0) < min(places(go), default=1) or not go


def test_places_are_even_and_the_same_everywhere():
    found = places([f"user-{n}" for n in range(20_000)])
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    assert (found < 0.1).mean() == pytest.approx(0.1, abs=0.01)
    assert places(["a"])[0] == pytest.approx(int("433911", 16) / 2**24, abs=2**-24)


def test_dates_are_thinned_to_what_folds_take():
    days = [d for d in range(4) for _ in range(1000)]
    table = pl.DataFrame({"user_id": [f"u{n % 1000}" for n in range(4000)], "as_of": days})
    found = thinned_dates(table, dates=4, most=1600)
    assert found["user_id"].n_unique() == pytest.approx(500, rel=0.15)
    assert found.group_by("as_of").len()["len"].n_unique() == 1
    assert {*thinned(found, most=1600)["user_id"]} == {*thinned(table, most=1600)["user_id"]}
    assert thinned_dates(table, dates=4, most=4000).equals(table)


def test_a_bench_of_many_users_learns_from_some_and_is_tested_on_all(tmp_path, monkeypatch):
    warehouse = filled(tmp_path / "warehouse", users=150, days=120)
    spec = LifetimeSpec(
        horizons_days=(14,), churn_days=14, step_days=7, train_as_ofs=3, folds=2, replicates=20, boost=FAST
    )
    whole, _ = comparison_table(warehouse, spec=spec)
    monkeypatch.setattr(thinned, "__kwdefaults__", {"most": 240})
    monkeypatch.setattr(thinned_dates, "__kwdefaults__", {"most": 240})
    monkeypatch.setattr(tables, "DATES_AT_ONCE", 2)
    less, _ = comparison_table(warehouse, spec=spec)
    found = compare_models(warehouse, spec=spec, out=tmp_path / "out").comparisons[0]
    tested = {fold.fold.test for fold in (*found.choice.folds, found.final)}
    for day in whole["as_of"].unique():
        one, other = (table.filter(pl.col("as_of") == day) for table in (whole, less))
        assert one.equals(other) if day in tested else other.height < one.height
    held = vars(found.model)["held_out_"]
    assert held.height <= 240
    assert found.predictions.height == whole.filter(pl.col("as_of") == found.final.fold.test).height
    assert _thinned.MOST_ROWS == 60_000
