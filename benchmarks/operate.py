"""All figures of operate: each part's table, one after another.

Run it as `python -m benchmarks.operate`. The parts are programs of their own and may be run alone: a morning's run on a
long history (`operate_morning`), faults and what was lost (`operate_faults`), publishing beside a bare client
(`operate_publish`), the API under load (`operate_serve`). With `--json` all tables go into one file.
"""

from benchmarks.measure import run_parts

PARTS = ("operate_morning", "operate_faults", "operate_publish", "operate_serve")

if __name__ == "__main__":
    run_parts(PARTS, what=__doc__ or "")
