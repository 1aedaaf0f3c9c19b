"""The BG/BB process: the published parameters, known ones recovered, and every formula beside a slow sum."""

from math import exp, lgamma

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput
from sojourn.lifetime import ActivitySpec, ProcessActivity
from sojourn.lifetime.retention.process import NAMES, active_chance, alive_chance, fit_bgbb, histories, log_likelihood

# Donations of 11,104 people on 6 occasions: Fader, Hardie and Shang (2010), table 2: x, t_x, people. Their estimates
# (table 3): alpha 1.204, beta .750, gamma .657, delta 2.783, log-likelihood -33,225.6.
DONATIONS = """6 6 1203 5 6 728 4 6 512 3 6 357 2 6 234 1 6 129 5 5 335 4 5 284 3 5 225 2 5 173 1 5 119 4 4 240 3 4 181
2 4 155 1 4 78 3 3 322 2 3 255 1 3 129 2 2 613 1 2 277 1 1 1091 0 0 3464"""
PARAMETERS = {"alpha": 1.2, "beta": 0.75, "gamma": 0.66, "delta": 2.78}


def donations() -> tuple[np.ndarray, ...]:
    cells = np.array(DONATIONS.split(), dtype=float).reshape(-1, 3)
    x, t_x = (np.repeat(cells[:, at], cells[:, 2].astype(int)) for at in (0, 1))
    return x, t_x, np.full(len(x), 6.0)


def beta_of(a: float, b: float) -> float:
    return exp(lgamma(a) + lgamma(b) - lgamma(a + b))


def slow_likelihood(x: int, t_x: int, n: int) -> float:
    """Equation (5), term by term."""
    a, b, g, d = PARAMETERS.values()
    scale = beta_of(a, b) * beta_of(g, d)
    found = beta_of(a + x, b + n - x) * beta_of(g, d + n)
    for i in range(n - t_x):
        found += beta_of(a + x, b + t_x - x + i) * beta_of(g + 1, d + t_x + i)
    return found / scale


def test_published_parameters_come_out():
    found, likelihood = fit_bgbb(*donations())
    published = {"alpha": 1.204, "beta": 0.750, "gamma": 0.657, "delta": 2.783}
    assert found == pytest.approx(published, abs=1e-3)
    assert likelihood == pytest.approx(-33_225.6, abs=0.05)


history = st.integers(0, 12).flatmap(
    lambda n: st.integers(0, n).flatmap(
        lambda last: st.tuples(st.integers(min(last, 1), last), st.just(last), st.just(n))
    )
)


@given(history)
@settings(max_examples=60, deadline=None)
def test_the_likelihood_is_the_slow_sum_and_chances_follow_from_it(one):
    x, t_x, n = (np.array([float(part)]) for part in one)
    parameters = np.array([PARAMETERS[name] for name in NAMES])
    assert exp(log_likelihood(parameters, x, t_x, n)[0]) == pytest.approx(slow_likelihood(*one))
    alive = alive_chance(PARAMETERS, x, t_x, n)[0]
    active = active_chance(PARAMETERS, x, t_x, n, ahead=np.arange(1.0, 6))[0]
    assert 0 < active[0] < alive <= 1
    assert (np.diff(active) < 0).all()
    # Active tomorrow = the likelihood of the history that goes on with an active day, over that of the history.
    goes_on = slow_likelihood(one[0] + 1, one[2] + 1, one[2] + 1)
    assert active[0] == pytest.approx(goes_on / slow_likelihood(*one))


def test_probabilities_of_all_histories_sum_to_one():
    """All ways to be active in 5 days, counted by (x, t_x)."""
    total, n = slow_likelihood(0, 0, 5), 5
    for t_x in range(1, n + 1):
        for x in range(1, t_x + 1):
            ways = np.prod(np.arange(t_x - x + 1, t_x)) / np.prod(np.arange(1, x)) if x > 1 else 1.0
            total += ways * slow_likelihood(x, t_x, n)
    assert total == pytest.approx(1)


def test_known_parameters_are_recovered():
    rng = np.random.default_rng(4)
    users, n = 6000, 40
    rate, leave = rng.beta(1.0, 4.0, users), rng.beta(0.8, 12.0, users)
    lasts = rng.geometric(leave) - 1
    days = np.arange(1, n + 1)
    active = (days <= lasts[:, None]) & (rng.random((users, n)) < rate[:, None])
    x, t_x = active.sum(axis=1).astype(float), (active * days).max(axis=1).astype(float)
    found, _ = fit_bgbb(x, t_x, np.full(users, float(n)))
    assert found["alpha"] / (found["alpha"] + found["beta"]) == pytest.approx(0.2, rel=0.05)
    assert found["gamma"] / (found["gamma"] + found["delta"]) == pytest.approx(0.8 / 12.8, rel=0.15)


def test_histories_count_from_the_first_day():
    table = pl.DataFrame(
        {
            "active_days_all": [1, 3, 0],
            "recency_days": [10, 2, None],
            "tenure_days": [10, 10, 4],
            "user_id": list("abc"),
        }
    )
    x, t_x, n = histories(table)
    assert x.tolist() == [0, 2, 0]
    assert t_x.tolist() == [0, 8, 0]
    assert n.tolist() == [9, 9, 3]


def test_silence_lowers_the_chance_to_be_alive():
    table = pl.DataFrame(
        {"user_id": list("abc"), "active_days_all": [5, 5, 5], "recency_days": [1, 10, 25], "tenure_days": [30, 30, 30]}
    )
    model = ProcessActivity(ActivitySpec())
    model.parameters_, model.log_likelihood_ = {"alpha": 1.0, "beta": 4.0, "gamma": 0.8, "delta": 12.0}, 0.0
    alive = model.alive_prob(table)["alive_prob"].to_list()
    assert alive == sorted(alive, reverse=True)
    assert alive[0] > 0.9 > 0.3 > alive[2]


def test_nobody_active_again_is_refused():
    table = pl.DataFrame(
        {"user_id": [f"u{n}" for n in range(30)], "active_days_all": 1, "recency_days": 9, "tenure_days": 9}
    )
    with pytest.raises(BadInput, match="no user was active on a second day"):
        ProcessActivity().fit(table)
