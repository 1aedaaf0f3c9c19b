"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest

from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file go to one process, since they share what they build; pages of the docs go first, each for itself.

    A page may take a minute: begun late, it would be waited for by all others.
    """
    for item in items:
        is_page = item.path.name == "test_docs.py"
        item.add_marker(pytest.mark.xdist_group(item.nodeid if is_page else str(item.path)))
    items.sort(key=lambda item: item.path.name != "test_docs.py")


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
