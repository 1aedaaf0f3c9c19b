"""All figures of operate: each part's table, one after another.

Run it as `python -m benchmarks.operate`. The parts are programs of their own and may be run alone: a morning's run on a
long history (`operate_morning`), faults and what was lost (`operate_faults`), publishing beside a bare client
(`operate_publish`), the API under load (`operate_serve`). With `--json` all tables go into one file.
"""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import arguments

PARTS = tuple(
    part
    for part in ("operate_morning", "operate_faults", "operate_publish", "operate_serve")
    if find_spec(f"benchmarks.{part}")
)


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
