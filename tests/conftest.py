"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest

from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec

# What takes long to make once a process: whatever needs it goes to one, the JVM of Spark above all.
MADE_ONCE = ("spark", "_lived")
APPS = ("dashboard", "retention")  # folders whose files share a simulated app
PAGES, DEMO = "test_docs.py", "test_demo.py"


@pytest.hookimpl(tryfirst=True)  # the processes read the groups when they have collected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what they build go to one process; what takes a minute goes first.

    Each page of the docs stands for itself. Begun late, a page, the demo or Spark would be waited for by all others.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=_turn)


def _group(item: pytest.Item) -> str:
    shared = [name for name in MADE_ONCE if name in getattr(item, "fixturenames", ())]
    if shared or item.path.name == PAGES:
        return shared[0] if shared else item.nodeid
    return str(item.path.parent if item.path.parent.name in APPS else item.path)


def _turn(item: pytest.Item) -> int:
    groups = [mark.args[0] for mark in item.iter_markers("xdist_group")]
    first = [item.path.name == PAGES, item.path.name == DEMO, *(name in groups for name in MADE_ONCE), True]
    return first.index(True)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """An empty warehouse in UTC."""
    return Warehouse.create(tmp_path / "warehouse", WarehouseSpec(), engine=EngineSpec(threads=2))


@pytest.fixture(scope="session")
def spark() -> EngineSpec:
    """A local Spark on two threads; its JVM starts with the first query and serves the whole test run."""
    return EngineSpec(kind="spark", threads=2, settings={"spark.sql.shuffle.partitions": "2"})


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public data sets; the test is skipped where there is none."""
    folder = os.environ.get("SOJOURN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set SOJOURN_DATA to the folder of public data sets (docs/data.md says what lies in it)")
    return Path(folder)
