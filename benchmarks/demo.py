"""What a stranger waits for: the demo, end to end, and `import sojourn`.

Run it as `python -m benchmarks.demo`. The targets are 120 s and 2,000 MB for the demo on 2 cores, 0.3 s for the import;
the import stands beside a bare interpreter.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import arguments, child, python, show


def import_rows(*, runs: int) -> list[dict[str, object]]:
    """Median seconds of a bare interpreter, of `import sojourn` and of `sojourn --help`."""
    program = str(Path(sys.executable).parent / "sojourn")
    bare_s, import_s, help_s = [], [], []
    for _ in range(runs):
        bare_s.append(python("pass").wall_s)
        import_s.append(python("import sojourn").wall_s)
        help_s.append(child([program, "--help"]).wall_s)
    bare = statistics.median(bare_s)
    return [
        {"what": what, "wall_s": statistics.median(times), "ratio_to_bare_python": statistics.median(times) / bare}
        for what, times in (("python -c pass", bare_s), ("import sojourn", import_s), ("sojourn --help", help_s))
    ]


def demo_row() -> dict[str, object]:
    """Seconds and peak memory of `sojourn demo` into an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        cost = child([str(Path(sys.executable).parent / "sojourn"), "demo", "--out", f"{folder}/demo"])
    return {"what": "sojourn demo", "wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb}


def main() -> None:
    """Print both tables; `--quick` leaves the demo out."""
    options = arguments(__doc__ or "")
    imports = import_rows(runs=3 if options.quick else 9)
    show("Start-up", imports, to=options.json if options.quick else None)
    if not options.quick:
        show("The demo, end to end", [demo_row()], to=options.json)


if __name__ == "__main__":
    main()
