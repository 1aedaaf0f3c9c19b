"""What a day costs as history grows: the same days are advanced after 20, 60 and 200 million events.

Run it as `python -m benchmarks.rollup_growth`. 160,000 events a day of 500,000 users; after each length of history five
consecutive days are advanced, nine aggregates over 90 days, in a process of their own, whose peak memory is told.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import arguments, python, show
from benchmarks.rollups import MEMORY_GB, SPEC, World, day_of, write_events
from sojourn.rollups import backfill
from sojourn.warehouse import EngineSpec, Warehouse

MORNINGS = 5
WORK = """
import json, sys
from functools import partial
from pathlib import Path
from benchmarks.rollups import MEMORY_GB, SPEC, day_of, measured
from sojourn.rollups import advance
from sojourn.warehouse import EngineSpec, Warehouse
warehouse = Warehouse.open(Path(sys.argv[1]), engine=EngineSpec(memory_gb=MEMORY_GB, threads=2))
end = int(sys.argv[2])
advance(warehouse, SPEC, day=day_of(end - 1))
costs = [measured(partial(advance, warehouse, SPEC, day=day_of(end + n))) for n in range(int(sys.argv[3]))]
print(json.dumps([[cost.wall_s, cost.cpu_s] for cost in costs]))
"""


def advanced(warehouse: Warehouse, *, days: int, per_day: int) -> Mapping[str, Any]:
    """The row of one length of history."""
    work = python(WORK, str(warehouse.root), str(days), str(MORNINGS))
    costs = json.loads(work.stdout)
    return {
        "events": f"{days * per_day:,}",
        "days": days,
        "wall_s_a_day": sum(wall for wall, _ in costs) / len(costs),
        "cpu_s_a_day": sum(cpu for _, cpu in costs) / len(costs),
        "peak_mb": work.peak_mb,
    }


def main() -> None:
    """Let history grow, and advance after each length."""
    options = arguments(__doc__ or "")
    users, per_day, lengths = (10_000, 3_200, (125, 200)) if options.quick else (500_000, 160_000, (125, 375, 1250))
    rows: list[Mapping[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse.create(Path(folder) / "warehouse", engine=EngineSpec(memory_gb=MEMORY_GB, threads=2))
        written = 0
        for days in lengths:
            write_events(warehouse, World(users, per_day, days + MORNINGS, MORNINGS), start=written)
            written = days + MORNINGS
            backfill(warehouse, SPEC, end=day_of(days))
            rows.append(advanced(warehouse, days=days, per_day=per_day))
    base = rows[0]
    shown = [{**row, "ratio_wall": row["wall_s_a_day"] / base["wall_s_a_day"]} for row in rows]
    show("A day's advance as history grows", shown, to=options.json)


if __name__ == "__main__":
    main()
