"""What became of a day's steps comes in; tables `runs` and `alerts`, which keep it, come out."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from traceback import extract_tb
from typing import Any

import polars as pl

from sojourn.core import SojournError, TooManyRejected, fingerprint
from sojourn.operate.alerts import Alert, write_alerts
from sojourn.operate.steps import Verdict
from sojourn.warehouse import Warehouse

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
# DuckDB's words for a value that does not fit, which may be an id.
OF_A_VALUE = re.compile(r"[Cc]ould not convert|Conversion Error|Invalid Input Error")


@dataclass(frozen=True)
class Outcome:
    """What became of one step: its verdict, in words, the rows it wrote, when it began and the seconds it took."""

    step: str
    verdict: Verdict
    told: str
    rows: int | None
    seconds: float
    started_at: datetime
    is_mistake: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain values, the time as text."""
        found = {name: each for name, each in vars(self).items() if name != "is_mistake"}
        return {**found, "started_at": self.started_at.isoformat()}


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


def sentence_of(fault: Exception) -> str:
    """The fault in one line, fit to be kept: without the text of rows, and where it is none of ours, with its place."""
    if isinstance(fault, SojournError):
        words = " ".join((fault.plain if isinstance(fault, TooManyRejected) else str(fault)).split())
        return _masked(words) if OF_A_VALUE.search(words) else words
    at = extract_tb(fault.__traceback__)[-1]
    words = _masked(" ".join(str(fault).split())).rstrip(".")
    return (
        f"An unforeseen {type(fault).__name__} ({words or 'no words'}; {Path(at.filename).name}, line {at.lineno}). "
        f"This is a fault of Sojourn, or of a file that it reads: run the day again, and report it if it stays."
    )


def write_account(warehouse: Warehouse, report: RunReport, *, at: datetime) -> RunReport:
    """Have the day's alerts be the report's, and add its outcomes to table `runs` as one more attempt; `at` is now.

    Where either cannot be written the report that comes back has one more outcome, which says so: what was done is
    told all the same.
    """
    report = _tried(report, "account of alerts", at, lambda told: write_alerts(warehouse, told.alerts, day=told.day))
    return _tried(report, "account", at, lambda told: _write_runs(warehouse, told.day, told.outcomes))


def _tried(report: RunReport, name: str, at: datetime, write: Callable[[RunReport], None]) -> RunReport:
    started = time.perf_counter()
    try:
        write(report)
    except SojournError as fault:
        taken = time.perf_counter() - started
        outcome = Outcome(name, "failed", sentence_of(fault), None, taken, at, is_mistake=True)
        return RunReport(report.day, (*report.outcomes, outcome), report.alerts)
    return report


def _write_runs(warehouse: Warehouse, day: date, outcomes: Sequence[Outcome]) -> None:
    place = {"day": str(day)}
    old = warehouse.frame(TABLE, only=[place]).select(*SCHEMA) if warehouse.partition(TABLE, place) else None
    attempt = 1 if old is None else max(old["attempt"].to_list()) + 1
    rows = pl.DataFrame(
        [
            {"attempt": attempt, "step_number": number, **each.as_dict(), "started_at": each.started_at}
            for number, each in enumerate(outcomes, 1)
        ],
        schema=SCHEMA,
    )
    kept = [] if old is None else [old.filter(pl.col("attempt") > attempt - MOST_ATTEMPTS)]
    mark = fingerprint("runs", str(day), str(attempt))
    with warehouse.writing(TABLE) as writer:
        writer.put(place, pl.concat([*kept, rows]), order_by=["attempt", "step_number"], fingerprint=mark)


def _masked(words: str) -> str:
    return re.sub(r"'[^']*'", "'...'", words)
