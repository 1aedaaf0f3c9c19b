"""A closed day and what is declared of it come in; the day's tables, an account of every step, and alerts come out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from sojourn.core import BadInput, SojournError, fingerprint
from sojourn.operate.alerts import Alert, write_alerts
from sojourn.operate.declared import Declared
from sojourn.operate.sources import on_duckdb
from sojourn.operate.steps import Morning, Step, Verdict, steps_of
from sojourn.warehouse import Warehouse
from sojourn.warehouse.locks import exclusive

TABLE = "runs"
# A cron of five minutes fills a partition with a week's attempts and no more.
MOST_ATTEMPTS = 50
SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    "attempt": pl.Int64,
    "step_number": pl.Int64,
    "started_at": pl.Datetime("us", "UTC"),
    "step": pl.String,
    "verdict": pl.String,
    "told": pl.String,
    "rows": pl.Int64,
    "seconds": pl.Float64,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one step: its verdict, in words, the rows it wrote, and the seconds it took."""

    step: str
    verdict: Verdict
    told: str
    rows: int | None
    seconds: float
    is_mistake: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain values."""
        return {name: each for name, each in vars(self).items() if name != "is_mistake"}


@dataclass(frozen=True)
class RunReport:
    """The account of one day's run."""

    day: date
    outcomes: tuple[Outcome, ...]
    alerts: tuple[Alert, ...]

    @property
    def exit_status(self) -> int:
        """0: all is well; 1: a check failed, or there is an alert that says fail; 2: a step could not be done."""
        if any(each.is_mistake for each in self.outcomes):
            return 2
        return int(any(each.severity == "fail" for each in self.alerts))

    @property
    def seconds(self) -> float:
        """How long all steps took."""
        return sum(each.seconds for each in self.outcomes)


def run_day(
    warehouse: Warehouse,
    declared: Declared,
    *,
    day: date,
    at: datetime,
    tell: Callable[[str], None] = lambda _: None,
) -> RunReport:
    """Do what is declared for a business day, and only what is stale; write the account to tables `runs` and `alerts`.

    `at` (with a zone) is when rows that are taken in are learned of. `tell` hears the name of each step before it
    begins. A step that cannot be done, or a check that fails, holds back the steps that need it; the others go on.
    Killed at any moment and run again, the tables end as if it had not been killed. Raises `BadInput` when nothing is
    declared or `at` has no zone, and `Locked` while another run works on this warehouse.
    """
    if at.tzinfo is None:
        raise BadInput(f"at = {at} has no zone. Give one: at.replace(tzinfo=UTC)")
    steps = steps_of(declared)
    if not steps:
        raise BadInput(
            "sojourn.toml declares nothing to do for a day. Add a section, such as [ingest] with files, "
            "[rollups.user], [lifetime] or [checks.rows]."
        )
    with exclusive(warehouse.root / "_locks" / "_run.lock", what=f"The warehouse {warehouse.root}"):
        morning = Morning(warehouse, declared, day, at)
        outcomes = _all_steps(steps, morning, tell)
        report = RunReport(day, tuple(outcomes), tuple(morning.alerts))
        tell(f"{day} account")
        _write_account(on_duckdb(warehouse), report, at=at)
    return report


def run_days(
    warehouse: Warehouse,
    declared: Declared,
    *,
    start: date,
    end: date,
    at: datetime,
    tell: Callable[[str], None] = lambda _: None,
) -> list[RunReport]:
    """`run_day` for every business day in [start, end), one by one; a day that fails does not stop the next."""
    if start >= end:
        raise BadInput(f"No day lies from {start} up to, but without, {end}. Give an earlier start or a later end.")
    days = [start + timedelta(days=number) for number in range((end - start).days)]
    return [run_day(warehouse, declared, day=day, at=at, tell=tell) for day in days]


def _all_steps(steps: Sequence[Step], morning: Morning, tell: Callable[[str], None]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    failed: dict[str, str] = {}
    for step in steps:
        blocked = [failed[part] for part in step.needs if part in failed]
        if blocked:
            outcomes.append(Outcome(step.name, "held back", f"since {sorted(blocked)[0]!r} failed", None, 0.0))
            failed.setdefault(step.part, sorted(blocked)[0])
            continue
        tell(f"{morning.day} {step.name}")
        outcome = _one_step(step, morning)
        outcomes.append(outcome)
        if outcome.verdict == "failed":
            failed.setdefault(step.part, step.name)
    return outcomes


def _one_step(step: Step, morning: Morning) -> Outcome:
    started = time.perf_counter()
    try:
        done = step.work(morning)
    except SojournError as mistake:
        told = " ".join(str(mistake).split())
        morning.alerts.append(Alert("step", step.name, "fail", told))
        return Outcome(step.name, "failed", told, None, time.perf_counter() - started, is_mistake=True)
    return Outcome(step.name, done.verdict, done.told, done.rows, time.perf_counter() - started)


def _write_account(warehouse: Warehouse, report: RunReport, *, at: datetime) -> None:
    """Add this attempt to the day's partition of table `runs`; its alerts are the day's alerts."""
    write_alerts(warehouse, report.alerts, day=report.day)
    place = {"day": str(report.day)}
    old = warehouse.frame(TABLE, only=[place]).select(*SCHEMA) if warehouse.partition(TABLE, place) else None
    attempt = 1 if old is None else max(old["attempt"].to_list()) + 1
    rows = pl.DataFrame(
        [
            {"attempt": attempt, "step_number": number, "started_at": at, **each.as_dict()}
            for number, each in enumerate(report.outcomes, 1)
        ],
        schema=SCHEMA,
    )
    kept = [] if old is None else [old.filter(pl.col("attempt") > attempt - MOST_ATTEMPTS)]
    mark = fingerprint("runs", str(report.day), str(attempt))
    with warehouse.writing(TABLE) as writer:
        writer.put(place, pl.concat([*kept, rows]), order_by=["attempt", "step_number"], fingerprint=mark)
