"""Purchase processes: published parameters, integrals done slowly, gradients, simulated customers recovered."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.integrate import quad
from scipy.special import gammaln
from scipy.stats import beta as beta_law
from scipy.stats import gamma as gamma_law

from sojourn.core import BadInput, MissingColumn
from sojourn.events import ingest_cdnow
from sojourn.lifetime import GammaGamma, ProcessSpec, PurchaseProcess, rfm_table
from sojourn.lifetime._histories import Histories
from sojourn.lifetime.purchase_process import MODELS
from sojourn.warehouse import Warehouse
from tests.rollups.logs import Event, put_events

NAMES = list(MODELS)
# Fader and Hardie's CDNOW sample, calibrated on 39 weeks: BG/NBD and Pareto/NBD as in Fader, Hardie and Lee (2005),
# table 2, the log likelihoods too; gamma-gamma as in Fader and Hardie (2013), section 4.
PUBLISHED = {
    "bgnbd": ({"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}, -9582.4),
    "pareto_nbd": ({"r": 0.553, "alpha": 10.578, "s": 0.606, "beta": 11.669}, -9595.0),
}
THETA = {
    "bgnbd": (0.6, 5.0, 0.8, 2.4),
    "mbgnbd": (0.6, 5.0, 0.8, 2.4),
    "pareto_nbd": (0.7, 9.0, 0.6, 12.0),
}


def history(x: float, recency: float, age: float) -> Histories:
    return Histories(*(np.array([part], dtype=float) for part in (x, recency, age, 1)))


def slow_likelihood(name: str, theta: tuple[float, ...], x: float, t: float, age: float) -> Any:
    """What one customer's history is worth, over all chances or rates to leave and all rates to buy."""
    r, alpha, third, fourth = theta
    exactly: dict[str, Any] = {"limit": 300, "epsabs": 0, "epsrel": 1e-6}

    def bought(until: float) -> float:
        """The mean of rate^x e^(-rate until) over the rates of the population."""
        logs = gammaln(r + x) - gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + until)
        return float(np.exp(logs))

    def given(p: float) -> Any:
        if name == "mbgnbd":
            return (1 - p) ** x * ((1 - p) * bought(age) + p * bought(t))
        return (1 - p) ** x * bought(age) + (p * (1 - p) ** (x - 1) * bought(t) if x > 0 else 0.0)

    def alive_until(mu: float) -> Any:
        """Left at some moment between the last purchase and the end, or later than that."""
        left = quad(lambda y: mu * np.exp(-mu * y) * bought(y), t, age, **exactly)[0]
        return left + np.exp(-mu * age) * bought(age)

    if name == "pareto_nbd":
        law = gamma_law(third, scale=1 / fourth)
        return quad(lambda mu: alive_until(mu) * law.pdf(mu), 0, 4, points=(1e-4, 0.01), **exactly)[0]
    return quad(lambda p: given(p) * beta_law.pdf(p, third, fourth), 0, 1, **exactly)[0]


@pytest.fixture(scope="module")
def cdnow(real_data, tmp_path_factory) -> pl.DataFrame:
    folder = real_data / "cdnow"
    if not folder.is_dir():
        pytest.skip("SOJOURN_DATA has no folder cdnow")
    warehouse = Warehouse.create(tmp_path_factory.mktemp("cdnow") / "warehouse")
    ingest_cdnow(warehouse, folder=folder)
    table = rfm_table(warehouse, as_of=date(1997, 10, 1), where="event = 'purchase'")
    sample = (folder / "sample_customer_ids.txt").read_text().split()
    return table.filter(pl.col("user_id").is_in(sample))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(cdnow, name):
    model = PurchaseProcess(ProcessSpec(model=name)).fit(cdnow)
    parameters, log_likelihood = PUBLISHED[name]
    assert model.parameters_ == pytest.approx(parameters, abs=1e-3)
    assert model.log_likelihood_ == pytest.approx(log_likelihood, abs=0.05)
    assert model.customers_ == 2357


def test_the_value_of_a_purchase_is_as_published(cdnow):
    model = GammaGamma().fit(cdnow.filter(pl.col("frequency") > 0))
    assert model.parameters_ == pytest.approx({"p": 6.25, "q": 3.74, "v": 15.44}, abs=0.01)
    assert not model.is_tied_


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known", [(0, 0, 30), (1, 6, 30), (4, 29, 30), (3, 2, 38)])
def test_the_likelihood_is_the_integral_over_the_population(name, known):
    found, _ = MODELS[name].log_likelihood(np.array(THETA[name]), history(*known))
    # A constant that knows only x is left out nowhere: the likelihoods are equal, not just alike.
    assert np.exp(found[0]) == pytest.approx(slow_likelihood(name, THETA[name], *known), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_differences(name):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 40, 30).astype(float)
    age = rng.uniform(1, 300, 30)
    known = Histories(x, np.where(x > 0, age * rng.random(30), 0.0), age, np.ones(30))
    for theta in (np.array(THETA[name]), np.array([0.05, 40.0, 3.0, 0.4])):
        _, slopes = MODELS[name].log_likelihood(theta, known)
        for at in range(4):
            step = np.zeros(4)
            step[at] = 1e-6 * theta[at]
            up, down = (MODELS[name].log_likelihood(theta + sign * step, known)[0] for sign in (1, -1))
            np.testing.assert_allclose(slopes[:, at], (up - down) / (2 * step[at]), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("theta", [(0.05, 0.1, 0.02, 100.0), (5.0, 200.0, 3.0, 0.5), (0.01, 0.01, 5.0, 1000.0)])
@pytest.mark.parametrize("known", [(0, 0, 38.9), (200, 10, 365), (1, 0.1, 1000), (5, 364.99, 365)])
def test_the_pareto_integral_holds_at_extremes(theta, known):
    mpmath = pytest.importorskip("mpmath")
    from sojourn.lifetime._pareto_nbd import _gone

    r, alpha, s, beta = (mpmath.mpf(each) for each in theta)
    x, t, age = known

    def integrand(u):
        y = mpmath.exp(u) - alpha
        return (alpha + y) ** (1 - r - x) * (beta + y) ** -(s + 1)

    ends = mpmath.linspace(mpmath.log(alpha + t), mpmath.log(alpha + age), 300)
    exact = float(mpmath.log(mpmath.quad(integrand, ends)))
    assert _gone(np.array(theta), history(*known)).log[0] == pytest.approx(exact, abs=1e-7)


def customers(name: str, theta: tuple[float, ...], n: int, *, age: float, seed: int) -> list[list[float]]:
    """The moments of the purchases after the first, of customers who live as the model says, one by one."""
    rng, found = np.random.default_rng(seed), []
    r, alpha, third, fourth = theta
    for _ in range(n):
        rate = rng.gamma(r, 1 / alpha)
        p = rng.beta(third, fourth) if name != "pareto_nbd" else 0.0
        leaves = rng.exponential(1 / max(rng.gamma(third, 1 / fourth), 1e-12)) if name == "pareto_nbd" else np.inf
        moments, now = [], 0.0
        gone = name == "mbgnbd" and rng.random() < p
        while not gone:
            now += rng.exponential(1 / max(rate, 1e-12))
            if now > min(age, leaves):
                break
            moments.append(now)
            gone = rng.random() < p
        found.append(moments)
    return found


def summary(lives: list[list[float]], end: float) -> pl.DataFrame:
    seen = [[moment for moment in life if moment <= end] for life in lives]
    return pl.DataFrame(
        {
            "user_id": [f"u{n:05d}" for n in range(len(lives))],
            "frequency": [len(life) for life in seen],
            "recency_days": [life[-1] if life else 0.0 for life in seen],
            "age_days": [end] * len(lives),
        }
    )


@pytest.mark.parametrize("name", NAMES)
def test_known_parameters_and_futures_are_found_again(name):
    lives = customers(name, THETA[name], 6_000, age=80, seed=4)
    past = summary(lives, 40)
    model = PurchaseProcess(ProcessSpec(model=name, unit_days=1, horizon_days=40)).fit(past)
    for parameter, truth in zip(MODELS[name].names, THETA[name], strict=True):
        assert abs(model.parameters_[parameter] - truth) < 4 * model.errors_[parameter], parameter
    came = summary(lives, 80)["frequency"] - past["frequency"]
    predicted = model.predict(past)["purchases_40"]
    assert predicted.sum() == pytest.approx(came.sum(), rel=0.06)
    for lower in (0, 1, 3, 8):  # calibrated where much and where little is expected
        some = (past["frequency"] >= lower).arg_true()
        happened, told = came[some].to_numpy(), predicted[some].to_numpy()
        assert abs(told.mean() - happened.mean()) < 4 * happened.std() / np.sqrt(len(some)) + 0.03
    drawn = model.draw(past.head(300), horizon_days=40, draws=400, rng=np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=1), predicted.head(300), atol=0.35, rtol=0.25)
    assert drawn.mean() == pytest.approx(predicted.head(300).mean(), rel=0.03)


@pytest.mark.parametrize("name", ["bgnbd", "mbgnbd"])
@pytest.mark.parametrize("a_and_b", [(150.0, 600.0), (2e3, 8e3), (1e6, 4e6)])
def test_expectations_hold_where_all_drop_out_alike(name, a_and_b):
    theta = np.array([0.35, 0.76, *a_and_b])
    known = Histories(np.array([0.0, 1, 5, 60]), np.array([0.0, 20, 30, 38]), np.full(4, 39.0), np.ones(4))
    found = MODELS[name].expected(theta, known, 39.0) / MODELS[name].alive(theta, known)
    k = known.x + (name == "mbgnbd")
    p = np.random.default_rng(0).beta(a_and_b[0], a_and_b[1] + k, (100_000, 4))
    bought = (1 - ((0.76 + 39) / (0.76 + 39 + p * 39)) ** (0.35 + known.x)) / p
    np.testing.assert_allclose(found, bought.mean(axis=0), rtol=5e-4)


@pytest.mark.parametrize("name", NAMES)
def test_who_bought_lately_is_rather_alive_and_more_time_never_means_fewer_purchases(name):
    theta = dict(zip(MODELS[name].names, THETA[name], strict=True))
    model = PurchaseProcess(ProcessSpec(model=name))
    model.parameters_ = theta
    table = summary([[7.0 * t for t in range(1, 6)]] * 1, 400).with_columns(pl.lit(0.0).alias("recency_days"))
    looks = pl.concat([table.with_columns(recency_days=pl.lit(day)) for day in (10.0, 100.0, 300.0, 400.0)])
    found = model.expect(looks, horizon_days=90)
    assert found["alive_prob"].is_sorted()
    assert found["alive_prob"].is_between(0, 1).all()
    sums = [model.expect(looks, horizon_days=days)[f"purchases_{days}"] for days in (30, 90, 365, 3650)]
    assert all((later >= sooner).all() for sooner, later in pairwise(sums))


def test_like_histories_are_like_whatever_stands_beside_them():
    lives = customers("bgnbd", THETA["bgnbd"], 300, age=40, seed=1)
    table = summary(lives, 40)
    model = PurchaseProcess(ProcessSpec(model="bgnbd", unit_days=1)).fit(table)
    again = PurchaseProcess(ProcessSpec(model="bgnbd", unit_days=1)).fit(table.sample(fraction=1, shuffle=True, seed=2))
    assert again.parameters_ == pytest.approx(model.parameters_, rel=1e-9)
    assert_frame_equal(model.predict(table).head(7), model.predict(table.head(7)))


def test_spend_is_never_infinite_nor_negative():
    rng = np.random.default_rng(0)
    # So heavy a tail that the free fit has no mean worth the name.
    heavy = pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in range(500)],
            "frequency": rng.integers(1, 3, 500),
            "monetary_value": rng.pareto(0.7, 500) + 0.01,
        }
    )
    model = GammaGamma().fit(heavy)
    value = model.predict(heavy)["purchase_value"]
    assert value.is_finite().all()
    assert (value > 0).all()
    nobody = heavy.head(1).with_columns(monetary_value=pl.lit(None, dtype=pl.Float64))
    assert model.predict(nobody)["purchase_value"][0] < 3 * heavy["monetary_value"].to_numpy().mean()


def test_the_value_of_a_purchase_lies_between_its_own_and_that_of_all():
    rng = np.random.default_rng(5)
    n = rng.integers(1, 30, 3_000)
    scale = rng.gamma(4.0, 1 / 20.0, 3_000)
    mean = np.array([rng.gamma(6.0 * k) / k / each for k, each in zip(n, scale, strict=True)])
    table = pl.DataFrame({"user_id": [f"u{i}" for i in range(3_000)], "frequency": n, "monetary_value": mean})
    model = GammaGamma().fit(table)
    for name, truth in (("p", 6.0), ("q", 4.0), ("v", 20.0)):
        assert abs(model.parameters_[name] - truth) < 4 * model.errors_[name]
    overall = model.parameters_["p"] * model.parameters_["v"] / (model.parameters_["q"] - 1)
    value = model.predict(table)["purchase_value"].to_numpy()
    assert (np.minimum(mean, overall) - 1e-9 <= value).all()
    assert (value <= np.maximum(mean, overall) + 1e-9).all()
    drawn = model.draw(table.head(200), purchases=np.full((200, 500), 3.0), rng=rng)
    np.testing.assert_allclose(drawn.mean(axis=1), 3 * value[:200], rtol=0.25)


def test_the_log_is_counted_as_a_loop_counts_it(warehouse):
    rng = np.random.default_rng(3)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    events = [
        Event(
            f"e{n}", f"u{rng.integers(6)}", start + timedelta(hours=int(rng.integers(40 * 24))), "pay", Decimal(amount)
        )
        for n, amount in enumerate(rng.integers(-3, 20, 150).tolist())
    ]
    put_events(warehouse, events)
    as_of = date(2024, 2, 1)
    found = {row["user_id"]: row for row in rfm_table(warehouse, as_of=as_of).iter_rows(named=True)}
    for user, row in found.items():
        spend: dict[date, float] = {}
        for event in events:
            amount = float(event.amount or 0)
            if event.user_id == user and event.ts.date() < as_of and amount > 0:
                spend[event.ts.date()] = spend.get(event.ts.date(), 0.0) + amount
        first, last, later = min(spend), max(spend), sorted(spend)[1:]
        assert row["frequency"] == len(later)
        assert row["recency_days"] == (last - first).days
        assert row["age_days"] == (as_of - first).days - 1
        assert row["monetary_value"] == pytest.approx(sum(spend[day] for day in later) / len(later))
    assert len(found) == 6


def test_what_cannot_be_is_refused(warehouse):
    table = summary([[3.0]] * 30, 40)
    with pytest.raises(BadInput, match="frequency 1, recency_days 50 and age_days 40"):
        PurchaseProcess().fit(table.with_columns(recency_days=pl.lit(50.0)))
    with pytest.raises(BadInput, match="nobody bought a second time"):
        PurchaseProcess().fit(summary([[]] * 30, 40))
    with pytest.raises(BadInput, match="at least 20 customers and got 3"):
        PurchaseProcess().fit(table.head(3))
    with pytest.raises(MissingColumn, match="age_days"):
        PurchaseProcess().fit(table.drop("age_days"))
    with pytest.raises(BadInput, match="at least 20 customers with a positive monetary_value and got 0"):
        GammaGamma().fit(table.with_columns(monetary_value=pl.lit(-1.0)))
    put_events(warehouse, [Event("e", "u", datetime(2024, 1, 5, tzinfo=UTC), "pay", Decimal(1))])
    with pytest.raises(BadInput, match="nobody bought before 2024-01-02"):
        rfm_table(warehouse, as_of=date(2024, 1, 2))


@pytest.mark.parametrize("name", ["bgnbd", "mbgnbd"])
def test_customers_who_all_buy_at_one_rate_are_no_overflow(name):
    """A rate that is the same for all makes r grow without bound; the forecast is the mean of simulated futures."""
    table = pl.DataFrame(
        {"user_id": ["a", "b", "c"], "frequency": [0, 1, 3], "recency_days": [0, 70, 210], "age_days": [280] * 3}
    )
    model = PurchaseProcess(ProcessSpec(model=name, horizon_days=91))
    model.parameters_ = {"r": 24_520.0, "alpha": 396_638.0, "a": 1.48, "b": 0.36}
    drawn = model.draw(table, horizon_days=91, draws=200_000, rng=np.random.default_rng(0)).mean(axis=1)
    assert model.predict(table)["purchases_91"].to_list() == pytest.approx(drawn.tolist(), rel=0.05, abs=0.002)
