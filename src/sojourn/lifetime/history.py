"""How long a log a task needs to be judged, and which setting needs less: in one sentence."""

from sojourn.lifetime.spec import ChurnSpec, LifetimeSpec, ValueSpec


def days_needed(horizon_days: int, *, step_days: int) -> int:
    """The days of log, beyond its history, for two folds: a window to learn from, one to choose on, one to test on.

    As-of dates lie `step_days` apart, so that the first two windows are rounded up to whole steps.

    >>> days_needed(30, step_days=10), days_needed(14, step_days=10)
    (90, 54)
    """
    return horizon_days + 2 * step_days * -(-horizon_days // step_days)


def longest_horizon(days: int, *, step_days: int) -> int:
    """The longest horizon that so many days of log, beyond its history, have two folds for; 0 where none has.

    >>> longest_horizon(90, step_days=10), longest_horizon(54, step_days=10), longest_horizon(20, step_days=10)
    (30, 14, 0)
    """
    return max((h for h in range(1, days // 3 + 1) if days_needed(h, step_days=step_days) <= days), default=0)


def is_long_enough(task: ValueSpec | ChurnSpec, *, spec: LifetimeSpec, log_days: int) -> bool:
    """Whether a log of so many days has the folds that this task's models are chosen and tested on."""
    return log_days >= spec.history_days + days_needed(task.horizon_days, step_days=spec.step_days)


def within_log(spec: LifetimeSpec, *, log_days: int) -> tuple[LifetimeSpec, str]:
    """The settings with the horizons that nobody asked for cut to what the log can judge; and a sentence that says so.

    Asked for is what the settings were made with, and what a model is named for. The shortest horizon is cut where it
    is too long, and so are the days of churn; longer horizons stay, to be extrapolated.

    >>> spec, said = within_log(LifetimeSpec(), log_days=90)
    >>> spec.horizons_days, spec.churn_days
    ((20, 90), 20)
    >>> within_log(LifetimeSpec(horizons_days=(30, 90), churn_days=30), log_days=90)[1]
    ''
    """
    most = longest_horizon(log_days - spec.history_days, step_days=spec.step_days)
    if not most:
        return spec, ""
    shortest, churn = min(spec.horizons_days), spec.churn_days
    cut: dict[str, object] = {}
    named = {*spec.models}
    if (
        _is_default(spec, "horizons_days")
        and most < shortest
        and not named & {each.name for each in spec.value_tasks()}
    ):
        cut["horizons_days"] = (most, *(days for days in sorted(spec.horizons_days) if days > shortest))
    if _is_default(spec, "churn_days") and most < churn and spec.churn_task().name not in named:
        cut["churn_days"] = most
    if not cut:
        return spec, ""
    of_what = {"horizons_days": "spend", "churn_days": "churn"}
    usual = max(shortest if name == "horizons_days" else churn for name in cut)
    return spec.with_changes(**cut), (
        f"{most} days ahead for {' and '.join(of_what[name] for name in cut)}: the log is too short for {usual}. It "
        f"has {log_days} days, and {spec.history_days + days_needed(usual, step_days=spec.step_days)} are needed."
    )


def _is_default(spec: LifetimeSpec, name: str) -> bool:
    return name not in spec.model_fields_set


def short_tasks(spec: LifetimeSpec, *, log_days: int) -> dict[str, str]:
    """The tasks that a log of so many days is too short to judge, each with the sentence that says so."""
    tasks = (task for task in spec.tasks() if not is_long_enough(task, spec=spec, log_days=log_days))
    return {task.name: too_short(task, spec=spec, log_days=log_days) for task in tasks}


def too_short(task: ValueSpec | ChurnSpec, *, spec: LifetimeSpec, log_days: int) -> str:
    """Why a log is too short to judge a task, how long it would have to be, and what can be asked of it instead."""
    needed = spec.history_days + days_needed(task.horizon_days, step_days=spec.step_days)
    most = longest_horizon(log_days - spec.history_days, step_days=spec.step_days)
    instead = f", or look less far ahead: {knob(task, days=most)}" if most else ""
    return (
        f"the log is too short to judge it: it has {log_days} days, and {needed} are needed, {spec.history_days} of "
        f"history (history_days) and windows of {task.horizon_days} days to learn from, to choose on and to test on. "
        f"Bring a longer log{instead}"
    )


def knob(task: ValueSpec | ChurnSpec, *, days: int) -> str:
    """The setting that makes a task look so many days ahead.

    >>> knob(ChurnSpec(), days=14), knob(ValueSpec(), days=14)
    ('churn_days = 14', '--horizon 14 (horizons_days)')
    """
    return f"churn_days = {days}" if isinstance(task, ChurnSpec) else f"--horizon {days} (horizons_days)"
