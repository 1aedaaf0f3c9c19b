"""Pages for people: did it help, and whom? Every figure with its interval, and what speaks against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from sojourn.effects.charts import (
    METHOD_LABELS,
    forest_chart,
    qini_chart,
    retention_effect_chart,
    uplift_decile_chart,
)
from sojourn.effects.ranking import Ranking
from sojourn.effects.retention import RetentionEffect
from sojourn.effects.spec import OUTCOME
from sojourn.effects.study import EffectStudy, UpliftStudy
from sojourn.evaluate import (
    Callout,
    Card,
    Cards,
    Chart,
    Column,
    Folded,
    Heading,
    Interval,
    Part,
    Report,
    SideBySide,
    Table,
    interval_note,
    number_text,
    settings_part,
)
from sojourn.evaluate.parts import Style

SHOWN_COVARIATES = 12


@dataclass(frozen=True)
class Shown:
    """How an outcome is written: its name for people, whether as a share, and the unit before it."""

    name: str
    style: Style = "number"
    unit: str = ""

    def effect(self, value: float | None) -> str:
        """An effect as text; shares as percentage points."""
        if self.style != "percent":
            return number_text(value, digits=3, unit=self.unit)
        return number_text(None if value is None else 100 * value, digits=2) + " points"

    def note(self, interval: Interval) -> str:
        """Its interval as a card's note."""
        if self.style != "percent":
            return interval_note(interval, digits=3, unit=self.unit)
        ends = {name: None if end is None else 100 * end for name, end in interval.model_dump().items()}
        return interval_note(Interval(**ends), digits=2)


def shown(outcome: str) -> Shown:
    """How the outcome column is written when nothing else is said."""
    return Shown(outcome.removeprefix(OUTCOME).replace("_", " "))


def effects_report(study: EffectStudy, *, how: Shown | None = None) -> Report:
    """The page of `study_effects`."""
    how = how or shown(study.spec.outcome)
    rows = int(study.overlap["rows"].sum())
    subtitle = f"Effect on {how.name}, from {rows:,} decisions whose outcome is known."
    parts: list[Part] = [
        *_doubts(study.doubts),
        Cards([_card(row, how) for row in study.effects.filter(method="doubly_robust").iter_rows(named=True)]),
        *effect_parts(study.effects, how),
        *(part for found in study.retention.values() for part in retention_parts(found)),
        *check_parts(study),
        settings_part(study.spec),
    ]
    return Report(f"Did it help? {how.name.capitalize()}", subtitle=subtitle, parts=tuple(parts))


def effect_parts(effects: pl.DataFrame, how: Shown) -> list[Part]:
    """The forest of effects and its table."""
    columns = [
        Column("arm", "Arm", style="text"),
        Column("label", "Method", style="text"),
        Column("effect", "Effect", digits=4, unit=how.unit),
        Column("control_mean", "Control", digits=4, unit=how.unit),
        Column("arm_mean", "Arm's mean", digits=4, unit=how.unit),
        Column("adjusted_by", "Adjusted by", style="text"),
    ]
    rows = [
        {
            **row,
            "label": METHOD_LABELS[row["method"]] + ("" if row["unbiased"] else " (biased here)"),
            "effect": Interval(value=row["effect"], low=row["low"], high=row["high"]),
        }
        for row in effects.iter_rows(named=True)
    ]
    return [
        Heading("The average effect", "What each arm did to the mean outcome, beside the control."),
        Chart(
            forest_chart(effects, style=how.style, unit=how.unit),
            f"Effect on {how.name}, by method",
            how_to_read="A bar that does not touch the dotted line is an effect that chance alone would hardly give. "
            "Hollow dots are biased here: the recorded chances of being treated differ between users. The doubly "
            "robust row is the one to quote.",
        ),
        Folded("The same as a table", parts=(Table(rows, columns=columns),)),
    ]


def retention_parts(found: RetentionEffect) -> list[Part]:
    """Effect by day, active days and restricted mean lifetime."""
    cards = [
        Card(
            "Active days gained",
            number_text(found.active_days.value, digits=3),
            interval_note(found.active_days, digits=3),
        ),
        Card(
            "Lifetime days gained",
            number_text(found.lifetime_days.value, digits=3),
            interval_note(found.lifetime_days, digits=3),
        ),
    ]
    if found.cost_per_day is not None:
        price = found.cost_per_day
        note = interval_note(price) or (
            "no upper end: the gain may be nothing"
            if price.low is None
            else f"at least {number_text(price.low)}; no upper end"
        )
        cards.append(Card("Cost of one more active day", number_text(price.value), note))
    return [
        Heading(
            f"Day by day: {found.arm}",
            f"What {found.arm} does to the share of users active on each of the {found.horizon_days} days from the "
            "decision on. Lifetime days: until the last active one, cut at the horizon.",
        ),
        Cards(cards),
        Chart(
            retention_effect_chart(found.curve),
            "Effect on the share of users active, by day",
            how_to_read="The darker band holds for each day, the lighter one for all days together.",
        ),
    ]


def check_parts(study: EffectStudy) -> list[Part]:
    """Can the log be believed?"""
    ratio = (
        "No propensities are recorded: the chances are taken to be the same for all."
        if study.ratio_p is None
        else f"Rows in each arm against what the propensities say: p = {study.ratio_p:.3g}. Below 0.001 would mean "
        "that rows are missing or the record is wrong."
    )
    parts: list[Part] = [Heading("Can the log be believed?", ratio)]
    tables: list[Part] = [
        Table(
            study.overlap,
            columns=[
                Column("arm", "Arm", style="text"),
                Column("rows", "Rows", digits=0),
                Column("users", "Users", digits=0),
                Column("propensity_min", "Least chance", style="percent"),
                Column("propensity_max", "Greatest", style="percent"),
                Column("effective_rows", "Worth", digits=0),
            ],
            title="Overlap",
            caption="Worth: how many evenly weighted rows the weighted ones are worth.",
        ),
        Table(
            study.propensities,
            columns=[
                Column("arm", "Arm", style="text"),
                Column("rows", "Rows", digits=0),
                Column("propensity_mean", "Recorded", style="percent"),
                Column("share", "Happened", style="percent"),
                Column("low", "From", style="percent"),
                Column("high", "To", style="percent"),
            ],
            title="Recorded and realised chances",
            caption="From, to: 95 % interval of what happened.",
        ),
    ]
    parts += tables
    if study.balance is not None:
        parts.append(
            Folded(
                "Balance of covariates",
                parts=(
                    Table(
                        study.balance.head(SHOWN_COVARIATES),
                        columns=[
                            Column("arm", "Arm", style="text"),
                            Column("covariate", "Covariate", style="text"),
                            Column("raw", "Raw", digits=3),
                            Column("weighted", "Weighted", digits=3),
                        ],
                        caption=f"Standardised differences from the control, {SHOWN_COVARIATES} largest.",
                    ),
                ),
            )
        )
    return parts


def uplift_report(study: UpliftStudy, *, how: Shown | None = None) -> Report:
    """The page of `study_uplift`."""
    how = how or shown(study.spec.outcome)
    parts: list[Part] = []
    for arm in study.rankings:
        parts += uplift_parts(study, arm, how)
    parts += [*policy_parts(study, how), settings_part(study.spec)]
    rows = study.model.held_out_.height
    return Report(
        f"Whom does it help? {how.name.capitalize()}",
        subtitle=f"Judged on {rows:,} decisions, each predicted by models that had not seen its user's outcomes.",
        parts=tuple(parts),
    )


def uplift_parts(study: UpliftStudy, arm: str, how: Shown) -> list[Part]:
    """One arm: what was learned, Qini beside random, and uplift by decile."""
    ranking, chosen = study.rankings[arm], study.model.chosen_[arm]
    figure, random = ranking.figures["qini"], ranking.random
    verdict = _verdict(ranking)
    learned = (
        f"No learner beat the same effect for all on users held out by {study.spec.evidence:g} standard errors "
        f"(the best was at {chosen['evidence']:.1f}), so everybody gets the average."
        if chosen["learner"] == "constant"
        else f"Learned by {'trees' if chosen['learner'] == 'trees' else 'a linear model'}: on users held out its "
        f"spread was {chosen['evidence']:.1f} standard errors from nothing, and {chosen['shrink']:.0%} of it is kept."
    )
    return [
        Heading(f"Uplift: {arm}", learned),
        Cards(
            [
                Card("Qini", how.effect(figure.value), how.note(figure)),
                Card("Qini of random scores", how.effect(random.value), how.note(random)),
                Card(
                    "Gain of treating the first 30 %",
                    how.effect(ranking.figures["gain_30"].value),
                    how.note(ranking.figures["gain_30"]),
                ),
                Card(
                    "Gain of treating all",
                    how.effect(ranking.figures["gain_all"].value),
                    how.note(ranking.figures["gain_all"]),
                ),
            ]
        ),
        Callout(verdict[0], tone=verdict[1]),
        SideBySide(
            (
                Chart(
                    qini_chart(ranking, others={"By a random score": study.blind[arm]}, style=how.style),
                    "Gain by share treated",
                    how_to_read="Qini is the area between the line and the dotted one. A dotted line inside the band "
                    "says that the order is worth nothing.",
                ),
                Chart(
                    uplift_decile_chart(study.deciles[arm], style=how.style),
                    "Uplift by decile",
                    how_to_read="Whiskers: 95 %. Deciles that share a prediction are one.",
                ),
            )
        ),
    ]


def _verdict(ranking: Ranking) -> tuple[str, Literal["note", "good", "warning"]]:
    found = ranking.figures["qini"]
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    if found.low > 0 and ranking.random.high is not None and found.value > ranking.random.high:
        return (
            "The order finds those whom treating helps: its Qini is above zero and above what random scores reach.",
            "good",
        )
    if found.high < 0:
        return "The order is worse than none: its Qini lies below zero.", "warning"
    return "The order may be worth nothing: the interval of its Qini holds zero.", "note"


def policy_parts(study: UpliftStudy, how: Shown) -> list[Part]:
    """What policies would have brought."""
    policy = study.policy
    budget = "no budget" if policy.budget is None else f"the budget is {number_text(policy.budget)}"
    labels = {"uplift": "By predicted uplift", "random": "As many, at random", "nobody": "Nobody"}
    rows = [
        {
            "policy": labels.get(row["policy"], row["policy"].replace("all_", "All: ")),
            "treated_share": row["treated_share"],
            "gain": row["gain"],
            "cost": row["cost"],
            "net": Interval(value=row["net"], low=row["low"], high=row["high"]),
        }
        for row in study.policies.iter_rows(named=True)
    ]
    costs = ", ".join(f"{number_text(policy.cost_of(arm))} ({arm})" for arm in study.rankings)
    return [
        Heading(
            "Whom to treat",
            f"One unit of {how.name} is worth {number_text(policy.value)}; treating costs {costs}; {budget}.",
        ),
        Table(
            rows,
            columns=[
                Column("policy", "Policy", style="text"),
                Column("treated_share", "Treated", style="percent"),
                Column("gain", "Gain a row", digits=4),
                Column("cost", "Cost a row", digits=4),
                Column("net", "Net a row", digits=4),
            ],
            caption="Off-policy values by doubly robust scores, with 95 % intervals; predictions had not seen them.",
            mark="By predicted uplift",
            mark_label="the model's",
        ),
    ]


def _doubts(sentences: Sequence[str]) -> list[Part]:
    return [Callout(sentence, tone="warning") for sentence in sentences]


def _card(row: dict[str, Any], how: Shown) -> Card:
    interval = Interval(value=row["effect"], low=row["low"], high=row["high"])
    return Card(f"Effect of {row['arm']}", how.effect(interval.value), how.note(interval))
