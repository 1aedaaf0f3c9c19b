"""The one promise that everything else rests on: a held-out prediction has never seen the user."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from sojourn.core import UnreadableSource
from sojourn.lifetime import BoostSpec
from sojourn.lifetime._boost import Ensemble, Rows, cross_fit, grown_once, user_groups

BOOST = BoostSpec(rounds=60, groups=4, min_leaf_rows=1, leaves=16, row_share=1.0, feature_share=1.0)
LOSS = {"objective": "regression"}


def rows_of(seed: int, *, users: int = 80, per_user: int = 5) -> Rows:
    """Each user is a number, and has a secret: noise that only that number tells."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), per_user)
    secret = rng.normal(size=users)[user]
    group = user_groups(pl.Series("user_id", user.astype(str)), boost=BOOST)
    return Rows(user[:, None].astype(float), secret + 0.01 * rng.normal(size=len(user)), group)


def test_all_rows_of_a_user_are_in_one_group_and_groups_are_of_equal_size():
    users = pl.Series("user_id", [f"u{n % 41}" for n in range(400)])
    found = pl.DataFrame({"user": users, "group": user_groups(users, boost=BOOST)})
    per_user = found.group_by("user").agg(pl.col("group").n_unique())
    assert per_user["group"].to_list() == [1] * 41
    sizes = found.unique()["group"].value_counts()["count"]
    assert np.ptp(sizes.to_numpy()) <= 1


def test_held_out_predictions_know_nothing_of_the_user():
    rows = rows_of(0)
    # Without early stopping, which would end the learning of noise at once.
    ensemble = cross_fit(rows, objective=LOSS, boost=BOOST.with_changes(patience=60))
    seen = np.corrcoef(ensemble.raw(rows.matrix), rows.target)[0, 1]
    held = np.corrcoef(ensemble.held_out(rows), rows.target)[0, 1]
    assert seen > 0.5
    assert abs(held) < 0.3


def test_early_stopping_ends_the_learning_of_noise():
    assert cross_fit(rows_of(1), objective=LOSS, boost=BOOST.with_changes(patience=5)).rounds < 20


def test_the_number_of_workers_changes_nothing(monkeypatch):
    rows = rows_of(2)
    alone = cross_fit(rows, objective=LOSS, boost=BOOST)
    monkeypatch.setattr("sojourn.lifetime._boost._workers", lambda jobs: 1)
    again = cross_fit(rows, objective=LOSS, boost=BOOST)
    assert np.array_equal(alone.raw(rows.matrix), again.raw(rows.matrix))


def test_slices_change_nothing(monkeypatch):
    rows = rows_of(3)
    ensemble = cross_fit(rows, objective=LOSS, boost=BOOST)
    whole = ensemble.raw(rows.matrix)
    monkeypatch.setattr("sojourn.lifetime._boost.SLICE_ROWS", 7)
    assert np.array_equal(ensemble.raw(rows.matrix), whole)
    assert ensemble.raw(rows.matrix[:0]).shape == (0,)


def test_saving_and_loading_is_the_identity(tmp_path):
    rows = rows_of(4)
    ensemble = cross_fit(rows, objective=LOSS, boost=BOOST)
    ensemble.save(tmp_path, name="trees")
    again = Ensemble.load(tmp_path, name="trees", groups=4, rounds=ensemble.rounds)
    assert np.array_equal(again.raw(rows.matrix), ensemble.raw(rows.matrix))
    assert np.array_equal(again.held_out(rows), ensemble.held_out(rows))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UnreadableSource, match=r"cannot read .*trees_0.txt: No such file.*Was the model saved there"):
        Ensemble.load(tmp_path, name="trees", groups=1, rounds=1)


def test_effects_add_up_to_the_score():
    rows = rows_of(5)
    ensemble = cross_fit(rows, objective=LOSS, boost=BOOST)
    spread = ensemble.effects(rows.matrix).sum(axis=1) - ensemble.raw(rows.matrix)
    assert np.ptp(spread) < 1e-9


def test_what_only_one_group_has_is_learned_all_the_same():
    rows = rows_of(6)
    lone = Rows(rows.matrix, np.where(rows.group == 2, 1.0, 0.0), rows.group)
    ensemble = cross_fit(lone, objective={"objective": "tweedie"}, boost=BOOST)
    assert np.isfinite(ensemble.raw(lone.matrix)).all()
    assert np.isfinite(cross_fit(lone.only(rows.group == 2), objective=LOSS, boost=BOOST).raw(lone.matrix)).all()


def test_trees_asked_for_twice_grow_once_and_others_do_not():
    """The slow twin is `cross_fit` outside of the block: the same trees, grown again."""
    rows, other = rows_of(6), {**LOSS, "objective": "regression_l1"}
    with grown_once():
        first = cross_fit(rows, objective=LOSS, boost=BOOST)
        assert cross_fit(replace(rows, matrix=rows.matrix.copy()), objective={**LOSS}, boost=BOOST) is first
        changed = [
            cross_fit(rows, objective=other, boost=BOOST),
            cross_fit(rows, objective=LOSS, boost=BOOST.with_changes(seed=1)),
            cross_fit(replace(rows, target=rows.target + 1), objective=LOSS, boost=BOOST),
            cross_fit(replace(rows, weight=np.ones(len(rows.target))), objective=LOSS, boost=BOOST),
            cross_fit(replace(rows, start=np.ones(len(rows.target))), objective=LOSS, boost=BOOST),
            cross_fit(replace(rows, group=1 - rows.group % 2), objective=LOSS, boost=BOOST),
        ]
        assert len({id(each) for each in (first, *changed)}) == 7
    again = cross_fit(rows, objective=LOSS, boost=BOOST)
    assert again is not first
    assert np.array_equal(again.raw(rows.matrix), first.raw(rows.matrix))
