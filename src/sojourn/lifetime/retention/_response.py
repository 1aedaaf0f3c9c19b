"""What a push does to the log-odds of activity, as a ridge regression on decisions that chance made.

Weighted and centred least squares for the excursion effect of one push (Boruvka, Almirall, Witkiewitz and Murphy,
"Assessing Time-Varying Causal Effect Moderation in Mobile Health", JASA 2018), in the residual form of the R-learner
(Nie and Wager, Biometrika 2021). With A the push, p its recorded propensity, m the forecast that does not know of it,
w = m (1 - m), phi the basis over days since the push and z the user, it minimises

    sum_k (Y_k - m_k - (A - p) w_k phi_k' Theta' z)^2 / w_k

A - p is centred given all that was known, so that a wrong m leaves the mean effect on the probability right; and no
propensity is divided by. Departures: effects act on the log-odds, not on the probability, and Theta is shrunk.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sojourn.lifetime.retention._days import Floats

Ints = NDArray[np.int64]
# Days after which parts of an effect have halved: a quick one, and a slow one that is kept only where users left out
# ask for it. On simulated worlds a free slow part doubled the error of gains: it sums a month of noise.
HALF_LIVES_DAYS = (2.0, 14.0)
SLOW_PENALTIES = (3.0, 1e9)
# Strengths of shrinkage to try, as multiples of the mean information on a coefficient; the last: no differences.
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e9)
PARTS = 5
SHORTEST_SPREAD = 1e-4
TRACE = 1e-6


def basis(days: int) -> Floats:
    """How much of each part of an effect is left so many days after the push: (days, parts)."""
    return np.asarray(0.5 ** (np.arange(days)[:, None] / np.array(HALF_LIVES_DAYS)))


@dataclass(frozen=True)
class Moments:
    """The normal equations of some decisions: `information` (c, c) and `score` (c), c being columns times parts."""

    information: Floats
    score: Floats

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.information + other.information, self.score + other.score)

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(self.information - other.information, self.score - other.score)

    def solved(self, penalty: Floats) -> Floats:
        """The coefficients with this penalty on each."""
        return np.asarray(np.linalg.solve(self.information + np.diag(penalty), self.score))

    def loss(self, coefficients: Floats) -> float:
        """The squared error, up to what no coefficient changes."""
        return float(coefficients @ self.information @ coefficients - 2 * coefficients @ self.score)


@dataclass(frozen=True)
class Decisions:
    """Decisions to push: `z` (rows, columns; the first is 1), `centred` A - p, forecast `m` and truth `y` (rows, days).

    A day that is not known is NaN in `y`. `user` numbers the user of each row.
    """

    z: Floats
    centred: Floats
    m: Floats
    y: Floats
    user: Ints

    def moments(self, rows: NDArray[np.bool_]) -> Moments:
        """The normal equations of these rows, in one pass over pairs of parts."""
        inner, score = self._parts()
        z, parts = self.z[rows], score.shape[1]
        weight = self.centred[rows] ** 2
        blocks = [[(z * (weight * inner[rows, a, b])[:, None]).T @ z for b in range(parts)] for a in range(parts)]
        return Moments(np.block(blocks), np.concatenate([z.T @ score[rows, a] for a in range(parts)]))

    def spread(self, coefficients: Floats) -> Floats:
        """The outer products of the users' scores at these coefficients, summed: the meat of the sandwich."""
        inner, score = self._parts()
        parts = score.shape[1]
        effect = self.z @ coefficients.reshape(parts, -1).T
        left = score - self.centred[:, None] ** 2 * np.einsum("iab,ib->ia", inner, effect)
        each = np.concatenate([self.z * left[:, [part]] for part in range(parts)], axis=1)
        by_user = np.zeros((int(self.user.max()) + 1, each.shape[1]))
        np.add.at(by_user, self.user, each)
        return np.asarray(by_user.T @ by_user)

    def _parts(self) -> tuple[Floats, Floats]:
        phi, known = basis(self.y.shape[1]), np.isfinite(self.y)
        w = np.where(known, self.m * (1 - self.m), 0.0)
        inner = np.einsum("ik,ka,kb->iab", w, phi, phi)
        score = self.centred[:, None] * (np.where(known, self.y - self.m, 0.0) @ phi)
        return inner, score


@dataclass(frozen=True)
class Response:
    """Fitted coefficients (parts x columns, flattened), their covariance, and what cross-fitting chose.

    `penalty` shrinks differences between users; `slow` tells whether the slow part was kept. The covariance
    is that of the users drawn with the slow part left free: that it was not asked for does not mean that it is nothing.
    """

    coefficients: Floats
    covariance: Floats
    penalty: float
    slow: bool

    def log_odds(self, z: Floats) -> Floats:
        """What is added per part of the effect for each row: (rows, parts)."""
        return np.asarray(z @ self.coefficients.reshape(len(HALF_LIVES_DAYS), -1).T)


def fit_response(decisions: Decisions, *, seed: int) -> Response:
    """The response with the shrinkage of differences between users that does best on users left out.

    The mean quick effect is hardly shrunk, so that its interval means what it says; of equals the smaller model wins.
    """
    chance = np.random.default_rng(seed).permutation(int(decisions.user.max()) + 1) % PARTS
    part = chance[decisions.user]
    moments = [decisions.moments(part == each) for each in range(PARTS)]
    whole = moments[0]
    for each in moments[1:]:
        whole = whole + each
    columns = decisions.z.shape[1]
    choices = [(penalty, slow) for slow in reversed(SLOW_PENALTIES) for penalty in reversed(PENALTIES)]
    fitted = [(held, whole - held) for held in moments]
    losses = [sum(held.loss(rest.solved(_penalty(rest, columns, one))) for held, rest in fitted) for one in choices]
    best = choices[int(np.argmin(losses))]
    coefficients = whole.solved(_penalty(whole, columns, best))
    free = _penalty(whole, columns, (best[0], SLOW_PENALTIES[0]))
    inverse = np.linalg.inv(whole.information + np.diag(free))
    covariance = inverse @ decisions.spread(whole.solved(free)) @ inverse
    return Response(coefficients, np.asarray(covariance), best[0], slow=best[1] < SLOW_PENALTIES[-1])


def _penalty(moments: Moments, columns: int, choice: tuple[float, float]) -> Floats:
    """The penalty on each coefficient: none but a trace on the quick mean effect; the slow part's is a multiple."""
    penalty, slow = choice
    parts = len(moments.score) // columns
    per_part = np.diag(moments.information).reshape(parts, columns)
    scale = np.maximum(per_part[:, 1:].mean(axis=1) if columns > 1 else per_part[:, 0], SHORTEST_SPREAD)
    found = np.repeat((penalty * scale)[:, None], columns, axis=1)
    found[:, 0] = TRACE * np.maximum(per_part[:, 0], SHORTEST_SPREAD)
    found[1:] *= slow
    return found.reshape(-1)
