"""Can the log be believed? Overlap, recorded against realised chances, balance, and the number in each arm."""

import numpy as np
import polars as pl

from sojourn.core import BadInput
from sojourn.effects._log import Decisions, Floats, covariate_columns, decisions
from sojourn.effects.spec import EffectSpec

BINS = 10
UNBALANCED = 0.1
MISMATCH_P = 0.001


def propensity_table(table: pl.DataFrame, *, spec: EffectSpec | None = None) -> pl.DataFrame:
    """Recorded propensities against what happened, per arm and bin of equal propensities (at most ten bins an arm).

    Columns: `arm, bin, rows, propensity_low, propensity_high, propensity_mean, share, low, high`: `share` is how many
    of the rows got the arm, with its 95 % interval (Wilson). A mean outside the interval says that the record is wrong.
    """
    spec = spec or EffectSpec()
    log = decisions(table, spec=spec, where="effects.propensity_table")
    rows = []
    for arm, name in enumerate(log.arms[1:], start=1):
        chance, got = log.propensity[:, arm], log.got(arm)
        place = _bins(chance)
        for number, at in enumerate(np.unique(place), start=1):
            mine = place == at
            low, high = _wilson(int(got[mine].sum()), int(mine.sum()))
            rows.append(
                {
                    "arm": name,
                    "bin": number,
                    "rows": int(mine.sum()),
                    "propensity_low": float(chance[mine].min()),
                    "propensity_high": float(chance[mine].max()),
                    "propensity_mean": float(chance[mine].mean()),
                    "share": float(got[mine].mean()),
                    "low": low,
                    "high": high,
                }
            )
    return pl.DataFrame(rows)


def overlap(table: pl.DataFrame, *, spec: EffectSpec | None = None) -> pl.DataFrame:
    """How far every arm was possible for every row, one row per arm, control included.

    Columns: `arm, rows, users, propensity_min, propensity_max, below_5_percent, effective_rows`: the share of all rows
    whose chance of the arm was below 5 %, and how many rows the arm's weighted rows are worth (Kish).
    """
    spec = spec or EffectSpec()
    log = decisions(table, spec=spec, where="effects.overlap")
    rows = []
    for arm, name in enumerate(log.arms):
        chance, got = log.propensity[:, arm], log.got(arm)
        weight = 1 / chance[got]
        rows.append(
            {
                "arm": name,
                "rows": int(got.sum()),
                "users": len(np.unique(log.user[got])),
                "propensity_min": float(chance.min()),
                "propensity_max": float(chance.max()),
                "below_5_percent": float((chance < 0.05).mean()),
                "effective_rows": float(weight.sum() ** 2 / (weight**2).sum()),
            }
        )
    return pl.DataFrame(rows)


def balance_table(table: pl.DataFrame, *, spec: EffectSpec | None = None) -> pl.DataFrame:
    """Standardised mean differences between each arm and the control, before and after weighting by the propensity.

    Columns: `arm, covariate, raw, weighted`, the largest weighted difference first. Numbers and truth values are taken
    as they are (missing left out), words as one row for each word, `<column>=<word>`. The unit is the standard
    deviation of both arms together. Beyond 0.1 a difference is usually called unbalanced.
    """
    spec = spec or EffectSpec()
    where = "effects.balance_table"
    log = decisions(table, spec=spec, where=where)
    columns = covariate_columns(log.table, spec=spec)
    if not columns:
        raise BadInput(
            f"{where} found no covariate in {log.table.columns}. Is there anything known before the decision?"
        )
    rows = [
        {"arm": name, "covariate": label, **_differences(values, log, arm)}
        for label, values in _columns(log.table, columns)
        for arm, name in enumerate(log.arms)
        if arm
    ]
    found = pl.DataFrame(rows)
    return found.sort(pl.col("weighted").abs(), "covariate", "arm", descending=[True, False, False])


def sample_ratio_test(table: pl.DataFrame, *, spec: EffectSpec | None = None) -> dict[str, float]:
    """Whether the arms hold as many rows as their propensities say: `chi2`, `arms`, and the p-value `p`.

    The counts less the sums of propensities, squared and measured by their covariance; a p below 0.001 says that rows
    are missing, or that the propensities recorded were not those used. Raises `BadInput` where the propensities are
    not recorded: there is nothing to compare with; give an experiment its planned chances as a column.
    """
    spec = spec or EffectSpec()
    where = "effects.sample_ratio_test"
    if spec.propensity is None:
        raise BadInput(
            f"{where} compares with recorded propensities, and EffectSpec(propensity=None) has none. Add a column with "
            "the planned chance of treatment and name it: EffectSpec(propensity='planned')"
        )
    from scipy.stats import chi2

    log = decisions(table, spec=spec, where=where)
    chances = log.propensity[:, 1:]
    counts = np.array([log.got(arm).sum() for arm in range(1, len(log.arms))])
    gap = counts - chances.sum(axis=0)
    covariance = np.diag(chances.sum(axis=0)) - chances.T @ chances
    statistic = float(gap @ np.linalg.solve(covariance, gap))
    return {"chi2": statistic, "arms": float(len(log.arms)), "p": float(chi2.sf(statistic, len(log.arms) - 1))}


def doubts(table: pl.DataFrame, *, spec: EffectSpec | None = None) -> list[str]:
    """What is wrong with the log, one sentence each; empty when nothing is."""
    spec = spec or EffectSpec()
    found = []
    if spec.propensity is not None:
        p = sample_ratio_test(table, spec=spec)["p"]
        if p < MISMATCH_P:
            found.append(
                f"The arms do not hold as many rows as the propensities say (p = {p:.1g}): rows are missing, or the "
                "propensities recorded are not those used. No figure here can be trusted."
            )
    narrow = overlap(table, spec=spec).filter(pl.col("below_5_percent") > 0.01)
    found += [
        f"{row['below_5_percent']:.1%} of rows had a chance below 5 % of {row['arm']!r}: weights are large."
        for row in narrow.iter_rows(named=True)
    ]
    log = decisions(table, spec=spec, where="effects.doubts")
    if covariate_columns(log.table, spec=spec):
        # The noise of a difference between two arms of this many rows, and ten times a tenth of it to be sure.
        uneven = balance_table(table, spec=spec).filter(pl.col("weighted").abs() > max(UNBALANCED, 5 * _noise(log)))
        if not uneven.is_empty():
            worst = uneven.row(0, named=True)
            found.append(
                f"Covariates differ between the arms even after weighting: {uneven.height} of them, most "
                f"{worst['covariate']!r} ({worst['weighted']:+.2f} standard deviations): was it known before the "
                "decision?"
            )
    return found


def _bins(chance: Floats) -> np.ndarray:
    levels = np.unique(np.round(chance, 9))
    if len(levels) <= BINS:
        return np.searchsorted(levels, np.round(chance, 9))
    edges = np.unique(np.quantile(chance, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, chance, side="right")


def _wilson(hits: int, rows: int) -> tuple[float, float]:
    z2 = 1.959963984540054**2
    middle = (hits + z2 / 2) / (rows + z2)
    reach = np.sqrt(z2 * hits * (rows - hits) / rows + z2**2 / 4) / (rows + z2)
    return float(middle - reach), float(middle + reach)


def _columns(table: pl.DataFrame, columns: tuple[str, ...]) -> list[tuple[str, Floats]]:
    found: list[tuple[str, Floats]] = []
    for name in columns:
        if table[name].dtype.is_numeric() or table[name].dtype == pl.Boolean:
            found.append((name, table[name].cast(pl.Float64).to_numpy()))
        else:
            words = table[name].cast(pl.String)
            common = words.drop_nulls().value_counts(sort=True).head(20)[name].sort()
            found += [
                (f"{name}={word}", (words == word).fill_null(False).cast(pl.Float64).to_numpy()) for word in common
            ]
    return found


def _differences(values: Floats, log: Decisions, arm: int) -> dict[str, float]:
    known = ~np.isnan(values)
    one, other = log.got(arm) & known, log.got(0) & known
    both = one | other
    spread = float(values[both].std()) if both.any() else 0.0
    if not one.any() or not other.any() or spread < 1e-12:
        return {"raw": 0.0, "weighted": 0.0}
    weight = 1 / log.chance

    def mean(mine: np.ndarray) -> float:
        return float(np.average(values[mine], weights=weight[mine]))

    return {
        "raw": float(values[one].mean() - values[other].mean()) / spread,
        "weighted": (mean(one) - mean(other)) / spread,
    }


def _noise(log: Decisions) -> float:
    """The standard error of a standardised difference: users are what is independent."""
    fewest = min(len(np.unique(log.user[log.got(arm)])) for arm in range(len(log.arms)))
    return float(np.sqrt(2 / fewest))
