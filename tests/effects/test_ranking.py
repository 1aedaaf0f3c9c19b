"""Qini and deciles: against loops, and by laws."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, MissingColumn
from sojourn.effects import RankingSpec, qini, uplift_deciles
from tests.effects.logs import ends

QUICK = RankingSpec(replicates=50, random_scores=20)


def ranked(seed: int, *, users: int = 400, skill: float = 1.0) -> pl.DataFrame:
    """Scores of mean 0.1 whose spread a prediction of this skill partly knows."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(0, 0.3, users)
    return pl.DataFrame(
        {
            "user_id": [f"u{number:04d}" for number in range(users)],
            "uplift_treated": skill * taste + rng.normal(0, 0.2, users),
            "score_treated": 0.1 + taste + rng.normal(0, 1.0, users),
        }
    )


def naive_qini(predicted: list[float], scores: list[float]) -> float:
    """Treat one after the other, from the highest prediction; users predicted alike share what they bring."""
    n = len(scores)
    alike: dict[float, list[float]] = {}
    for said, score in zip(predicted, scores, strict=True):
        alike.setdefault(said, []).append(score)
    means = {said: sum(found) / len(found) for said, found in alike.items()}
    gain, area = 0.0, 0.0
    for said in sorted(predicted, reverse=True):
        before = gain
        gain += means[said] / n
        area += (before + gain) / 2 / n
    return area - gain / 2


few = st.lists(st.tuples(st.integers(-3, 3), st.floats(-5, 5, allow_nan=False)), min_size=2, max_size=40)


@given(few)
def test_qini_is_the_area_that_a_loop_finds(rows):
    predicted, scores = [float(said) for said, _ in rows], [score for _, score in rows]
    table = pl.DataFrame(
        {"user_id": [str(at) for at in range(len(rows))], "uplift_treated": predicted, "score_treated": scores}
    )
    found = qini(table, spec=RankingSpec(replicates=10, random_scores=10))
    assert found.figures["qini"].value == pytest.approx(naive_qini(predicted, scores), abs=1e-12)
    assert found.curve["gain"][-1] == pytest.approx(sum(scores) / len(scores), abs=1e-12)
    assert found.figures["auuc"].value == pytest.approx(naive_qini(predicted, scores) + found.curve["gain"][-1] / 2)


def test_an_interval_of_resampled_users_is_that_of_tables_written_out():
    table = ranked(1, users=80)
    found = qini(table, spec=RankingSpec(replicates=60, random_scores=10, seed=4)).figures["qini"]
    rng = np.random.default_rng(4)
    draws = []
    for _ in range(60):
        rows = rng.integers(80, size=80)
        again = table[rows.tolist()]
        # The order is that of the whole table: folds and their ranks are not resampled.
        draws.append(naive_qini(again["uplift_treated"].to_list(), again["score_treated"].to_list()))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_a_skilful_order_is_found_and_a_random_one_is_not():
    skilful, blind = qini(ranked(2, users=3000), spec=QUICK), qini(ranked(2, users=3000, skill=0.0), spec=QUICK)
    low, value, _ = ends(skilful.figures["qini"])
    assert low > 0
    assert value > ends(skilful.random)[2]
    low, _, high = ends(blind.figures["qini"])
    assert low < 0 < high
    assert abs(ends(blind.random)[1]) < 0.005


def test_the_interval_of_a_blind_order_holds_zero_as_often_as_promised():
    inside = []
    for seed in range(100):
        found = qini(ranked(seed, users=200, skill=0.0), spec=RankingSpec(replicates=100, random_scores=10))
        low, _, high = ends(found.figures["qini"])
        inside.append(low <= 0 <= high)
    assert 0.88 <= np.mean(inside) <= 1.0


def test_where_all_are_predicted_alike_there_is_nothing_to_gain():
    table = ranked(3).with_columns(uplift_treated=pl.lit(0.1))
    found = qini(table, spec=QUICK)
    assert found.figures["qini"].value == pytest.approx(0, abs=1e-12)
    assert found.figures["qini"].high == pytest.approx(0, abs=1e-12)
    assert uplift_deciles(table).height == 1


def test_the_level_of_a_fold_changes_nothing():
    table = ranked(4).with_columns(fold=pl.int_range(pl.len()) % 4)
    moved = table.with_columns(uplift_treated=pl.col("uplift_treated") - 10 * pl.col("fold"))
    assert_frame_equal(qini(moved, spec=QUICK).curve, qini(table, spec=QUICK).curve, check_exact=True)
    assert_frame_equal(
        uplift_deciles(moved).drop("predicted_mean"), uplift_deciles(table).drop("predicted_mean"), check_exact=True
    )


def test_the_order_of_rows_changes_nothing():
    table = ranked(5)
    shuffled = table.sample(fraction=1, shuffle=True, seed=3)
    assert_frame_equal(qini(shuffled, spec=QUICK).table(), qini(table, spec=QUICK).table(), check_exact=True)


def test_deciles_hold_a_tenth_each_and_their_means_are_those_of_a_loop():
    table = ranked(6)
    found = uplift_deciles(table)
    assert found["decile"].to_list() == list(range(1, 11))
    assert found["rows"].to_list() == [40] * 10
    best = sorted(table.to_dicts(), key=lambda row: -row["uplift_treated"])[:40]
    scores = [row["score_treated"] for row in best]
    assert found["effect"][0] == pytest.approx(np.mean(scores))
    assert found["high"][0] - found["effect"][0] == pytest.approx(1.96 * np.std(scores, ddof=1) / 40**0.5, rel=1e-3)


def test_rows_of_one_user_make_intervals_wider_not_narrower():
    table = ranked(7)
    twice = pl.concat([table, table])
    once, both = uplift_deciles(table), uplift_deciles(twice)
    assert both["effect"].to_list() == pytest.approx(once["effect"].to_list())
    assert both["high"].to_list() == pytest.approx(once["high"].to_list())


def test_what_is_missing_is_said():
    with pytest.raises(MissingColumn, match=r"effects\.qini needs column 'score_push'"):
        qini(ranked(1).rename({"uplift_treated": "uplift_push"}), arm="push")
    with pytest.raises(BadInput, match="column 'uplift_treated' has values that are no number"):
        qini(ranked(1).with_columns(uplift_treated=pl.lit(float("nan"))))
