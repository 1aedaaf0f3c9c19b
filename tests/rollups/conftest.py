"""Logs lived through once for all tests that look back at them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from sojourn.rollups import advance, window_table
from sojourn.warehouse import EngineSpec, Warehouse
from tests.rollups.mornings import Lived, known_rollup, live_through, world

ZONES = ["America/New_York", "Asia/Kolkata", "UTC"]


@pytest.fixture(scope="session")
def _lived(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Lived]:
    @cache
    def through(part: int) -> Lived:
        spec = known_rollup(part)

        def close(warehouse: Warehouse, morning: date) -> pl.DataFrame:
            advance(warehouse, spec, day=morning - timedelta(days=1))
            return window_table(warehouse, spec, as_ofs=[morning])

        return live_through(tmp_path_factory.mktemp("lived"), world(part, ZONES[part]), close)

    return through


@pytest.fixture
def lived(_lived: Callable[[int], Lived], tmp_path: Path) -> Callable[[int], Lived]:
    """The windows of `known_rollup(part)` that each morning wrote, and a copy of the warehouse in which they were."""

    def copied(part: int) -> Lived:
        found = _lived(part)
        shutil.copytree(found.warehouse.root, tmp_path / "lived")
        return replace(found, warehouse=Warehouse.open(tmp_path / "lived", engine=EngineSpec(threads=1)))

    return copied
