"""Scores of distributions: equal to integrals, uniform where predictions are true, mass at zero included."""

import numpy as np
import pytest

from sojourn.core import BadInput
from sojourn.evaluate import coverage_by_decile, crps, level_grid, pit_distance, randomised_pit


def test_crps_is_the_integral_over_thresholds():
    rng = np.random.default_rng(0)
    truth = rng.gamma(2, 3, 20)
    quantiles = np.sort(rng.gamma(2, 3, (20, 400)), axis=1)
    grid = np.linspace(-1, 60, 60_001)
    for row in range(20):
        share = np.searchsorted(quantiles[row], grid, side="right") / 400
        slow = np.sum((share - (grid >= truth[row])) ** 2) * (grid[1] - grid[0])
        assert crps(truth, quantiles)[row] == pytest.approx(slow, abs=0.02)


def test_places_are_uniform_where_predictions_are_true_even_with_a_mass_at_zero():
    rng = np.random.default_rng(1)
    chance, scale = rng.random(4_000), rng.gamma(2, 3, 4_000)
    truth = np.where(rng.random(4_000) < chance, rng.exponential(scale), 0.0)
    levels = level_grid(99)[None, :]
    inside = np.clip((levels - (1 - chance[:, None])) / chance[:, None], 0, 1 - 1e-12)
    quantiles = np.where(levels <= 1 - chance[:, None], 0.0, -scale[:, None] * np.log1p(-inside))
    pit = randomised_pit(truth, quantiles)
    assert pit_distance(pit) < 1.36 / np.sqrt(4_000) + 0.01
    assert pit_distance(randomised_pit(truth, 0.5 * quantiles)) > 0.1
    assert crps(truth, quantiles).mean() < crps(truth, 0.5 * quantiles).mean()


def test_coverage_counts_by_tenth_of_the_prediction():
    truth = np.arange(100.0)
    found = coverage_by_decile(truth, low=truth - 1, high=np.where(truth < 90, truth + 1, truth - 0.5), predicted=truth)
    assert found["decile"].to_list() == [None, *range(1, 11)]
    assert found["covered"].to_list() == [0.9, 0.0, *[1.0] * 9]
    assert found["rows"].to_list() == [100, *[10] * 10]


def test_quantiles_that_fall_or_do_not_fit_are_refused():
    with pytest.raises(BadInput, match="must rise along each row"):
        crps([1.0], [[2.0, 1.0]])
    with pytest.raises(BadInput, match=r"\(rows, levels\) with 1 rows; their shape is \(2, 1\)"):
        randomised_pit([1.0], [[2.0], [1.0]])
