"""Learners of the effect: chosen where there is something to find, and rarely where there is not."""

import numpy as np
import pytest

from sojourn.effects import TreesSpec, UpliftSpec
from sojourn.effects._learners import Chosen, Lesson, _held_out_spreads, _tried, constant_effect, learn_effect
from sojourn.effects._trees import Binned, user_groups

SPEC = UpliftSpec(trees=TreesSpec(rounds=16, leaves=4, min_leaf_rows=50))


def lesson(seed: int, *, rows: int = 800, slope: float = 0.0) -> tuple[Lesson, Binned, np.ndarray]:
    """Rows of which the first of six covariates moves the effect by this slope, around an effect of 0.2."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(rows, 6))
    treated = (rng.random(rows) < 0.4).astype(float)
    outcome = rng.normal(size=rows) + treated * (0.2 + slope * codes[:, 0])
    expected = np.tile([0.0, 0.2], (rows, 1))
    user = np.arange(rows)
    found = Lesson.of(outcome=outcome, treated=treated, share=np.full(rows, 0.4), expected=expected, user=user)
    return found, Binned(codes, (), 0), user_groups(user, groups=5, seed=seed)


def chosen(seed: int, slope: float = 0.0) -> Chosen:
    found, binned, group = lesson(seed, slope=slope)
    return learn_effect(found, rows=np.arange(len(group)), group=group, binned=binned, spec=SPEC)[1]


def test_where_there_is_nothing_to_find_little_is_found():
    assert [chosen(seed).learner for seed in range(60)].count("constant") >= 54


def test_evidence_is_measured_in_its_own_standard_errors():
    spec = SPEC.with_changes(learners=("linear",))
    found = []
    for seed in range(150):
        mine, binned, group = lesson(seed)
        rows = np.arange(len(group))
        spread = _held_out_spreads(mine, rows=rows, group=group, binned=binned, spec=spec)["linear", 300.0]
        found.append(_tried(mine, rows, spread, Chosen("linear", 300.0)).evidence)
    assert np.std(found) == pytest.approx(1.0, abs=0.15)
    assert np.mean(found) == pytest.approx(0.0, abs=0.25)


def test_a_strong_difference_is_found_and_kept_whole_a_weak_one_is_shrunk():
    strong = chosen(1, slope=0.8)
    assert strong.learner != "constant"
    assert strong.shrink > 0.85
    shrunk = [each.shrink for each in (chosen(seed, slope=0.25) for seed in range(10)) if each.learner != "constant"]
    assert shrunk
    assert np.mean(shrunk) < strong.shrink


def test_the_constant_is_the_regression_of_surprise_on_pull():
    found, _, group = lesson(2)
    rows = np.arange(len(group))
    expected = np.linalg.lstsq(found.pull[:, None], found.surprise, rcond=None)[0][0]
    assert constant_effect(found, rows) == pytest.approx(expected)


def test_scores_are_the_doubly_robust_formula():
    found, _, _ = lesson(3, rows=50)
    rng = np.random.default_rng(3)
    codes = rng.normal(size=(50, 6))
    treated = rng.random(50) < 0.4
    outcome = rng.normal(size=50) + treated * (0.2 + 0.0 * codes[:, 0])
    for row in range(50):
        missed = (outcome[row] - 0.2) / 0.4 if treated[row] else -outcome[row] / 0.6
        assert found.score[row] == pytest.approx(0.2 + missed)
