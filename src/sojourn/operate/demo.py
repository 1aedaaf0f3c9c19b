"""The main job on real data: from a log of purchases to predictions, target lists and a report."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sojourn.core import progress
from sojourn.events import COMPLETE_JOURNEY_ZONE, IngestReport, ingest_complete_journey
from sojourn.lifetime import LifetimeSpec, Study, run_study
from sojourn.warehouse import Warehouse

DEMO_SPEC = LifetimeSpec(unit="$")


@dataclass(frozen=True)
class Demo:
    """What the demo did and where it lies: the accounts of its ingests, and the study made of them."""

    out: Path
    ingested: tuple[IngestReport, ...]
    study: Study

    def text(self) -> str:
        """The short table that the demo ends with, and where to look."""
        from sojourn.operate.closing import closing_text

        return closing_text(self)


def run_demo(out: Path) -> Demo:
    """Ingest Complete Journey into `out/warehouse`, then compare, fit, predict and report into `out`.

    Writes what `run_study` writes. Running it again gives the same predictions. Raises `MissingExtra` when the package
    with the data is not installed, and `NotAWarehouse` when `out/warehouse` holds something else.
    """
    with _step("Reading a year of receipts"):
        warehouse = Warehouse.create(out / "warehouse", COMPLETE_JOURNEY_ZONE)
        ingested = ingest_complete_journey(warehouse)
    study = run_study(warehouse, spec=DEMO_SPEC, out=out)
    return Demo(out, ingested, study)


@contextmanager
def _step(what: str) -> Iterator[None]:
    with progress(what, total=1) as advance:
        yield
        advance(1)
