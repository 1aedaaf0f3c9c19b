"""All figures of metrics: each part's table, one after another.

Run it as `python -m benchmarks.metrics`. The parts are programs of their own and may be run alone: the tables of a
board beside hand-written SQL (`metrics_board`), and the dashboard's pages in a browser (`metrics_dashboard`). With
`--json` all tables go into one file.
"""

from benchmarks.measure import run_parts

PARTS = ("metrics_board", "metrics_dashboard")

if __name__ == "__main__":
    run_parts(PARTS, what=__doc__ or "")
