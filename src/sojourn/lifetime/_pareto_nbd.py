"""Pareto/NBD: buying at a steady rate until one drops out at any moment; likelihood, gradient, forecasts.

Schmittlein, Morrison and Colombo (1987); Fader and Hardie (2005), "A Note on Deriving the Pareto/NBD Model". Their
hypergeometric functions are one integral, over the moment of dropping out between the last purchase and the end:

    L = Γ(r+x) αʳ βˢ / Γ(r) · [ (α+T)^-(r+x) (β+T)^-s + s ∫ (α+y)^-(r+x) (β+y)^-(s+1) dy ]

which is taken numerically here, by Gauss-Legendre points over u = log(γ+y), γ the smaller of α and β. There the
logarithm of the integrand is concave with linear tails, so that one stretch around its top holds all of the mass, and
32 points in it give ten digits, whatever x and T are. Nothing overflows, and the gradient is the same integral with
another factor under it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial.legendre import leggauss

from sojourn.lifetime._boost import Floats
from sojourn.lifetime._histories import Histories

POINTS, DEEP, HALVINGS = 32, 40.0, 14
NEAREST = 1e-9


@dataclass(frozen=True)
class Gone:
    """The integral over the moments of dropping out: its logarithm, and the mean of four factors under it."""

    log: Floats
    log_alpha: Floats
    log_beta: Floats
    inverse_alpha: Floats
    inverse_beta: Floats


@dataclass(frozen=True)
class ParetoNBD:
    """The model."""

    names = ("r", "alpha", "s", "beta")
    start = np.zeros(4)

    def log_likelihood(self, theta: Floats, histories: Histories) -> tuple[Floats, Floats]:
        """Per history, the log likelihood and its gradient (histories, parameters)."""
        from scipy.special import digamma, gammaln

        r, alpha, s, beta = theta
        x, age = histories.x, histories.age
        stays = -(r + x) * np.log(alpha + age) - s * np.log(beta + age)
        gone = _gone(theta, histories)
        left = np.log(s) + gone.log
        both = np.logaddexp(stays, left)
        here, away = np.exp(stays - both), np.exp(left - both)
        constant = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
        d_r = digamma(r + x) - digamma(r) + np.log(alpha) - here * np.log(alpha + age) - away * gone.log_alpha
        d_alpha = r / alpha - (r + x) * (here / (alpha + age) + away * gone.inverse_alpha)
        d_s = np.log(beta) - here * np.log(beta + age) + away * (1 / s - gone.log_beta)
        d_beta = s / beta - here * s / (beta + age) - away * (s + 1) * gone.inverse_beta
        return constant + both, np.stack([d_r, d_alpha, d_s, d_beta], axis=1)

    def alive(self, theta: Floats, histories: Histories) -> Floats:
        """The probability that the customer has not dropped out."""
        r, alpha, s, beta = theta
        stays = -(r + histories.x) * np.log(alpha + histories.age) - s * np.log(beta + histories.age)
        odds = np.log(s) + _gone(theta, histories).log - stays
        return np.asarray(1 / (1 + np.exp(np.clip(odds, -700, 700))))

    def expected(self, theta: Floats, histories: Histories, horizon: float) -> Floats:
        """Expected purchases within the horizon (Fader and Hardie 2005, equation 41)."""
        r, alpha, s, beta = theta
        rate, age = (r + histories.x) / (alpha + histories.age), histories.age
        shrink = np.log1p(-horizon / (beta + age + horizon))
        # (1 - e^((s-1) shrink)) / (s - 1), which for s = 1 is -shrink.
        ahead = -np.expm1((s - 1) * shrink) / (s - 1) if abs(s - 1) > NEAREST else -shrink
        return np.asarray(self.alive(theta, histories) * rate * (beta + age) * ahead)

    def draw(self, theta: Floats, histories: Histories, horizon: float, rng: np.random.Generator, draws: int) -> Floats:
        """Purchases within the horizon in `draws` futures (histories, draws)."""
        r, alpha, s, beta = theta
        size = (len(histories), draws)
        rate = rng.gamma(r + histories.x[:, None], 1 / (alpha + histories.age[:, None]), size)
        leaving = np.maximum(rng.gamma(s, 1 / (beta + histories.age[:, None]), size), 1e-300)
        stays = np.minimum(rng.exponential(1.0, size) / leaving, horizon)
        alive = rng.random(size) < self.alive(theta, histories)[:, None]
        return np.asarray(rng.poisson(rate * stays) * alive, dtype=np.float64)


def _gone(theta: Floats, histories: Histories) -> Gone:
    """The integral in slices, as it takes `POINTS` numbers a history."""
    slices = [histories.slice(at, at + 20_000) for at in range(0, len(histories), 20_000)]
    parts = [_gone_slice(theta, each) for each in slices]
    return Gone(*(np.concatenate([getattr(part, name) for part in parts]) for name in Gone.__dataclass_fields__))


def _gone_slice(theta: Floats, histories: Histories) -> Gone:
    r, alpha, s, beta = theta
    least, apart = min(alpha, beta), abs(alpha - beta)
    powers = (r + histories.x)[:, None], s + 1.0
    near, far = powers if alpha <= beta else powers[::-1]

    def logs(u: Floats) -> Floats:
        # The last u is dy/du = e^u.
        return np.asarray(-near * u - far * np.log(apart + np.exp(u)) + u)

    low, high = np.log(least + histories.recency)[:, None], np.log(least + histories.age)[:, None]
    low, high = _stretch(logs, low, high, peak=_peak(near, far, apart))
    nodes, weights = _points()
    half = (high - low) / 2
    u = low + half * (nodes + 1)
    there = logs(u)
    top = there.max(axis=1, keepdims=True)
    mass = weights * np.exp(there - top)
    total = mass.sum(axis=1, keepdims=True)
    share = mass / total
    y = np.exp(u) - least
    log_alpha, log_beta = np.log(alpha + y), np.log(beta + y)
    return Gone(
        (np.log(total) + top + np.log(np.maximum(half, 1e-300)))[:, 0],
        (share * log_alpha).sum(axis=1),
        (share * log_beta).sum(axis=1),
        (share / (alpha + y)).sum(axis=1),
        (share / (beta + y)).sum(axis=1),
    )


@cache
def _points() -> tuple[Floats, Floats]:
    # Once, not at each of a thousand looks at the likelihood, of which they were a third where there are few histories.
    return leggauss(POINTS)


def _peak(near: Floats | float, far: Floats | float, apart: float) -> Floats:
    """Where the integrand has its top, were there no bounds."""
    rises = np.maximum(1 - np.asarray(near, dtype=np.float64), 1e-300)
    return np.asarray(np.log(np.maximum(apart * rises / (np.asarray(far) - rises), 1e-300)))


def _stretch(logs: Callable[[Floats], Floats], low: Floats, high: Floats, *, peak: Floats) -> tuple[Floats, Floats]:
    """The part of [low, high] outside of which the integrand is below e^-40 of its top."""
    top = np.clip(peak, low, high)
    most = logs(top)
    return _cut(logs, top, low, most), _cut(logs, top, high, most)


def _cut(logs: Callable[[Floats], Floats], top: Floats, end: Floats, most: Floats) -> Floats:
    """The point from the top towards the end where the integrand has fallen enough; the end where it never does."""
    if not (most - logs(end) > DEEP).any():
        return end
    inside, outside = np.zeros_like(end), np.ones_like(end)
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        fell = most - logs(top + middle * (end - top)) > DEEP
        inside, outside = np.where(fell, inside, middle), np.where(fell, middle, outside)
    return top + outside * (end - top)
