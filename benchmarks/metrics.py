"""All figures of metrics: each part's table, one after another.

Run it as `python -m benchmarks.metrics`. The parts are programs of their own and may be run alone: the tables of a
board beside hand-written SQL (`metrics_board`), and the dashboard's pages in a browser (`metrics_dashboard`). With
`--json` all tables go into one file.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import arguments

PARTS = ("metrics_board", "metrics_dashboard")


def main() -> None:
    """Run every part to its end; the first that fails ends the run with its status."""
    options = arguments(__doc__ or "")
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            path = Path(folder) / f"{part}.json"
            command = [sys.executable, "-m", f"benchmarks.{part}", "--json", str(path)]
            done = subprocess.run([*command, *(["--quick"] if options.quick else [])], check=False)
            if done.returncode:
                sys.exit(done.returncode)
            tables[part] = json.loads(path.read_text())
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=2) + "\n")


if __name__ == "__main__":
    main()
