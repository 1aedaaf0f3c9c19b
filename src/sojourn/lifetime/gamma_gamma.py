"""What a purchase of each customer is worth: the gamma-gamma model of spend."""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from pydantic import Field

from sojourn.core import BadInput, Estimator, Spec, need_columns, need_rows
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._maximum import maximise
from sojourn.lifetime._store import load_plain, save_plain

FREQUENCY, MONETARY = "frequency", "monetary_value"
# A fitted mean this many times the observed one is that of a tail nobody has seen.
FARTHEST_MEAN = 2.0
LEAST_CUSTOMERS = 20


class GammaGammaSpec(Spec):
    """The settings: `penalty` as in `ProcessSpec`.

    >>> GammaGammaSpec().penalty
    0.0
    """

    penalty: float = Field(default=0.0, ge=0)


class GammaGamma(Estimator):
    """The mean value of a purchase, for each customer: what was seen, drawn towards what all spend.

    Purchases of a customer are gamma with shape p and a scale 1/ν of their own, ν is gamma with shape q and rate v
    (Fader and Hardie 2013, "The Gamma-Gamma Model of Monetary Value", equations 1 and 5). Departure: q is kept above 1,
    and where the fitted mean p v / (q - 1) of all customers is more than twice the observed one, v is fixed so that
    both agree (`is_tied_`): no expectation is infinite, negative, or that of a tail which nobody has seen.

    Reads `user_id, frequency` (how many purchases the mean is of) and `monetary_value` (their mean, positive; null or
    not positive: the customer tells nothing and gets the mean of all). `predict` writes the keys and `purchase_value`.

    Learned: `parameters_` and `errors_` by name (NaN for what is tied), `log_likelihood_`, `is_tied_`.

    >>> import polars as pl
    >>> table = pl.DataFrame({"user_id": [f"u{n}" for n in range(40)], "frequency": [1 + n % 3 for n in range(40)],
    ...     "monetary_value": [10.0 + n for n in range(40)]})
    >>> GammaGamma().fit(table).predict(table).columns
    ['user_id', 'purchase_value']
    """

    parameters_: dict[str, float]
    errors_: dict[str, float]
    log_likelihood_: float
    is_tied_: bool

    def __init__(self, spec: GammaGammaSpec | None = None) -> None:
        self.spec: GammaGammaSpec = spec or GammaGammaSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from the customers with a positive mean. Raises `BadInput` for fewer than 20 of them."""
        where = "lifetime.GammaGamma.fit"
        n, mean = _seen(table, where)
        some = (n > 0) & (mean > 0)
        if some.sum() < LEAST_CUSTOMERS:
            raise BadInput(
                f"{where} needs at least {LEAST_CUSTOMERS} customers with a positive {MONETARY} and got "
                f"{int(some.sum())}. Bring more customers, or check the amounts."
            )
        n, mean = n[some], mean[some]
        count, start = np.ones(len(n)), np.log(np.array([4.0, 3.0, float(mean.mean())]))
        fit = maximise(lambda theta: _free(theta, n, mean), count=count, start=start, penalty=self.spec.penalty)
        p, q, v = fit.theta[0], 1 + fit.theta[1], fit.theta[2]
        errors, overall = fit.errors, float(n @ mean / n.sum())
        self.is_tied_ = bool(p * v / (q - 1) > FARTHEST_MEAN * overall)
        if self.is_tied_:
            fit = maximise(
                lambda theta: _tied(theta, n, mean, overall), count=count, start=start[:2], penalty=self.spec.penalty
            )
            p, q = fit.theta[0], 1 + fit.theta[1]
            v, errors = overall * (q - 1) / p, np.append(fit.errors, np.nan)
        self.parameters_ = {"p": float(p), "q": float(q), "v": float(v)}
        self.errors_ = dict(zip(("p", "q", "v"), errors.tolist(), strict=True))
        self.log_likelihood_ = fit.log_likelihood
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """The keys and the expected value of a purchase, row by row (equation 5)."""
        n, mean = _seen(table, "lifetime.GammaGamma.predict")
        p, q, v = self._theta
        value = p * (v + n * mean) / (p * n + q - 1)
        keys = table.select([key for key in ("user_id", "as_of") if key in table.columns])
        return keys.with_columns(pl.Series("purchase_value", value))

    def draw(self, table: pl.DataFrame, *, purchases: Floats, rng: np.random.Generator) -> Floats:
        """The value of so many purchases (rows, draws), each row with a scale that its own past allows."""
        n, mean = _seen(table, "lifetime.GammaGamma.draw")
        p, q, v = self._theta
        scale = rng.gamma((q + p * n)[:, None], 1 / (v + n * mean)[:, None], purchases.shape)
        return np.asarray(np.where(purchases > 0, rng.gamma(np.maximum(p * purchases, 1e-9)) / scale, 0.0))

    def save(self, path: Path) -> None:
        """Write `model.json` into the folder `path`."""
        self.check_fitted("parameters_")
        save_plain(path, model=self, names=("parameters", "errors", "log_likelihood", "is_tied"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        return load_plain(path, model=cls, spec=GammaGammaSpec)

    @property
    def _theta(self) -> tuple[float, float, float]:
        self.check_fitted("parameters_")
        return self.parameters_["p"], self.parameters_["q"], self.parameters_["v"]


def _seen(table: pl.DataFrame, where: str) -> tuple[Floats, Floats]:
    """How many purchases, and their mean: both 0 for a customer who tells nothing."""
    need_columns(table, ["user_id", FREQUENCY, MONETARY], where=where)
    need_rows(table, where=where, mend="Has anybody bought before this day?")
    mean = table[MONETARY].cast(pl.Float64).fill_null(0.0).fill_nan(0.0).to_numpy()
    n = table[FREQUENCY].cast(pl.Float64).to_numpy()
    tells = (mean > 0) & (n > 0)
    return np.where(tells, n, 0.0), np.where(tells, mean, 0.0)


def _free(theta: Floats, n: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Log likelihood and gradient in p, q - 1, v (equation 1a, without what does not depend on them)."""
    from scipy.special import digamma, gammaln

    p, q, v = theta[0], 1 + theta[1], theta[2]
    pn, total = p * n, v + n * mean
    each = gammaln(pn + q) - gammaln(pn) - gammaln(q) + q * np.log(v) + pn * np.log(n * mean) - (pn + q) * np.log(total)
    d_p = n * (digamma(pn + q) - digamma(pn) + np.log(n * mean) - np.log(total))
    d_q = digamma(pn + q) - digamma(q) + np.log(v) - np.log(total)
    d_v = q / v - (pn + q) / total
    return each - np.log(mean), np.stack([d_p, d_q, d_v], axis=1)


def _tied(theta: Floats, n: Floats, mean: Floats, overall: float) -> tuple[Floats, Floats]:
    """The same in p and q - 1, with v such that the mean of all customers is the observed one."""
    v = overall * theta[1] / theta[0]
    each, slopes = _free(np.array([theta[0], theta[1], v]), n, mean)
    d_p = slopes[:, 0] - slopes[:, 2] * v / theta[0]
    d_q = slopes[:, 1] + slopes[:, 2] * v / theta[1]
    return each, np.stack([d_p, d_q], axis=1)
