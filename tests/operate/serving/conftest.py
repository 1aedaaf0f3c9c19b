"""The app that the tests of serving share."""

import pytest

from tests.operate.publishing.places import redis_server
from tests.operate.serving.worlds import small_app


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    small_app(folder)
    return folder


@pytest.fixture(scope="session")
def app(root):
    from sojourn.warehouse import EngineSpec, Warehouse

    return Warehouse.open(root / "app", engine=EngineSpec(threads=1))


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("cache")) as port:
        yield port
