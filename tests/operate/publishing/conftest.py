"""A Redis server that the tests of publishing share."""

import pytest

from tests.operate.publishing.places import redis_server


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
def empty_redis(redis_port):
    """The port of a server without a key."""
    import redis

    with redis.Redis(port=redis_port) as client:
        client.flushall()
    return redis_port
