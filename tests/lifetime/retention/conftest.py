"""A small simulated app with pushes, made once."""

from pathlib import Path

import pytest

from sojourn.events import WorldSpec, simulate
from sojourn.lifetime import RetentionSpec
from sojourn.warehouse import Warehouse
from tests.lifetime.retention.worlds import FAST

WORLD = WorldSpec(users=700, days=110, seed=5, install_days=70)
SMALL = RetentionSpec(
    active="event = 'launch'",
    horizon_days=14,
    days_per_row=4,
    step_days=7,
    train_as_ofs=2,
    folds=2,
    replicates=40,
    effect_days=40,
    effect_step_days=3,
    boost=FAST,
)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The app's warehouse."""
    warehouse = Warehouse.create(Path(tmp_path_factory.mktemp("retention")) / "app")
    simulate(warehouse, WORLD)
    return warehouse
