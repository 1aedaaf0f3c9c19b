"""The report for a person: what each user will spend and how sure that is, who slips away, and can it be believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from sojourn.core import BadInput
from sojourn.evaluate import (
    Callout,
    Card,
    Cards,
    Chart,
    Column,
    Folded,
    Heading,
    Part,
    Prose,
    Report,
    Table,
    histogram_chart,
    number_text,
    settings_part,
)
from sojourn.lifetime._proof import proof_parts
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.evidence import Evidence, left_out_parts
from sojourn.lifetime.spec import LifetimeSpec, ValueSpec

SHOWN_USERS = 10


@dataclass(frozen=True)
class Outlook:
    """What was predicted for the users of today: `profiles`, the two lists made of them, and by which model."""

    profiles: pl.DataFrame
    high_spenders: pl.DataFrame
    at_risk: pl.DataFrame
    fingerprint: str


def write_report(
    path: Path,
    *,
    comparisons: Sequence[Comparison],
    spec: LifetimeSpec,
    outlook: Outlook | None = None,
    evidence: Evidence | None = None,
) -> None:
    """Write the report as one HTML file that needs nothing else. Without an `outlook` it holds the proof alone.

    `evidence` is what goes beside the comparisons. Raises `BadInput` without comparisons.
    """
    lifetime_report(comparisons=comparisons, spec=spec, outlook=outlook, evidence=evidence).write(path)


def lifetime_report(
    *,
    comparisons: Sequence[Comparison],
    spec: LifetimeSpec,
    outlook: Outlook | None = None,
    evidence: Evidence | None = None,
) -> Report:
    """The report, to be written or to be joined to another."""
    evidence = evidence or Evidence()
    if not comparisons:
        raise BadInput("lifetime.write_report needs at least one comparison: compare(table, spec=ValueSpec())")
    first = comparisons[0].choice.split.as_ofs[0]
    latest = max(comparison.final.fold.test for comparison in comparisons)
    subtitle = f"Learned and tested on as-of dates from {_day(first)} to {_day(latest)}"
    if outlook is not None and not outlook.profiles.is_empty():
        subtitle = f"{outlook.profiles.height:,} users as of {_day(outlook.profiles['as_of'][0])}. {subtitle}."
    parts = [
        *left_out_parts(evidence),
        *_extrapolated_parts(comparisons, spec, evidence),
        *_outlook_parts(outlook, spec, compared=_value_days(comparisons)),
        *proof_parts(comparisons, spec, evidence),
        *_next_steps(outlook),
        *_details(comparisons, spec, outlook),
    ]
    return Report("What users will spend, and who is slipping away", subtitle=subtitle, parts=tuple(parts))


def _value_days(comparisons: Sequence[Comparison]) -> set[int]:
    return {one.spec.horizon_days for one in comparisons if isinstance(one.spec, ValueSpec)}


def _extrapolated_parts(comparisons: Sequence[Comparison], spec: LifetimeSpec, evidence: Evidence) -> list[Part]:
    """What to know of horizons that are predicted though the log is too short for them: they were not compared."""
    compared = {one.spec.name for one in comparisons} | {*evidence.left_out}
    longer = [task.horizon_days for task in spec.value_tasks() if task.name not in compared]
    if not longer or not _value_days(comparisons):
        return []
    base = max(_value_days(comparisons))
    days = " and ".join(str(days) for days in longer)
    return [
        Callout(
            f"The log is too short to learn and to test {days} days ahead. Figures for {days} days are "
            f"**extrapolated** from those for {base}: a purchase process, fitted to when users bought, says by how "
            "much each user's forecast grows. How far off they are has not been measured, and their intervals are "
            f"those for {base} days, grown alike.",
            tone="warning",
        )
    ]


def _outlook_parts(outlook: Outlook | None, spec: LifetimeSpec, *, compared: set[int]) -> list[Part]:
    if outlook is None or outlook.profiles.is_empty():
        return []
    return [_headline(outlook, spec), *_spend_parts(outlook, spec, compared), *_risk_parts(outlook, spec)]


def _headline(outlook: Outlook, spec: LifetimeSpec) -> Cards:
    users, high, risk = outlook.profiles, outlook.high_spenders, outlook.at_risk
    days = users["horizon_days"][0]
    total, held, money = (
        float(part.sum()) for part in (users["expected_spend"], high["expected_spend"], risk["money_at_risk"])
    )
    share, leave = held / total if total else None, users["churn_prob"].to_numpy()
    return Cards(
        (
            Card(f"Expected spend, next {days} days", _money(total, spec), f"by {users.height:,} users"),
            Card(
                "Likely high spenders",
                f"{high.height:,}",
                f"{number_text(share, style='percent', digits=0)} of the expected spend",
            ),
            Card("High spenders at risk", f"{risk.height:,}", f"{_money(money, spec)} less than usual expected"),
            Card(
                f"Will not buy in {spec.churn_days} days",
                f"{leave.sum():,.0f}",
                f"{number_text(float(leave.mean()), style='percent', digits=0)} of users, by their probabilities",
            ),
        )
    )


def _spend_parts(outlook: Outlook, spec: LifetimeSpec, compared: set[int]) -> list[Part]:
    users = outlook.profiles
    days = users["horizon_days"][0]
    level = number_text(spec.level, style="percent", digits=0)
    held = "is measured below" if days in compared else "so far ahead has not been measured"
    return [
        Heading(
            "What each user will spend",
            f"Expected spend in the {days} days from {_day(users['as_of'][0])}, user by user, with an interval that "
            f"shall hold for {level} of users. How well it holds {held}.",
        ),
        Chart(
            histogram_chart(
                users["expected_spend"].to_numpy(), label=f"Expected spend, next {days} days", unit=spec.unit
            ),
            "How many users are expected to spend how much",
            how_to_read="Each bar counts users by what they are expected to spend; the line is the median user.",
        ),
        Table(
            outlook.high_spenders.head(SHOWN_USERS),
            columns=_columns(outlook.high_spenders, spec),
            title="Likely high spenders",
            caption=f"The first {min(SHOWN_USERS, outlook.high_spenders.height)} of {outlook.high_spenders.height:,}; "
            f"all are in likely_high_spenders.csv. From, to: the interval that shall hold for {level} of users. Usual: "
            f"{days} days at the user's rate over the longest time known.",
        ),
    ]


def _risk_parts(outlook: Outlook, spec: LifetimeSpec) -> list[Part]:
    risk = outlook.at_risk
    heading = Heading(
        "Who is slipping away",
        "Users who used to spend much and are now likely to stop, or are expected to spend far less than usual, with "
        "the most money at risk first.",
    )
    if risk.is_empty():
        return [heading, Prose("No high spender is at risk by the limits set.")]
    return [
        heading,
        Table(
            risk.head(SHOWN_USERS),
            columns=[
                *_columns(risk, spec),
                Column("money_at_risk", "At risk", digits=0, unit=spec.unit),
                Column("reason", "Why", style="text"),
            ],
            title="High spenders at risk",
            caption=f"The first {min(SHOWN_USERS, risk.height)} of {risk.height:,}; all are in "
            "high_spenders_at_risk.csv. At risk: usual spend less expected spend.",
        ),
    ]


def _columns(users: pl.DataFrame, spec: LifetimeSpec) -> list[Column]:
    last = next(name for name in users.columns if name.startswith("spend_last_"))
    window = last.removeprefix("spend_last_").removesuffix("d")
    money = (
        ("expected_spend", "Expected"),
        ("expected_low", "From"),
        ("expected_high", "To"),
        ("usual_spend", "Usual"),
        (last, f"Last {window} days"),
    )
    return [
        Column("user_id", "User", style="text"),
        *(Column(name, label, digits=0, unit=spec.unit) for name, label in money),
        Column("last_purchase", "Last purchase", style="text"),
        Column("churn_prob", f"No purchase in {spec.churn_days} days", style="percent", digits=1),
    ]


def _next_steps(outlook: Outlook | None) -> list[Part]:
    if outlook is None:
        return []
    return [
        Heading("What to do next"),
        Prose(
            "**Keep the best.** Treat the users in `likely_high_spenders.csv` as such: early access, service, no "
            "discounts that they do not need.\n\n"
            "**Win back, and measure.** Write to the users in `high_spenders_at_risk.csv` soon, from the top, but "
            "leave a random tenth of the list alone. A prediction says who will leave, not who can be kept: only the "
            "difference to those left alone says whether writing helped.\n\n"
            "**Plan with the total.** Sums over many users are surer than any single user; their error is the bias in "
            "the tables above.\n\n"
            "**Ask again.** Run this weekly: a user's churn probability rises quickly once the usual gap has passed."
        ),
    ]


def _details(comparisons: Sequence[Comparison], spec: LifetimeSpec, outlook: Outlook | None) -> list[Part]:
    rows = [
        {
            "task": comparison.spec.name,
            "use": use,
            "train": f"{fold.train[-spec.train_as_ofs :][0]} to {fold.train[-1]}",
            "dates": len(fold.train[-spec.train_as_ofs :]),
            "test": f"[{fold.test}, +{comparison.spec.horizon_days} days)",
            "split": comparison.choice.fingerprint,
        }
        for comparison in comparisons
        for use, fold in [
            *(("choice", result.fold) for result in comparison.choice.folds),
            ("last test", comparison.final.fold),
        ]
    ]
    names = ("task", "use", "train", "dates", "test", "split")
    labels = ("Task", "Used for", "Learned from, as of", "Dates", "Judged on", "Split")
    columns = [Column(name, label, style="text") for name, label in zip(names, labels, strict=True)]
    caption = "No label window that was learned from ends after the day on which the test begins."
    made = "" if outlook is None else f" Predictions carry the models' fingerprint {outlook.fingerprint}."
    return [
        Heading("Details"),
        Folded("Folds", parts=(Table(rows, columns=columns, caption=caption + made),)),
        settings_part(spec),
    ]


def _money(amount: float, spec: LifetimeSpec) -> str:
    return number_text(amount, digits=0, unit=spec.unit)


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
