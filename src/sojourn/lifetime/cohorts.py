"""What a group of users will spend together, and how sure that is: users by themselves, and what moves all at once."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from sojourn.core import BadInput, need_columns, need_rows
from sojourn.lifetime._boost import Floats, Ints
from sojourn.lifetime._design import KEYS
from sojourn.lifetime.compare import split_of
from sojourn.lifetime.distribution import SpendDistribution, SpendDistributionSpec

DRAWS = 400
# So many users are drawn at a time: half a gigabyte at most.
SLICE_ROWS = 100_000


def cohort_sums(
    law: SpendDistribution,
    *,
    table: pl.DataFrame,
    by: Sequence[str],
    shock: float = 0.0,
    level: float = 0.8,
    seed: int = 0,
) -> pl.DataFrame:
    """The total that each cohort will spend in the horizon: `*by, users, expected, low, high`, sorted by cohort.

    Reads what `law.predict` reads; `by` are columns of the table, features or not. A cohort's total is the sum of its
    users' futures, drawn one by one, times what moves all users at once: a season, a model that is off. `shock` is the
    standard deviation of the logarithm of that (`cohort_shock` learns it); 0: none. [low, high] holds `level` of
    the totals. Raises `MissingColumn`, `EmptyInput`, `BadInput`.
    """
    where = "lifetime.cohort_sums"
    need_columns(table, list(by), where=where)
    need_rows(table, where=where, mend="Are there users on this day?")
    if shock < 0:
        raise BadInput(f"{where}: shock is a standard deviation and cannot be {shock:g}. Give 0 for none.")
    law.check_fitted("places_")
    cohorts = table.select(by).unique().sort(by).with_row_index("_cohort")
    at = table.select(by).join(cohorts, on=list(by), how="left", nulls_equal=True, maintain_order="left")["_cohort"]
    rng = np.random.default_rng(seed)
    features = table.drop([name for name in by if name not in (*KEYS, *law.design_.columns)])
    totals = _totals(law, features, at.to_numpy().astype(np.int64), len(cohorts), rng)
    # The mean of e^N is e^(variance / 2): taken out, so that a shock widens and does not lift.
    moved = totals * np.exp(rng.normal(-(shock**2) / 2, shock, (1, DRAWS)))
    tail = (1 - level) / 2
    users = np.bincount(at.to_numpy(), minlength=len(cohorts))
    return cohorts.drop("_cohort").with_columns(
        users=pl.Series(users),
        expected=pl.Series(totals.mean(axis=1)),
        low=pl.Series(np.quantile(moved, tail, axis=1)),
        high=pl.Series(np.quantile(moved, 1 - tail, axis=1)),
    )


def cohort_shock(table: pl.DataFrame, *, spec: SpendDistributionSpec, seed: int = 0) -> float:
    """By how much totals were off on earlier folds, all users together, beyond what chance among users explains.

    Reads what `SpendDistribution.fit` reads, at several as-of dates. On each fold that `compare` would choose on, the
    distribution is learned from what was known then, and the logarithm of actual over expected total is taken; the
    root of their mean square, less the part that single users' luck would have brought, is the shock. Few folds say
    little: it is at least a fifth of what was seen. Raises `BadInput` when history is too short for two folds.
    """
    known = table.filter(pl.col(spec.label).is_not_null())
    folds = split_of(known["as_of"].unique(), spec=spec).selection
    rng, squares, luck = np.random.default_rng(seed), [], []
    for fold in folds:
        train = known.filter(pl.col("as_of").is_in(list(fold.train[-spec.train_as_ofs :])))
        test = known.filter(pl.col("as_of") == fold.test)
        law = SpendDistribution(spec).fit(train)
        totals = _totals(law, test, np.zeros(test.height, dtype=np.int64), 1, rng)[0]
        actual = float(test[spec.label].cast(pl.Float64).clip(lower_bound=0.0).sum())
        if actual > 0 and totals.mean() > 0:
            squares.append(np.log(actual / totals.mean()) ** 2)
            luck.append(np.var(np.log(np.maximum(totals, 1e-9))))
    if not squares:
        return 0.0
    seen = float(np.mean(squares))
    return float(np.sqrt(max(seen - float(np.mean(luck)), 0.04 * seen)))


def _totals(law: SpendDistribution, table: pl.DataFrame, at: Ints, cohorts: int, rng: np.random.Generator) -> Floats:
    """The total of each cohort in each future (cohorts, draws)."""
    totals = np.zeros((cohorts, DRAWS))
    for start in range(0, table.height, SLICE_ROWS):
        rows = table[start : start + SLICE_ROWS]
        np.add.at(totals, at[start : start + SLICE_ROWS], law.draw(rows, draws=DRAWS, rng=rng))
    return totals
