"""A campaign table goes in; figures, tables and one page for people come out: did it help, and whom."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sojourn.core import BadInput, UnreadableSource
from sojourn.effects.average import average_effects
from sojourn.effects.checks import balance_table, doubts, overlap, propensity_table, sample_ratio_test
from sojourn.effects.policy import policy_values
from sojourn.effects.ranking import Ranking, qini, uplift_deciles
from sojourn.effects.retention import ACTIVE, RetentionEffect, retention_effects
from sojourn.effects.spec import SCORE, EffectSpec, PolicySpec, RankingSpec, UpliftSpec
from sojourn.effects.uplift import Uplift
from sojourn.evaluate.scores import write_whole

EFFECTS_FILE, FIGURES_FILE, UPLIFT_FILE, MODEL, REPORT_FILE = (
    "effects.csv",
    "figures.json",
    "uplift.parquet",
    "model",
    "report.html",
)


@dataclass(frozen=True)
class EffectStudy:
    """Average effects of an outcome, what the log's checks say, and effects by day where the table has days.

    `ratio_p` is the p-value of the sample ratio test, None where no propensities are recorded.
    """

    spec: EffectSpec
    effects: pl.DataFrame
    doubts: list[str]
    overlap: pl.DataFrame
    propensities: pl.DataFrame
    balance: pl.DataFrame | None
    ratio_p: float | None
    retention: dict[str, RetentionEffect]


@dataclass(frozen=True)
class UpliftStudy:
    """The fitted model, and per arm how good its order is, by decile, with a random order beside; policies on top."""

    spec: UpliftSpec
    model: Uplift
    rankings: dict[str, Ranking]
    blind: dict[str, Ranking]
    deciles: dict[str, pl.DataFrame]
    policies: pl.DataFrame
    policy: PolicySpec

    def figures(self) -> pl.DataFrame:
        """One row per arm and figure: `arm, figure, value, low, high`; `qini_blind` is one random score's."""
        parts = []
        for arm, ranking in self.rankings.items():
            blind = self.blind[arm].table().filter(figure="qini").with_columns(figure=pl.lit("qini_blind"))
            both = pl.concat([ranking.table(), blind])
            parts.append(both.select(pl.lit(arm).alias("arm"), *both.columns))
        return pl.concat(parts)


def study_effects(table: pl.DataFrame, *, spec: EffectSpec | None = None, cost: float | None = None) -> EffectStudy:
    """Whether treating helped: `average_effects` by every method, the checks, and `retention_effects` where it can.

    Raises what `average_effects` does.
    """
    spec = spec or EffectSpec()
    effects = average_effects(table, spec=spec)
    has_days = f"{ACTIVE}0" in table.columns
    try:
        balance = balance_table(table, spec=spec)
    except BadInput:  # there is no covariate to balance; every other fault has been raised above
        balance = None
    return EffectStudy(
        spec=spec,
        effects=effects,
        doubts=doubts(table, spec=spec),
        overlap=overlap(table, spec=spec),
        propensities=propensity_table(table, spec=spec),
        balance=balance,
        ratio_p=None if spec.propensity is None else sample_ratio_test(table, spec=spec)["p"],
        retention=retention_effects(table, spec=spec, cost=cost) if has_days else {},
    )


def study_uplift(
    table: pl.DataFrame,
    *,
    spec: UpliftSpec | None = None,
    policy: PolicySpec | None = None,
    ranking: RankingSpec | None = None,
) -> UpliftStudy:
    """Whom treating helps: `Uplift` fitted, and judged on predictions that had not seen what they are judged by.

    Raises what `Uplift.fit` does.
    """
    spec, policy, ranking = spec or UpliftSpec(), policy or PolicySpec(), ranking or RankingSpec()
    model = Uplift(spec).fit(table)
    held_out = with_random_score(model.held_out_, seed=ranking.seed)
    arms = model.arms_[1:]
    return UpliftStudy(
        spec=spec,
        model=model,
        rankings={arm: qini(held_out, arm=arm, spec=ranking) for arm in arms},
        blind={arm: qini(held_out, arm=arm, by="random", spec=ranking) for arm in arms},
        deciles={arm: uplift_deciles(held_out, arm=arm, level=ranking.level) for arm in arms},
        policies=policy_values(model.held_out_, spec=policy, level=ranking.level),
        policy=policy,
    )


def with_random_score(held_out: pl.DataFrame, *, seed: int = 0) -> pl.DataFrame:
    """The table with a column `random`: a score that knows nothing, to stand beside one that claims to."""
    return held_out.with_columns(random=pl.Series(np.random.default_rng([seed, 2]).random(held_out.height)))


def write_effects(study: EffectStudy, *, out: Path) -> None:
    """Write `effects.csv` and `report.html` into the folder `out`."""
    from sojourn.effects.report import effects_report

    write_whole(out / EFFECTS_FILE, study.effects.write_csv())
    effects_report(study).write(out / REPORT_FILE)


def write_uplift(study: UpliftStudy, *, out: Path) -> None:
    """Write `uplift.parquet` (held-out predictions), `figures.json`, the folder `model` and `report.html`."""
    from sojourn.effects.report import uplift_report

    out.mkdir(parents=True, exist_ok=True)
    scores = [name for name in study.model.held_out_.columns if name.startswith(SCORE)]
    study.model.held_out_.drop(scores).write_parquet(out / UPLIFT_FILE)
    figures = {
        "chosen": study.model.chosen_,
        "figures": study.figures().to_dicts(),
        "policies": study.policies.to_dicts(),
    }
    write_whole(out / FIGURES_FILE, json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    study.model.save(out / MODEL)
    uplift_report(study).write(out / REPORT_FILE)


def read_campaign(path: Path) -> pl.DataFrame:
    """A campaign table from a Parquet or CSV file. Raises `UnreadableSource`.

    In CSV an empty field is missing, and `as_of` is read as a date.
    """
    try:
        if path.suffix.lower() in {".csv", ".tsv"}:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            table = pl.read_csv(path, separator=separator, try_parse_dates=True, infer_schema_length=None)
        else:
            table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise UnreadableSource(
            f"{path} cannot be read as a table: {str(fault).splitlines()[0]}. Give a .parquet or .csv file."
        ) from fault
    if "user_id" in table.columns:
        table = table.with_columns(pl.col("user_id").cast(pl.String))
    return table


def as_asked(table: pl.DataFrame, *, spec: EffectSpec) -> tuple[pl.DataFrame, EffectSpec]:
    """The table with 0 and 1 as treatment read as false and true, and the spec without propensities it cannot have.

    For the command line, where a CSV has no truth values and an experiment often no column of chances.
    """
    if spec.treatment in table.columns and table[spec.treatment].dtype.is_integer():
        found = set(table[spec.treatment].drop_nulls().unique())
        if found <= {0, 1}:
            table = table.with_columns(pl.col(spec.treatment) == 1)
    chances = [name for name in table.columns if spec.propensity is not None and name.startswith(spec.propensity)]
    return table, spec if chances else spec.with_changes(propensity=None)
