"""BG/NBD and MBG/NBD: buying at a steady rate until one drops out after a purchase; likelihood, gradient, forecasts.

Fader, Hardie and Lee (2005) "Counting Your Customers the Easy Way", equations 3, 6 and 10; Batislam, Denizel and
Filiztekin (2007), who let a customer drop out at the start too. With k = x for the one and k = x + 1 for the other,
both are: given p, a customer came through k chances of dropping out, with p as the chance of each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggauss

from sojourn.lifetime._boost import Floats
from sojourn.lifetime._histories import Histories

NAMES = ("r", "alpha", "a", "b")
START = np.zeros(4)
# The formula for a = 1 is a limit; this close to it the general one loses no more than seven digits.
NEAREST = 1e-6
# Beyond this the series of the hypergeometric function fails, and rate or p are so sure that a few points tell it all.
LARGEST_SERIES, POINTS = 200.0, 24


@dataclass(frozen=True)
class BetaGeometric:
    """The model; `from_start` says whether one may drop out before the first repeat purchase (MBG/NBD)."""

    from_start: bool

    names = NAMES
    start = START

    def log_likelihood(self, theta: Floats, histories: Histories) -> tuple[Floats, Floats]:
        """Per history, the log likelihood and its gradient (histories, parameters)."""
        from scipy.special import digamma, gammaln

        r, alpha, a, b = theta
        x, t, age = histories.x, histories.recency, histories.age
        k = self._chances(x)
        stays = -(r + x) * np.log(alpha + age)
        left = np.log(a) - np.log(np.maximum(b + k - 1, 1e-300)) - (r + x) * np.log(alpha + t)
        left = np.where(k > 0, left, -np.inf)
        both = np.logaddexp(stays, left)
        rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        chance = gammaln(a + b) + gammaln(b + k) - gammaln(b) - gammaln(a + b + k)
        here, gone = np.exp(stays - both), np.exp(left - both)
        d_r = digamma(r + x) - digamma(r) + np.log(alpha) - here * np.log(alpha + age) - gone * np.log(alpha + t)
        d_alpha = r / alpha - (r + x) * (here / (alpha + age) + gone / (alpha + t))
        d_a = digamma(a + b) - digamma(a + b + k) + gone / a
        lost = np.divide(gone, b + k - 1, out=np.zeros_like(gone), where=k > 0)
        d_b = digamma(a + b) - digamma(a + b + k) + digamma(b + k) - digamma(b) - lost
        return rate + chance + both, np.stack([d_r, d_alpha, d_a, d_b], axis=1)

    def alive(self, theta: Floats, histories: Histories) -> Floats:
        """The probability that the customer has not dropped out."""
        r, alpha, a, b = theta
        x = histories.x
        k = self._chances(x)
        logs = np.log(a) - np.log(np.maximum(b + k - 1, 1e-300))
        odds = logs + (r + x) * np.log((alpha + histories.age) / (alpha + histories.recency))
        return np.asarray(np.where(k > 0, 1 / (1 + np.exp(np.clip(odds, -700, 700))), 1.0))

    def expected(self, theta: Floats, histories: Histories, horizon: float) -> Floats:
        """Expected purchases within the horizon.

        Equation 10 after Euler's transformation of its hypergeometric function, which leaves one with small parameters
        whatever x is, so that nothing overflows.
        """
        from scipy.special import hyp2f1

        r, alpha, a, b = theta
        if max(r, a, b) > LARGEST_SERIES:
            return np.asarray(self._over_chances(theta, histories, horizon) * self.alive(theta, histories))
        a = a if abs(a - 1) > NEAREST else 1 + NEAREST
        c = a + b + self._chances(histories.x) - 1
        z = horizon / (alpha + histories.age + horizon)
        rest = np.exp((a - 1) * np.log1p(-z)) * hyp2f1(c - r - histories.x, a - 1, c, z)
        return np.asarray(np.maximum(c / (a - 1) * (1 - rest), 0.0) * self.alive(theta, histories))

    def _over_chances(self, theta: Floats, histories: Histories, horizon: float) -> Floats:
        """Expected purchases of who is alive: the mean of (1 - e^(-rate p horizon)) / p over the chances p to leave."""
        from scipy.special import betaincinv

        r, alpha, a, b = theta
        nodes, weights = leggauss(POINTS)
        # Chances depend on the number of purchases alone, of which there are few; the inverse is slow.
        k, at = np.unique(self._chances(histories.x), return_inverse=True)
        p = betaincinv(a, b + k[:, None], (nodes + 1) / 2)[at]
        stay = np.log1p(p * horizon / (alpha + histories.age)[:, None])
        return np.asarray(-np.expm1(-(r + histories.x)[:, None] * stay) / p @ (weights / 2))

    def draw(self, theta: Floats, histories: Histories, horizon: float, rng: np.random.Generator, draws: int) -> Floats:
        """Purchases within the horizon in `draws` futures (histories, draws)."""
        r, alpha, a, b = theta
        x, size = histories.x[:, None], (len(histories.x), draws)
        rate = rng.gamma(r + x, 1 / (alpha + histories.age[:, None]), size)
        p = np.maximum(rng.beta(a, b + self._chances(x), size), 1e-12)
        bought = np.minimum(rng.poisson(rate * horizon), rng.geometric(p))
        return np.asarray(bought * (rng.random(size) < self.alive(theta, histories)[:, None]), dtype=np.float64)

    def _chances(self, x: Floats) -> Floats:
        return x + 1 if self.from_start else x
