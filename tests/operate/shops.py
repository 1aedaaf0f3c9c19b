"""A small shop with a year's end of orders, day by day as files, and the settings of its daily run."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from sojourn.operate import Declared, RunReport, declared_from, run_day
from sojourn.warehouse import EngineSpec, Warehouse

FIRST = date(2024, 9, 1)
LAST = date(2024, 11, 30)
AT = datetime(2024, 12, 1, 5, tzinfo=UTC)
TABLES_OF_TIMES = frozenset({"runs"})
SETTINGS = """
[rollups.user]
windows_days = [7, 30]

[rollups.user.aggregates]
events = {function = "count"}
active_days = {function = "active_days"}
spend = {function = "sum", expression = "amount"}
purchases = {function = "count", where = "amount > 0"}
purchase_days = {function = "active_days", where = "amount > 0"}

[features]

[lifetime]
horizons_days = [14]
churn_days = 14
folds = 2
train_as_ofs = 2
replicates = 20
models = {ltv_14 = "mean", churn_14 = "churn_trees"}

[lifetime.boost]
rounds = 5
groups = 2
min_leaf_rows = 20

[checks.some]
kind = "rows"

[checks.counted]
kind = "conservation"

[watch]
max_psi = 5.0
replicates = 20
"""


def write_orders(folder: Path, *, users: int = 120, seed: int = 3) -> None:
    """One CSV a day, `orders-<day>.csv`, of users who order at their own pace."""
    chance = np.random.default_rng(seed)
    days = (LAST - FIRST).days + 1
    pace = chance.gamma(2.0, 0.12, users)
    for number in range(days):
        day = FIRST + timedelta(days=number)
        buys = np.flatnonzero(chance.random(users) < pace)
        lines = [f"c{user:03d},{day},{chance.gamma(2.0, 20.0):.2f}" for user in buys] or [f"c000,{day},1.00"]
        write_day(folder, day, lines)


def write_day(folder: Path, day: date, lines: list[str]) -> None:
    """The orders of one day, as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"orders-{day}.csv").write_text("\n".join(["customer_id,order_date,revenue", *lines]) + "\n")


def settings_of(folder: Path, text: str = SETTINGS) -> dict[str, Any]:
    """The settings, with the folder's files as the source of events."""
    import tomllib

    return {**tomllib.loads(text), "ingest": {"files": [str(folder / "orders-*.csv")]}}


def declared_in(folder: Path, text: str = SETTINGS) -> Declared:
    """What the settings declare."""
    return declared_from(settings_of(folder, text))


def opened(root: Path) -> Warehouse:
    """The warehouse there, made when missing."""
    return Warehouse.create(root, engine=EngineSpec(threads=1))


def ran(root: Path, declared: Declared, day: date = LAST, at: datetime = AT) -> RunReport:
    """A run of a day."""
    return run_day(opened(root), declared, day=day, at=at)


def verdicts(report: RunReport) -> dict[str, str]:
    """The verdict of each step."""
    return {each.step: each.verdict for each in report.outcomes}


def told(report: RunReport, step: str) -> str:
    """What a step said."""
    return next(each.told for each in report.outcomes if each.step == step)


def content(root: Path) -> dict[str, str]:
    """A hash of every file of the warehouse but locks and the account of runs, which tells of times and attempts."""
    skipped = TABLES_OF_TIMES | {"_locks"}
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    named = {str(path.relative_to(root)): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if name.split("/")[0] not in skipped
    }
