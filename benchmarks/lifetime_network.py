"""The network that reads sequences beside trees and a plain pace: spend in 30 days on real receipts, last fold.

Run it as `python -m benchmarks.lifetime_network`; `--quick` takes a small simulated app. The network has its default
settings; nothing was searched for.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ltv import SMALL_WORLD, app, complete_journey
from benchmarks.ltv import rows as rows_of
from benchmarks.measure import arguments, show
from sojourn.evaluate import BootstrapSpec
from sojourn.features import SequenceSpec
from sojourn.lifetime import LifetimeSpec, compare, training_table


def main() -> None:
    """Print the table."""
    options = arguments(__doc__ or "")
    spec = LifetimeSpec(horizons_days=(30,), sequences=SequenceSpec())
    [task] = spec.value_tasks()
    task = task.with_changes(models=("two_stage", "median_scaled", "sequence", "pace"))
    with tempfile.TemporaryDirectory() as name:
        warehouse = app(Path(name), world=SMALL_WORLD) if options.quick else complete_journey(Path(name))
        table = training_table(warehouse, spec=spec).drop("label_purchases_30d")
        found = compare(table, spec=task, bootstrap=BootstrapSpec(replicates=100 if options.quick else 500))
    rows: list[dict[str, Any]] = list(rows_of("app" if options.quick else "receipts", found))
    show("A network over sequences, beside trees (* picked on earlier folds)", rows, to=options.json)


if __name__ == "__main__":
    main()
