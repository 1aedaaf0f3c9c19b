"""The figures of lifetime and effects on real data that recipes print: CDNOW, the mobile game, Hillstrom's e-mails.

Run it as `python -m benchmarks.lifetime_recipes`, with SOJOURN_DATA set; `--quick` takes but a part of Hillstrom's
customers. A recipe leaves its page too where it is run by itself: `python recipes/ltv_cdnow.py`.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import arguments, child

RECIPES = Path(__file__).parent.parent / "recipes"
WHOLE = ("ltv_cdnow", "ltv_mobile_game", "uplift_hillstrom")
QUICK = ("uplift_hillstrom", "--rows", "6000")


def figures(name: str, *words: str) -> Any:
    """Run the recipe to its end in a folder that is then gone; what it said is printed, its figures returned."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "figures.json"
        out = str(Path(folder) / "out")
        cost = child([sys.executable, str(RECIPES / f"{name}.py"), "--out", out, "--json", str(found), *words])
        print(f"recipes/{name}.py: {cost.cpu_s:.0f} s of CPU, {cost.peak_mb:,.0f} MB\n\n{cost.stdout}")
        return json.loads(found.read_text())


def main() -> None:
    """Run the recipes one after another."""
    options = arguments(__doc__ or "")
    found = {QUICK[0]: figures(*QUICK)} if options.quick else {name: figures(name) for name in WHOLE}
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
