"""Two e-mail campaigns and a control: did they help, whom, and whom to mail next? A real experiment, 64,000 customers.

    SOJOURN_DATA=/path/to/data python recipes/uplift_hillstrom.py [--out hillstrom] [--rows N] [--json PATH]

Kevin Hillstrom's MineThatData e-mail challenge (2008): a third of the customers got an e-mail about men's goods, a
third one about women's, a third none; visits and spend of the two weeks after. Average effects by four methods, uplift
with Qini beside a random score, and policies under a budget go to stdout; the page goes to OUT/uplift-hillstrom.html.
`--rows` takes only so many customers.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.core import UnreadableSource, progress
from sojourn.effects import (
    EffectSpec,
    PolicySpec,
    RankingSpec,
    Shown,
    TreesSpec,
    UpliftSpec,
    UpliftStudy,
    average_effects,
    sample_ratio_test,
    study_uplift,
)
from sojourn.effects.report import effect_parts, policy_parts, uplift_parts
from sojourn.evaluate import Callout, Card, Cards, Heading, Part, Prose, Report, number_text

ARMS = {"No E-Mail": "control", "Mens E-Mail": "mens", "Womens E-Mail": "womens"}
PUBLISHED_VISITS = {"control": 0.1062, "mens": 0.1828, "womens": 0.1514}
OUTCOMES = {"visit": Shown("visits", style="percent"), "spend": Shown("spend", unit="$")}
TREES = TreesSpec(min_leaf_rows=200)
# A dollar of spend leaves 40 cents; a mail costs a dime, and there is money for 20,000 of them.
MARGIN, MAIL_USD, BUDGET_USD = 0.4, 0.1, 2000.0


def main() -> None:
    """Read, estimate, learn, judge, draw."""
    options = arguments()
    log = campaign_log(options.data, rows=options.rows)
    rates = dict(log.group_by("treatment").agg(pl.col("outcome_visit").mean()).iter_rows())
    effects, studies = {}, {}
    with progress("outcomes", total=2 * len(OUTCOMES)) as done:
        for outcome in OUTCOMES:
            spec = UpliftSpec(outcome=f"outcome_{outcome}", pre_period=("history", "recency"), outcome_trees=TREES)
            effects[outcome] = average_effects(log, spec=EffectSpec(**shared(spec)))
            done(1)
            studies[outcome] = study_uplift(log, spec=spec, policy=policy(outcome, log.height), ranking=RankingSpec())
            done(1)
    ratio = sample_ratio_test(log, spec=EffectSpec(outcome="outcome_visit"))
    print(told(log, rates, effects, studies))
    draw(log, effects, studies, ratio_p=ratio["p"], out=options.out / "uplift-hillstrom.html")
    if options.json:
        figures = {
            "customers": log.height,
            "visit_share": rates,
            "visit_share_published": PUBLISHED_VISITS,
            "ratio_p": ratio["p"],
            "effects": [row for table in effects.values() for row in table.to_dicts()],
            "uplift": {name: study.figures().to_dicts() for name, study in studies.items()},
            "chosen": {name: study.model.chosen_ for name, study in studies.items()},
            "policies": studies["spend"].policies.to_dicts(),
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says, and where the data lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("hillstrom"), help="the folder for the page")
    parser.add_argument("--rows", type=int, help="take only so many customers")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = sorted(Path(os.environ.get("SOJOURN_DATA", "")).joinpath("hillstrom").glob("hillstrom.csv*"))
    if not found:
        parser.error("set SOJOURN_DATA to the folder that holds hillstrom/hillstrom.csv (docs/data.md says where from)")
    options.data = found[0]
    return options


def campaign_log(path: Path, *, rows: int | None) -> pl.DataFrame:
    """The experiment as a campaign log: one row per customer, both mails planned for a third of them."""
    try:
        table = pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise UnreadableSource(f"{path} cannot be read: {fault}") from fault
    log = table.select(
        user_id=pl.format("c{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(5)),
        treatment=pl.col("segment").replace_strict(ARMS),
        propensity_mens=pl.lit(1 / 3),
        propensity_womens=pl.lit(1 / 3),
        outcome_visit=pl.col("visit").cast(pl.Float64),
        outcome_spend=pl.col("spend").cast(pl.Float64),
        **{name: pl.col(name) for name in ("recency", "history", "mens", "womens", "newbie", "zip_code", "channel")},
    )
    return log if rows is None else log.sample(min(rows, log.height), seed=0)


def shared(spec: UpliftSpec) -> dict[str, Any]:
    """What an `EffectSpec` has in common with this `UpliftSpec`."""
    return {name: value for name, value in spec.model_dump().items() if name in EffectSpec.model_fields}


def policy(outcome: str, rows: int) -> PolicySpec:
    """Spend in money; a visit is taken to be worth 25 cents, so that both may be asked."""
    budget = BUDGET_USD * rows / 64_000
    return PolicySpec(value=MARGIN if outcome == "spend" else 0.25, cost=MAIL_USD, budget=budget)


def told(
    log: pl.DataFrame, rates: dict[str, float], effects: dict[str, pl.DataFrame], studies: dict[str, UpliftStudy]
) -> str:
    """The figures as lines."""
    lines = [f"{log.height:,} customers; visited: " + ", ".join(f"{arm} {rates[arm]:.2%}" for arm in ARMS.values())]
    lines.append(f"\n{'outcome':<9}{'arm':<8}{'method':<15}{'effect':>9}{'low':>9}{'high':>9}")
    for outcome, table in effects.items():
        for row in table.iter_rows(named=True):
            figures = "".join(f"{row[name]:>9.4f}" for name in ("effect", "low", "high"))
            lines.append(f"{outcome:<9}{row['arm']:<8}{row['method']:<15}{figures}")
    lines.append(f"\n{'outcome':<9}{'arm':<8}{'learner':<10}{'Qini':>9}{'low':>9}{'high':>9}   random scores reach")
    for outcome, study in studies.items():
        for arm, ranking in study.rankings.items():
            qini, random = ranking.figures["qini"], ranking.random
            figures = "".join(f"{end:>9.5f}" for end in (qini.value, qini.low, qini.high))
            learner = study.model.chosen_[arm]["learner"]
            lines.append(f"{outcome:<9}{arm:<8}{learner:<10}{figures}   {random.low:.5f} to {random.high:.5f}")
    lines.append(f"\npolicy with a dollar of spend worth ${MARGIN:.2f}, a mail ${MAIL_USD:.2f}, net a customer")
    for row in studies["spend"].policies.iter_rows(named=True):
        share = f"{row['treated_share']:.0%}"
        lines.append(f"{row['policy']:<12}{share:>5} mailed  ${row['net']:.4f} [{row['low']:.4f}, {row['high']:.4f}]")
    return "\n".join(lines)


def draw(
    log: pl.DataFrame, effects: dict[str, pl.DataFrame], studies: dict[str, UpliftStudy], *, ratio_p: float, out: Path
) -> None:
    """The page."""
    cards = [
        Card(
            f"{arm.capitalize()}: {how.name}",
            how.effect(row["effect"]),
            f"beside none; 95 % from {how.effect(row['low'])} to {how.effect(row['high'])}",
        )
        for outcome, how in OUTCOMES.items()
        for row in effects[outcome].filter(method="doubly_robust").iter_rows(named=True)
        for arm in [row["arm"]]
    ]
    parts: list[Part] = [
        Cards(cards),
        Callout(
            "Both mails helped on average. Whether some customers gain more than others is another question, which the "
            f"intervals below answer. Sizes of the three arms against the planned thirds: p = {number_text(ratio_p)}."
        ),
    ]
    for outcome, how in OUTCOMES.items():
        study = studies[outcome]
        parts.append(Heading(how.name.capitalize(), f"Two weeks after the mail, {log.height:,} customers."))
        parts += effect_parts(effects[outcome], how)[1:]
        for arm in study.rankings:
            parts += uplift_parts(study, arm, how)
    parts += policy_parts(studies["spend"], OUTCOMES["spend"])
    parts.append(
        Prose(
            "Predictions that are judged here come from models that had seen no outcome of the customer's own fifth. "
            "Data: Kevin Hillstrom's MineThatData e-mail challenge, 2008."
        )
    )
    title = "Two e-mails: did they help, and whom?"
    Report(title, subtitle=f"{log.height:,} customers in a three-arm experiment", parts=tuple(parts)).write(out)


if __name__ == "__main__":
    main()
