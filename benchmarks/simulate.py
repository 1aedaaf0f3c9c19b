"""Events a second that the simulator writes, end to end, and its peak memory.

Run it as `python -m benchmarks.simulate`: 100 M events (about 1.7 GB on disk, removed afterwards); `--quick`: 5 M. The
target is 1 M events a second on 2 cores. Beside it stands DuckDB alone copying the finished table, day by day, from
Parquet to Parquet: what mere reading and writing costs. Every run is a process of its own.
"""

import json
import shutil
import tempfile
from pathlib import Path

from benchmarks.measure import Cost, arguments, python, show

SIMULATE = """
import sys
from pathlib import Path
from sojourn.events import WorldSpec, simulate
from sojourn.warehouse import Warehouse

report = simulate(Warehouse.create(Path(sys.argv[1])), WorldSpec(users=int(sys.argv[2]), days=int(sys.argv[3])))
print(report.events)
"""
LIVE = """
import sys
import numpy as np
from sojourn.events import WorldSpec
from sojourn.events._world_calendar import mornings
from sojourn.events._world_history import History

spec = WorldSpec(users=int(sys.argv[1]), days=int(sys.argv[2]))
blocks = [History.begin(spec, np.arange(a, min(a + (1 << 17), spec.users))) for a in range(0, spec.users, 1 << 17)]
print(sum(block.live(morning)[0].num_rows for morning in mornings(spec) for block in blocks))
"""
COPY = """
import sys
from pathlib import Path
import duckdb

connection = duckdb.connect(config={"memory_limit": "1000MB"})
connection.execute("SET enable_progress_bar = false")
rows = 0
for file in sorted(Path(sys.argv[1]).glob("events/*/data.parquet")):
    copy = f"COPY (FROM '{file}') TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd)"
    rows += connection.execute(copy).fetchall()[0][0]
print(rows)
"""


def figures(folder: Path, *, users: int, days: int) -> list[dict[str, object]]:
    """Simulate into the folder, and the two runs beside it."""
    whole = python(SIMULATE, str(folder / "app"), str(users), str(days))
    copied = python(COPY, str(folder / "app"), str(folder / "copy.parquet"))
    lived = python(LIVE, str(users), str(days))
    runs = {"sojourn simulate": whole, "of which living, nothing written": lived, "DuckDB alone, copying": copied}
    return [_row(what, cost, floor=copied) for what, cost in runs.items()]


def _row(what: str, cost: Cost, *, floor: Cost) -> dict[str, object]:
    events = json.loads(cost.stdout)
    return {
        "what": what,
        "events": f"{events:,}",
        "wall_s": cost.wall_s,
        "events_per_s": f"{events / cost.wall_s:,.0f}",
        "cpu_s_per_million": cost.cpu_s / events * 1e6,
        "peak_mb": cost.peak_mb,
        "ratio_to_copying": cost.wall_s / floor.wall_s,
    }


def main() -> None:
    """Print the table."""
    options = arguments(__doc__ or "")
    folder = Path(tempfile.mkdtemp())
    try:
        rows = figures(folder, users=90_000, days=30) if options.quick else figures(folder, users=1_220_000, days=60)
        show("The simulator", rows, to=options.json)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
