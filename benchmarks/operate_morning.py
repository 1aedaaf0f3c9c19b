"""A morning's `sojourn run` on a long history: seconds and peak memory of every step, and a rerun with nothing to do.

Run it as `python -m benchmarks.operate_morning`. A million users and 120 days with 50 million events are made by SQL;
the model is fitted on a fiftieth of the users; the day before the last is run once, and then the last day is measured:
its file is taken in, checked, counted, asked, predicted, watched and published. Memory is the largest resident set seen
while the step ran, CPU that of all threads.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import arguments, show
from sojourn.warehouse import Warehouse

LAST = date(2025, 4, 30)
DAY = """
    SELECT md5('{day}' || n) AS event_id, 'u' || lpad(CAST({user} AS VARCHAR), 7, '0') AS user_id,
           TIMESTAMPTZ '{day} 00:00:00+00' + INTERVAL (n * 86399 // {rows}) SECOND AS ts,
           TIMESTAMPTZ '{day} 23:59:59+00' AS arrived_at,
           CASE WHEN n % 25 = 0 THEN 'purchase' WHEN n % 7 = 0 THEN 'search' ELSE 'view' END AS event,
           'i' || (hash(n) % 5000) AS item_id,
           CASE WHEN n % 25 = 0 THEN CAST((hash(n + 7) % 5000) / 100.0 AS DECIMAL(18,4)) END AS amount,
           CASE hash(n + 3) % 3 WHEN 0 THEN 'web' WHEN 1 THEN 'app' ELSE 'shop' END AS channel
    FROM range({rows}) AS numbers(n)
"""
# Users come at their own rates (the square of a uniform number: half of the rows are a quarter of the users'), and a
# third of the rows are anybody's, so that everybody comes.
USER = """
    CASE WHEN hash(n * 17 + {seed}) % 3 = 0 THEN hash(n * 13 + {seed}) % {users}
         ELSE CAST(floor({users} * power((hash(n * 31 + {seed}) % 1000003) / 1000003.0, 2)) AS BIGINT) END
"""
SETTINGS = """
[engine]
memory_gb = 3

[ingest]
files = ["{folder}/day-*.parquet"]

[rollups.user]
windows_days = [1, 7, 30]

[rollups.user.aggregates]
events = {{function = "count"}}
active_days = {{function = "active_days"}}
spend = {{function = "sum", expression = "amount"}}
purchases = {{function = "count", where = "amount > 0"}}
purchase_days = {{function = "active_days", where = "amount > 0"}}

[checks.rows]
kind = "rows"

[checks.fresh]
kind = "freshness"
max_age_hours = 6

[checks.channels]
kind = "allowed"
column = "channel"
values = ["web", "app", "shop"]

[checks.drop]
kind = "drop"
max_drop = 0.5

[checks.counted]
kind = "conservation"

[features]

[lifetime]
horizons_days = [30]
train_as_ofs = 1
models = {{ltv_30 = "mean", churn_30 = "churn_trees"}}

[lifetime.boost]
rounds = 20
groups = 2

[watch]
max_psi = 5.0
max_bias = 5.0
max_worse = 5.0

[metrics]

[publish.board]
to = "duckdb"
url = "{folder}/board.duckdb"
tables = [{tables}]
"""


@dataclass(frozen=True)
class Size:
    """How much history: users, events a day, days."""

    users: int
    events: int
    days: int


def main() -> None:
    """Make the history, run the morning, run it again, show."""
    options = arguments(__doc__ or "")
    size = Size(20_000, 5_000, 62) if options.quick else Size(1_000_000, 50_000_000 // 120, 120)
    show(f"A morning: {size.users:,} users, {size.events * size.days:,} events", rows(size), to=options.json)


def rows(size: Size) -> list[dict[str, Any]]:
    """A row per step: seconds, peak memory, and the seconds of the rerun."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        folder = Path(temporary)
        config = prepared(folder, size)
        fit(folder, config, size)
        return measured(folder, config, size)


def measured(folder: Path, config: Path, size: Size) -> list[dict[str, Any]]:
    """The day before the last run once, the last day run and run again."""
    _run(folder / "w", config, LAST - timedelta(days=1))
    _write(folder / f"day-{LAST}.parquet", size, LAST)
    first, again = (_run(folder / "w", config, LAST) for _ in range(2))
    return [
        {
            "step": step,
            "verdict": told["verdict"],
            "rows": told["rows"] or 0,
            "seconds": told["seconds"],
            "cpu_s": told["cpu_s"],
            "peak_mb": told["peak_mb"],
            "rerun_s": again[step]["seconds"],
            "rerun_cpu_s": again[step]["cpu_s"],
        }
        for step, told in first.items()
    ]


def prepared(folder: Path, size: Size) -> Path:
    """The history in a warehouse, but the last day; the settings' file."""
    warehouse = Warehouse.create(folder / "w")
    _history(warehouse, size)
    seed = folder / f"day-{LAST - timedelta(days=1)}.parquet"
    # A file of a day that is there already: nothing in it is new.
    warehouse.engine.run(f"COPY ({_query(size, LAST - timedelta(days=1))} LIMIT 1000) TO '{seed}' (FORMAT parquet)")
    config = folder / "sojourn.toml"
    config.write_text(SETTINGS.format(folder=folder, tables='"predictions"'))
    return config


def fit(folder: Path, config: Path, size: Size) -> None:
    """Fit the model on a sample of the users, in a warehouse of its own, and put it into the registry of the other."""
    sample = folder / "sample"
    few = Size(max(size.users // 50, 5_000), max(size.events // 50, 5_000), size.days)
    _history(Warehouse.create(sample), few)
    alone = folder / "fit.toml"
    text = config.read_text()
    alone.write_text(
        text[text.index("[rollups.user]") : text.index("[checks.rows]")] + text[text.index("[features]") :]
    )
    program = [sys.executable, "-c", "from sojourn.cli import main; main()", "model"]
    where = ["--warehouse", str(sample), "--config", str(alone)]
    fitting = [*program, "fit", "ltv", "--as-of", str(LAST), *where]
    done = subprocess.run(fitting, capture_output=True, text=True, check=True)
    version = done.stdout.split()[1].rstrip(":")
    before = str(LAST - timedelta(days=1))
    subprocess.run([*program, "promote", "ltv", version, "--as-of", before, *where], capture_output=True, check=True)
    shutil.copytree(sample / "_models", folder / "w" / "_models")


def _history(warehouse: Warehouse, size: Size) -> None:
    with warehouse.writing("events") as writer:
        for back in range(size.days - 1, 0, -1):
            day = LAST - timedelta(days=back)
            query = _query(size, day)
            writer.put({"day": str(day)}, query, order_by=["user_id", "ts", "event_id"], fingerprint=f"made {day}")


def _query(size: Size, day: date) -> str:
    user = USER.format(users=size.users, seed=day.toordinal())
    return DAY.format(day=day, user=user, rows=size.events)


def _write(path: Path, size: Size, day: date) -> None:
    from sojourn.warehouse import DuckDBEngine

    DuckDBEngine().run(f"COPY ({_query(size, day)}) TO '{path}' (FORMAT parquet)")


def _run(root: Path, config: Path, day: date) -> dict[str, dict[str, Any]]:
    """What each step said, with the peak of resident memory while it ran, and a row for the whole process."""
    program = [sys.executable, "-c", "from sojourn.cli import main; main()", "run", "--day", str(day), "--json"]
    command = [*program, "--warehouse", str(root), "--config", str(config)]
    peaks: dict[str, float] = {}
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = usage.ru_utime + usage.ru_stime
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        current, cpu = ["start"], {"start": 0.0}
        watcher = threading.Thread(target=_follow, args=(run, current, cpu, str(day)))
        sampler = threading.Thread(target=_sample, args=(run, current, peaks))
        watcher.start()
        sampler.start()
        out = run.stdout.read()
        run.wait()
        watcher.join()
        sampler.join()
    wall_s, usage = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = list(cpu)
    strange = [line for line in out.splitlines() if not line.startswith("{")]
    if run.returncode or strange:
        sys.exit(f"benchmarks.operate_morning: status {run.returncode}: {strange[:1] or out[-500:]}")
    told = [json.loads(line) for line in out.splitlines()]
    steps, peak = {}, 0.0
    for each in told:
        if each["kind"] == "step":
            # A step too short to be looked at holds what the one before it held.
            peak = peaks.get(each["step"], peak)
            at = min(begun.index(each["step"]), len(begun) - 2)
            steps[each["step"]] = {**each, "peak_mb": peak, "cpu_s": cpu[begun[at + 1]] - cpu[each["step"]]}
    cpu_s = usage.ru_utime + usage.ru_stime - before
    whole = {"verdict": "", "rows": 0, "seconds": wall_s, "cpu_s": cpu_s, "peak_mb": max(peaks.values(), default=0.0)}
    return {**steps, "whole process": whole}


def _follow(run: "subprocess.Popen[str]", current: list[str], cpu: dict[str, float], day: str) -> None:
    """Note which step is at work, and the CPU that was spent when it began."""
    assert run.stderr is not None
    ticks = os.sysconf("SC_CLK_TCK")
    for line in run.stderr:
        if line.startswith(f"{day} "):
            current[0] = line.strip().removeprefix(f"{day} ")
            try:
                spent = Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                return
            cpu[current[0]] = (int(spent[11]) + int(spent[12])) / ticks


def _sample(run: "subprocess.Popen[str]", current: list[str], peaks: dict[str, float]) -> None:
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
    while run.poll() is None:
        try:
            resident = int(Path(f"/proc/{run.pid}/statm").read_text().split()[1]) * page_mb
        except (OSError, IndexError):  # it has just ended
            return
        peaks[current[0]] = max(peaks.get(current[0], 0.0), resident)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
