"""A CSV of 10 M rows into a warehouse that holds 50 M events, beside a bare DuckDB copy of the same CSV to Parquet.

Run it as `python -m benchmarks.ingest`. One row in a hundred is a duplicate (half of them of stored events), one in a
thousand is bad, and the CSV's first day is the history's last, so that a stored day is merged. Ids are the source's own
and random, which is the hard case: every one is looked for in the whole history. Targets: 2.5 times the bare copy's
wall time, and 2,000 MB at the peak (DuckDB may use 1.4 GB of them; the default is 1). The bare copy runs before and
after; its mean counts.
"""

import tempfile
from datetime import date, timedelta
from pathlib import Path

from benchmarks.measure import Cost, arguments, python, show
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec

FIRST = date(2025, 1, 1)
HISTORY_DAYS = 50
NEW_DAYS = 10
BARE = """
import sys, time, duckdb
started = time.perf_counter()
copy = f"COPY (FROM read_csv('{sys.argv[1]}', ignore_errors = true)) TO '{sys.argv[2]}' (FORMAT parquet)"
connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
connection.execute(copy).fetchall()
print(time.perf_counter() - started)
"""
OURS = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from sojourn.events import IngestSpec, ingest
from sojourn.warehouse import EngineSpec, Warehouse
started = time.perf_counter()
warehouse = Warehouse.open(Path(sys.argv[2]), engine=EngineSpec(memory_gb=1.4))
report = ingest(warehouse, IngestSpec(files=[sys.argv[1]]), as_of=datetime(2025, 4, 1, tzinfo=UTC))
print(report.conservation, file=sys.stderr)
print(time.perf_counter() - started)
"""


def event(*, day: str, number: str, per_day: int) -> str:
    """SQL for the columns of the event with this number in its day, both counted from 0."""
    key = f"(CAST({day} AS BIGINT) * 100000000 + {number})"
    since_us = f"{number} * {86_400_000_000 // per_day}"
    return f"""
        md5(CAST({key} AS VARCHAR)) AS event_id,
        'u' || lpad(CAST(hash({key}) % 500000 AS VARCHAR), 7, '0') AS user_id,
        TIMESTAMP '{FIRST}' + to_days(CAST({day} AS INTEGER)) + to_microseconds({since_us}) AS ts,
        ['launch', 'view', 'cart', 'purchase'][1 + CAST(hash({key} + 1) % 4 AS INTEGER)] AS event,
        'item' || CAST(hash({key} + 2) % 20000 AS VARCHAR) AS item_id,
        CASE WHEN hash({key} + 1) % 4 = 3 THEN CAST((hash({key} + 3) % 10000) / 100.0 AS DECIMAL(18, 4)) END AS amount,
        ['ads', 'organic', 'social', 'mail'][1 + CAST(hash({key} + 4) % 4 AS INTEGER)] AS channel
    """


def build_history(root: Path, *, per_day: int) -> None:
    """Fifty days of events as an ingest would have written them; half of the last day is still to come."""
    warehouse = Warehouse.create(root, WarehouseSpec(), engine=EngineSpec(memory_gb=2))
    arrived = "TIMESTAMPTZ '2025-03-01' AS arrived_at"
    with warehouse.writing("events") as writer:
        for day in range(HISTORY_DAYS):
            rows = per_day // 2 if day == HISTORY_DAYS - 1 else per_day
            made = f"SELECT {event(day=str(day), number='i', per_day=per_day)} FROM range({rows}) r(i)"
            instant = "make_timestamptz(epoch_us(ts)) AS ts"
            query = f"SELECT event_id, user_id, {instant}, {arrived}, event, item_id, amount, channel FROM ({made})"
            partition = {"day": (FIRST + timedelta(days=day)).isoformat()}
            writer.put(partition, query, order_by=("ts", "event_id"), fingerprint=f"{day:016x}")


def write_csv(path: Path, *, per_day: int) -> None:
    """Ten days in order of time; some lines tell the event before once more, or a stored one, or are bad."""
    import duckdb

    half = per_day // 2
    place = f"CASE n % 200 WHEN 1 THEN n // 200 WHEN 3 THEN n - 1 + {half} ELSE n + {half} END"
    lines = f"SELECT n, {place} AS place FROM range({NEW_DAYS * per_day}) r(n)"
    dated = f"SELECT n, {HISTORY_DAYS - 1} + place // {per_day} AS day, place % {per_day} AS number FROM ({lines})"
    bad = "CASE WHEN n % 1000 = 999 THEN n // 1000 % 3 END AS bad"
    told = f"SELECT {event(day='day', number='number', per_day=per_day)}, {bad} FROM ({dated})"
    columns = (
        "event_id, CASE WHEN bad IS DISTINCT FROM 0 THEN user_id END AS user_id, "
        "CASE WHEN bad = 1 THEN 'yesterday' ELSE strftime(ts, '%Y-%m-%d %H:%M:%S.%f') END AS ts, event, item_id, "
        "CASE WHEN bad = 2 THEN 'NaN' ELSE CAST(CAST(amount AS DECIMAL(18, 2)) AS VARCHAR) END AS amount, channel"
    )
    duckdb.connect().execute(f"COPY (SELECT {columns} FROM ({told})) TO '{path}' (HEADER)").fetchall()


def main() -> None:
    """Build both, run both, print one table."""
    options = arguments(__doc__ or "")
    per_day = 20_000 if options.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        root, path, copy = Path(folder) / "warehouse", Path(folder) / "new.csv", f"{folder}/bare.parquet"
        build_history(root, per_day=per_day)
        write_csv(path, per_day=per_day)
        before = python(BARE, str(path), copy)
        ours = python(OURS, str(path), str(root))
        after = python(BARE, str(path), copy)
    rows = [_row("bare DuckDB copy", [before, after], [before, after]), _row("sojourn ingest", [ours], [before, after])]
    show(f"{NEW_DAYS * per_day:,} rows into {HISTORY_DAYS * per_day:,}", rows, to=options.json)


def _row(what: str, costs: list[Cost], bare: list[Cost]) -> dict[str, object]:
    """Seconds of the work itself, without the start of Python; CPU and memory of the whole process."""
    wall_s, bare_s = (sum(float(cost.stdout) for cost in each) / len(each) for each in (costs, bare))
    cpu_s, bare_cpu_s = (sum(cost.cpu_s for cost in each) / len(each) for each in (costs, bare))
    return {
        "what": what,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "peak_mb": max(cost.peak_mb for cost in costs),
        "ratio_wall": wall_s / bare_s,
        "ratio_cpu": cpu_s / bare_cpu_s,
    }


if __name__ == "__main__":
    main()
