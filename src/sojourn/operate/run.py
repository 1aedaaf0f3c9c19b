"""A closed day and what is declared of it come in; the day's tables, an account of every step, and alerts come out."""

import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

from sojourn.core import BadInput
from sojourn.operate._local import on_duckdb
from sojourn.operate.account import Outcome, RunReport, sentence_of, write_account
from sojourn.operate.alerts import Alert
from sojourn.operate.declared import Declared
from sojourn.operate.steps import Morning, Step, steps_of
from sojourn.warehouse import Warehouse
from sojourn.warehouse.locks import exclusive

FIRST_YEAR, LAST_YEAR = 1900, 2199


def run_day(
    warehouse: Warehouse,
    declared: Declared,
    *,
    day: date,
    at: datetime,
    tell: Callable[[str], None] = lambda _: None,
    clock: Callable[[], datetime] | None = None,
) -> RunReport:
    """Do what is declared for a business day, and only what is stale; write the account to tables `runs` and `alerts`.

    `at` (with a zone) is when rows that are taken in are learned of. `tell` hears the name of each step before it
    begins; `clock` tells when that is, for the account, which says `at` without it. A step that cannot be done, for
    whatever fault, or a check that fails, holds back the steps that need it; the others go on. Killed at any moment and
    run again, the tables end as if it had not been killed. Raises `BadInput` when nothing is declared, when `at` has no
    zone and for a day that no log has, and `Locked` while another run works on this warehouse.
    """
    _need_known_year(day)
    if at.tzinfo is None:
        raise BadInput(f"at = {at} has no zone. Give one: at.replace(tzinfo=UTC)")
    steps = steps_of(declared)
    if not steps:
        raise BadInput(
            "sojourn.toml declares nothing to do for a day. Add a section, such as [ingest] with files, "
            "[rollups.user], [lifetime] or [checks.rows]."
        )
    with exclusive(warehouse.root / "_locks" / "_run.lock", what=f"The warehouse {warehouse.root}"):
        morning = Morning(warehouse, declared, day, at, clock=clock)
        outcomes = _all_steps(steps, morning, tell)
        report = RunReport(day, tuple(outcomes), tuple(morning.alerts))
        tell(f"{day} account")
        return write_account(on_duckdb(warehouse), report, at=morning.now())


def run_days(
    warehouse: Warehouse,
    declared: Declared,
    *,
    start: date,
    end: date,
    at: datetime,
    tell: Callable[[str], None] = lambda _: None,
    clock: Callable[[], datetime] | None = None,
    ended: Callable[[RunReport], None] = lambda _: None,
) -> list[RunReport]:
    """`run_day` for every business day in [start, end), one by one; a day that fails does not stop the next.

    `ended` hears of each day as it ends.
    """
    _need_known_year(start)
    _need_known_year(end)
    if start >= end:
        raise BadInput(f"No day lies from {start} up to, but without, {end}. Give an earlier start or a later end.")
    days = [start + timedelta(days=number) for number in range((end - start).days)]
    reports = []
    for day in days:
        reports.append(run_day(warehouse, declared, day=day, at=at, tell=tell, clock=clock))
        ended(reports[-1])
    return reports


def _all_steps(steps: Sequence[Step], morning: Morning, tell: Callable[[str], None]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    failed: dict[str, str] = {}
    for step in steps:
        blocked = [failed[part] for part in step.needs if part in failed]
        if blocked:
            outcomes.append(
                Outcome(step.name, "held back", f"since {sorted(blocked)[0]!r} failed", None, 0.0, morning.now())
            )
            failed.setdefault(step.part, sorted(blocked)[0])
            continue
        tell(f"{morning.day} {step.name}")
        outcome = _one_step(step, morning)
        outcomes.append(outcome)
        if outcome.verdict == "failed":
            failed.setdefault(step.part, step.name)
    return outcomes


def _one_step(step: Step, morning: Morning) -> Outcome:
    begun, started = morning.now(), time.perf_counter()
    try:
        done = step.work(morning)
    except Exception as fault:
        # Whatever it is, the steps that do not need this one go on, and the day's account is written.
        told = sentence_of(fault)
        morning.alerts.append(Alert("step", step.name, "fail", told))
        return Outcome(step.name, "failed", told, None, time.perf_counter() - started, begun, is_mistake=True)
    return Outcome(step.name, done.verdict, done.told, done.rows, time.perf_counter() - started, begun)


def _need_known_year(day: date) -> None:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise BadInput(
            f"The day {day} lies outside the years {FIRST_YEAR} to {LAST_YEAR}. Give the business day that has closed, "
            f"such as 2024-12-30."
        )
