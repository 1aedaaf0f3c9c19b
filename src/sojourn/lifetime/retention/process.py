"""Users who are active by chance until they leave by chance: the beta-geometric/beta-Bernoulli process.

Fader, Hardie and Shang, "Customer-Base Analysis in a Discrete-Time Noncontractual Setting", Marketing Science 29(6),
2010. A living user is active on a day with probability p ~ Beta(alpha, beta), and leaves before a day with probability
theta ~ Beta(gamma, delta). The day of the first activity begins the count, as there: it is no opportunity itself.
Departure: a user whose days of activity are not all known is counted from when the log first shows any.
"""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from sojourn.core import BadInput, Estimator, need_columns
from sojourn.lifetime._learning import need_users
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.retention._days import Floats
from sojourn.lifetime.retention._said import said
from sojourn.lifetime.retention.spec import ActivitySpec

NEEDED = ("active_days_all", "recency_days", "tenure_days")
NAMES = ("alpha", "beta", "gamma", "delta")
START = np.log([1.0, 3.0, 0.7, 7.0])
# exp(12) as a parameter is a distribution without any spread; a search that runs further finds nothing new.
LARGEST_LOG = 12.0


class ProcessActivity(Estimator):
    """P(active) on each day ahead by the BG/BB process, from the number of active days, the last one and the age.

    Reads `active_days_all`, `recency_days`, `tenure_days` (days since first seen). `alive_prob` writes P(alive).
    Learned: `parameters_` (alpha, beta, gamma, delta), `log_likelihood_`.
    """

    parameters_: dict[str, float]
    log_likelihood_: float

    def __init__(self, spec: ActivitySpec | None = None) -> None:
        self.spec: ActivitySpec = spec or ActivitySpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Maximum likelihood over the users as of their latest `as_of`; what comes after is not read."""
        where = "lifetime.ProcessActivity.fit"
        need_columns(table, ["user_id", *NEEDED], where=where)
        need_users(table, where=where)
        order = [name for name in ("as_of", "user_id") if name in table.columns]
        latest = table.sort(order).unique("user_id", keep="last", maintain_order=True)
        x, t_x, n = histories(latest)
        found = fit_bgbb(x, t_x, n)
        self.parameters_, self.log_likelihood_ = found
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of`, the probability on each day ahead and their sum, in the order of the table."""
        self.check_fitted("parameters_")
        x, t_x, n = self._histories(table)
        ahead = np.arange(1.0, self.spec.horizon_days + 1)
        return said(table, active_chance(self.parameters_, x, t_x, n, ahead=ahead))

    def alive_prob(self, table: pl.DataFrame) -> pl.DataFrame:
        """The keys and `alive_prob`: the probability that the user has not left for good by `as_of`."""
        self.check_fitted("parameters_")
        keys = [key for key in ("user_id", "as_of") if key in table.columns]
        alive = alive_chance(self.parameters_, *self._histories(table))
        return table.select(keys).with_columns(pl.Series("alive_prob", alive))

    def save(self, path: Path) -> None:
        """Write `model.json` into the folder `path`."""
        self.check_fitted("parameters_")
        save_model(path, model=self, learned={**self.parameters_, "log_likelihood": self.log_likelihood_})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(ActivitySpec(**whole["spec"])), dict(whole["learned"])
        model.log_likelihood_ = learned.pop("log_likelihood")
        model.parameters_ = learned
        return model

    def _histories(self, table: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
        need_columns(table, ["user_id", *NEEDED], where="lifetime.ProcessActivity")
        return histories(table)


def histories(table: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Active days after the first day, the place of the last of them, and the days there were: x, t_x, n."""
    n = table["tenure_days"].cast(pl.Float64).to_numpy() - 1
    last = table["tenure_days"].cast(pl.Float64) - table["recency_days"].cast(pl.Float64)
    # The first day is active by definition; where other rows came first, it is an opportunity that was not taken.
    x = np.maximum(table["active_days_all"].cast(pl.Float64).fill_null(0.0).to_numpy() - 1, 0)
    t_x = np.clip(np.where(x > 0, last.fill_null(0.0).to_numpy(), 0.0), x, None)
    return x, t_x, np.maximum(n, t_x)


def fit_bgbb(x: Floats, t_x: Floats, n: Floats) -> tuple[dict[str, float], float]:
    """The parameters of greatest likelihood and the log-likelihood; distinct histories are summed once.

    Raises `BadInput` when nobody was ever active again.
    """
    from scipy.optimize import minimize

    if not (x > 0).any():
        raise BadInput(
            "lifetime.ProcessActivity.fit: no user was active on a second day, so there is no process to learn. "
            "Bring a longer log, or check which rows count as being active."
        )
    distinct, counts = np.unique(np.column_stack([x, t_x, n]), axis=0, return_counts=True)
    users = float(counts.sum())

    def cost(logs: Floats) -> float:
        return -float(counts @ log_likelihood(np.exp(logs), *distinct.T)) / users

    bounds = [(-LARGEST_LOG, LARGEST_LOG)] * len(NAMES)
    best = minimize(cost, START, method="L-BFGS-B", bounds=bounds)
    return dict(zip(NAMES, np.exp(best.x).tolist(), strict=True)), -users * float(best.fun)


def log_likelihood(parameters: Floats, x: Floats, t_x: Floats, n: Floats) -> Floats:
    """Equation (5) of the paper, per history: alive to the end, or left after day t_x + i for some i."""
    from scipy.special import betaln

    alpha, beta, gamma, delta = parameters
    none = betaln(alpha, beta) + betaln(gamma, delta)
    total = betaln(alpha + x, beta + n - x) + betaln(gamma, delta + n)
    silent = (n - t_x).astype(np.int64)
    row = np.repeat(np.arange(len(x)), silent)
    i = np.arange(len(row)) - np.repeat(np.cumsum(silent) - silent, silent)
    left = betaln(alpha + x[row], beta + t_x[row] - x[row] + i) + betaln(gamma + 1, delta + t_x[row] + i)
    most = total.copy()
    np.maximum.at(most, row, left)
    sums = np.exp(total - most) + np.bincount(row, np.exp(left - most[row]), minlength=len(x))
    return np.asarray(most + np.log(sums) - none)


def active_chance(parameters: dict[str, float], x: Floats, t_x: Floats, n: Floats, *, ahead: Floats) -> Floats:
    """P(active on the n + k-th day | history) for each k of `ahead`: (users, days)."""
    from scipy.special import betaln

    alpha, beta, gamma, delta = (parameters[name] for name in NAMES)
    found, back = _distinct(x, t_x, n)
    x, t_x, n = found.T
    seen = log_likelihood(np.array([alpha, beta, gamma, delta]), x, t_x, n)
    does = betaln(alpha + x + 1, beta + n - x) - betaln(alpha, beta)
    stays = betaln(gamma, delta + n[:, None] + ahead) - betaln(gamma, delta)
    return np.asarray(np.exp(does[:, None] + stays - seen[:, None])[back])


def alive_chance(parameters: dict[str, float], x: Floats, t_x: Floats, n: Floats) -> Floats:
    """P(alive on the n + 1-st day | history), equation (7) of the paper."""
    from scipy.special import betaln

    alpha, beta, gamma, delta = (parameters[name] for name in NAMES)
    seen = log_likelihood(np.array([alpha, beta, gamma, delta]), x, t_x, n)
    does = betaln(alpha + x, beta + n - x) - betaln(alpha, beta)
    stays = betaln(gamma, delta + n + 1) - betaln(gamma, delta)
    return np.asarray(np.exp(does + stays - seen))


def _distinct(x: Floats, t_x: Floats, n: Floats) -> tuple[Floats, np.ndarray]:
    found, back = np.unique(np.column_stack([x, t_x, n]), axis=0, return_inverse=True)
    return found, back.reshape(-1)
