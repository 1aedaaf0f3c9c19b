"""Who still buys, and how often: BG/NBD, MBG/NBD and Pareto/NBD, fitted to when customers bought."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
import polars as pl
from pydantic import Field

from sojourn.core import BadInput, Estimator, Spec
from sojourn.lifetime._bgnbd import BetaGeometric
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._histories import Histories, histories
from sojourn.lifetime._maximum import maximise
from sojourn.lifetime._pareto_nbd import ParetoNBD
from sojourn.lifetime._store import load_plain, save_plain
from sojourn.lifetime.spec import Days

ProcessModel = Literal["bgnbd", "mbgnbd", "pareto_nbd"]
MODELS: dict[str, BetaGeometric | ParetoNBD] = {
    "bgnbd": BetaGeometric(from_start=False),
    "mbgnbd": BetaGeometric(from_start=True),
    "pareto_nbd": ParetoNBD(),
}
LEAST_CUSTOMERS = 20


class ProcessSpec(Spec):
    """Which process, how far ahead it looks, and the unit of time of its parameters.

    `penalty` times the sum of squared logarithms of the parameters is taken from the mean log likelihood: 0, plain
    maximum likelihood, unless a population is too small or too uniform to tell.

    >>> ProcessSpec(model="bgnbd", horizon_days=30).name
    'purchases_30'
    """

    model: ProcessModel = "pareto_nbd"
    horizon_days: Days = 90
    unit_days: float = Field(default=7.0, gt=0)
    penalty: float = Field(default=0.0, ge=0)

    @property
    def name(self) -> str:
        """The column of expected purchases."""
        return f"purchases_{self.horizon_days}"


class PurchaseProcess(Estimator):
    """Expected purchases and the probability of being alive, for customers of whom only the times of buying are known.

    - `bgnbd` (Fader, Hardie and Lee 2005): buys at a steady rate, drops out after a purchase with a steady chance.
    - `mbgnbd` (Batislam, Denizel and Filiztekin 2007): may drop out right after the first purchase, too.
    - `pareto_nbd` (Schmittlein, Morrison and Colombo 1987): may drop out at any moment.

    Reads `user_id` and the columns of `rfm_table`: `frequency` (purchases after the first), `recency_days` (from the
    first to the last) and `age_days` (from the first to the end of what is known). Other columns are not read.

    `predict` writes the keys, `purchases_<horizon_days>` and `alive_prob`. `draw` gives futures.

    Learned: `parameters_` and `errors_` (standard errors from the observed information; NaN where the likelihood is
    flat) by name, in units of `unit_days`; `log_likelihood_`; `customers_`; `converged_`.

    Raises `MissingColumn`, `EmptyInput`, and `BadInput` for impossible histories and for fewer than 20 customers or
    when nobody bought twice: there is no rate to learn.

    >>> import polars as pl
    >>> table = pl.DataFrame({"user_id": [f"u{n}" for n in range(40)], "frequency": [n % 4 for n in range(40)],
    ...     "recency_days": [30 * (n % 4) for n in range(40)], "age_days": [180] * 40})
    >>> model = PurchaseProcess(ProcessSpec(model="bgnbd", horizon_days=30)).fit(table)
    >>> model.predict(table).columns
    ['user_id', 'purchases_30', 'alive_prob']
    """

    parameters_: dict[str, float]
    errors_: dict[str, float]
    log_likelihood_: float
    customers_: int
    converged_: bool

    def __init__(self, spec: ProcessSpec | None = None) -> None:
        self.spec: ProcessSpec = spec or ProcessSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn the parameters by maximum likelihood, over each different history once."""
        where = "lifetime.PurchaseProcess.fit"
        found = self._histories(table, where)
        if len(found) < LEAST_CUSTOMERS:
            raise BadInput(f"{where} needs at least {LEAST_CUSTOMERS} customers and got {len(found)}. Bring more.")
        if not found.x.any():
            raise BadInput(f"{where}: nobody bought a second time, so there is no rate to learn. Bring a longer log.")
        known, _ = found.distinct()
        model = MODELS[self.spec.model]
        fit = maximise(
            lambda theta: model.log_likelihood(theta, known),
            count=known.count,
            start=_start(known),
            penalty=self.spec.penalty,
        )
        self.parameters_ = dict(zip(model.names, fit.theta.tolist(), strict=True))
        self.errors_ = dict(zip(model.names, fit.errors.tolist(), strict=True))
        self.log_likelihood_, self.customers_, self.converged_ = fit.log_likelihood, len(found), fit.converged
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """The keys, expected purchases within the horizon, and the probability of being alive, row by row."""
        return self.expect(table, horizon_days=self.spec.horizon_days)

    def expect(self, table: pl.DataFrame, *, horizon_days: float) -> pl.DataFrame:
        """As `predict`, for another horizon: `purchases_<horizon_days>` and `alive_prob`. Any length will do."""
        known, at = self._histories(table, "lifetime.PurchaseProcess.predict").distinct()
        model = MODELS[self.spec.model]
        bought = model.expected(self._theta, known, horizon_days / self.spec.unit_days)
        keys = table.select([key for key in ("user_id", "as_of") if key in table.columns])
        return keys.with_columns(
            pl.Series(f"purchases_{horizon_days:g}", bought[at]),
            pl.Series("alive_prob", model.alive(self._theta, known)[at]),
        )

    def draw(self, table: pl.DataFrame, *, horizon_days: float, draws: int, rng: np.random.Generator) -> Floats:
        """Purchases of each row within the horizon in `draws` possible futures (rows, draws)."""
        known = self._histories(table, "lifetime.PurchaseProcess.draw")
        return MODELS[self.spec.model].draw(self._theta, known, horizon_days / self.spec.unit_days, rng, draws)

    def save(self, path: Path) -> None:
        """Write `model.json` into the folder `path`."""
        self.check_fitted("parameters_")
        save_plain(path, model=self, names=("parameters", "errors", "log_likelihood", "customers", "converged"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        return load_plain(path, model=cls, spec=ProcessSpec)

    @property
    def _theta(self) -> Floats:
        self.check_fitted("parameters_")
        return np.array(list(self.parameters_.values()))

    def _histories(self, table: pl.DataFrame, where: str) -> Histories:
        return histories(table, unit_days=self.spec.unit_days, where=where)


def _start(known: Histories) -> Floats:
    """Logarithms to begin at: a rate as seen, half of it as wide, and a chance of a third to drop out."""
    age = float((known.count @ known.age) / known.count.sum())
    bought = float((known.count @ known.x) / known.count.sum())
    # r / alpha is the mean rate; s / beta the mean chance to leave, or a / (a + b), after a few purchases.
    r = 0.7
    return np.asarray(np.log([r, max(r * age / max(bought, 1e-3), 1e-3), 0.8, max(age / 3, 0.5)]))
