"""What the last fold says of the model that earlier folds picked, in plain words, a dumb winner named as one."""

from collections.abc import Mapping
from typing import Literal

from sojourn.evaluate import METRICS, Difference, Interval, number_text, range_text
from sojourn.lifetime._bias import bias_but_one
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.models import baselines_of, model_label

JUDGED = {"value": ("mae", "gini"), "probability": ("brier", "auc")}
IN_WORDS = {
    "mae": "a user's prediction is off by",
    "gini": "ranking (Gini)",
    "brier": "squared error of the probability (Brier)",
    "auc": "telling leavers from stayers (AUC)",
}

# A total that is off by more than this is said to be, where chance among users does not explain it.
MUCH_OFF = 0.25


def verdict(comparison: Comparison, *, labels: Mapping[str, str] | None = None) -> str:
    """In a few sentences: whether anything learned was worth it, which models did better on the last fold, whether its
    total there is far off, and which models did not finish, and which took no part.

    A model counts as better where the 95 % interval of the paired difference leaves out 0, in MAE or Gini (of a
    probability: Brier or AUC). A total counts as far off above 25 %, where the 95 % interval of the bias leaves out 0.
    `labels` are what models are called, their names when left out.
    """
    called = {name: f"'{name}'" for name in (*comparison.spec.models, *comparison.failed, *comparison.absent)} | dict(
        labels or {}
    )
    said = f"the earlier folds picked {called[comparison.chosen]}"
    if comparison.chosen in baselines_of(comparison.spec):
        said += ", a dumb baseline: nothing that was learned did better there"
    parts = (
        _on_the_last_fold(comparison, called),
        far_off(comparison),
        _outliers(comparison),
        *_did_not_finish(comparison, called),
        *_took_no_part(comparison, called),
    )
    return " ".join(part for part in (f"{said}.", *parts) if part)


def verdict_tone(comparison: Comparison) -> Literal["good", "note", "warning"]:
    """The colour of the verdict: a warning where the pick is a dumb baseline, is behind one on the last fold, or has a
    total that is far off; good where no other model did better there, and better than all dumb ones; else a note.
    """
    dumb = baselines_of(comparison.spec)
    behind = [name for name in comparison.differences if _worse(comparison, name)]
    off = is_far_off(comparison.scores.models[comparison.chosen]["bias"])
    if off or comparison.chosen in dumb or any(name in dumb for name in behind):
        return "warning"
    sure = all(_is_better(comparison, name) for name in comparison.differences if name in dumb)
    return "good" if sure and not behind else "note"


def verdict_sentence(comparison: Comparison, *, rival: str, unit: str = "") -> str:
    """Whether the chosen model beat another on the last fold, metric by metric, with intervals, in words."""
    labels = {name: model_label(name, spec=comparison.spec) for name in (comparison.chosen, rival)}
    if rival == comparison.chosen:
        return f"The earlier folds picked **{labels[rival]}** itself: nothing that was learned did better there."
    found = [_judged(comparison, rival, metric, unit) for metric in JUDGED[comparison.scores.kind]]
    return (
        f"**{labels[comparison.chosen]}** against **{labels[rival]}**, on users of the last fold: {'; '.join(found)}."
    )


def standing(metric: str, difference: Difference) -> str:
    """`better`, `worse`, or `not told apart` when the interval of the difference holds zero."""
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return "not told apart"
    lower_is_better = METRICS[metric].better != "high"
    return "better" if (difference.high < 0) == lower_is_better else "worse"


def _on_the_last_fold(comparison: Comparison, called: Mapping[str, str]) -> str:
    dumb = baselines_of(comparison.spec)
    behind = [
        f"{called[name]} ({'a dumb baseline; ' if name in dumb else ''}{', '.join(worse)})"
        for name in comparison.differences
        if (worse := _worse(comparison, name))
    ]
    if not behind:
        return "On the last fold no other model did better, chance set aside."
    said = f"On the last fold it is behind {_listed(behind)}."
    if "zero" in comparison.differences and _worse(comparison, "zero") and not comparison.predictions["truth"].median():
        said += " More than half of the users spend nothing, so the lowest MAE goes to whoever says so of everyone."
    return said


def far_off(comparison: Comparison) -> str:
    """A sentence where the chosen model's total on the last fold is far off, and not by chance."""
    bias = comparison.scores.models[comparison.chosen]["bias"]
    if not is_far_off(bias):
        return ""
    said = (
        f"Its total there is off by {number_text(bias.value, style='change', digits=0)} (95 % interval "
        f"{range_text(bias, style='change', digits=0)}"
    )
    if comparison.scores.kind == "value":
        rest = bias_but_one(comparison.predictions, said=comparison.chosen)
        said += f"; {number_text(rest, style='change', digits=0)} without the one user who makes most of that"
    return f"{said}): do not plan with its totals before that is understood."


def is_far_off(bias: Interval) -> bool:
    """Whether a total is off by more than `MUCH_OFF`, and its interval leaves out 0."""
    if bias.value is None or bias.low is None or bias.high is None:
        return False
    return abs(bias.value) > MUCH_OFF and not bias.low <= 0 <= bias.high


def _outliers(comparison: Comparison) -> str:
    """A sentence where one user had so much of the money that what they spent was learned only in part."""
    if not comparison.outliers:
        return ""
    what = "1 outcome counts" if comparison.outliers == 1 else f"{comparison.outliers} outcomes count"
    return (
        f"{what} only in part in what was learned: one user alone had more than a tenth of the money after that date. "
        "Look whether that sale is real."
    )


def _did_not_finish(comparison: Comparison, called: Mapping[str, str]) -> list[str]:
    return [f"{called[name]} did not finish: {why.rstrip('.')}." for name, why in comparison.failed.items()]


def _took_no_part(comparison: Comparison, called: Mapping[str, str]) -> list[str]:
    """One sentence for all models that share a reason."""
    reasons = dict.fromkeys(comparison.absent.values())
    named = {why: [called[name] for name, told in comparison.absent.items() if told == why] for why in reasons}
    return [f"{_listed(names)} took no part: {why}." for why, names in named.items()]


def _is_better(comparison: Comparison, name: str) -> bool:
    found = comparison.differences[name]
    return any(standing(metric, found[metric]) == "better" for metric in JUDGED[comparison.scores.kind])


def _worse(comparison: Comparison, name: str) -> list[str]:
    models = comparison.scores.models
    return [
        f"{METRICS[metric].label} {number_text(models[name][metric].value)} "
        f"against {number_text(models[comparison.chosen][metric].value)}"
        for metric in JUDGED[comparison.scores.kind]
        if standing(metric, comparison.differences[name][metric]) == "worse"
    ]


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _judged(comparison: Comparison, rival: str, metric: str, unit: str) -> str:
    models = comparison.scores.models
    unit = unit if metric == "mae" else ""
    digits = None if metric == "mae" else 3
    one, other = (
        number_text(models[name][metric].value, digits=digits, unit=unit) for name in (comparison.chosen, rival)
    )
    difference = comparison.differences[rival][metric]
    said = standing(metric, difference)
    digits = None if metric == "mae" else 4
    ends = range_text(difference, digits=digits)
    between = f", difference {number_text(difference.value, digits=digits)} (95 % interval {ends})" if ends else ""
    return f"{IN_WORDS[metric]} {one} against {other}{between}: **{said}**"
