"""Where a user's rows are read from: the warehouse's latest partitions, or the version that is live in Redis."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sojourn.core import EngineError, MissingTable, Unreachable, UnreadableSource, need
from sojourn.operate.publishing.batch import USER, Batch, batches_of
from sojourn.operate.publishing.documents import documents
from sojourn.operate.publishing.redis import latest
from sojourn.operate.publishing.spec import PublishSpec
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import literal

# How long what is latest, or live, is taken to be so.
FRESH_S = 1.0
# How long a request waits for Redis.
PATIENCE_S = 2.0


class Source(Protocol):
    """What the app asks of where users are read from."""

    async def user(self, user_id: str) -> str | None:
        """The user's rows by table as a JSON text, or None for a user whom no table has."""

    async def places(self) -> dict[str, Mapping[str, str]]:
        """The partition of each table that is served. Raises `MissingTable` or `Unreachable` where there is none."""

    async def close(self) -> None:
        """Let go of connections."""


class FromWarehouse:
    """Users from the latest partition of each table, read where it lies: some tens of milliseconds each."""

    def __init__(self, warehouse: Warehouse, tables: Sequence[str]) -> None:
        self._warehouse = warehouse
        self._tables = tuple(tables)
        self._found: tuple[float, list[Batch]] | None = None
        # One connection, and so one query at a time.
        self._turn = threading.Lock()

    async def user(self, user_id: str) -> str | None:
        """The user's rows by table as a JSON text."""
        from anyio.to_thread import run_sync

        return await run_sync(self._user, user_id)

    async def places(self) -> dict[str, Mapping[str, str]]:
        """The partition of each table that is served."""
        from anyio.to_thread import run_sync

        batches = await run_sync(self._latest)
        return {batch.table: batch.place for batch in batches}

    async def close(self) -> None:
        """Nothing is held."""

    def _user(self, user_id: str) -> str | None:
        with self._turn:
            try:
                return self._read(user_id)
            except UnreadableSource:  # replaced while it was read
                self._found = None
                return self._read(user_id)

    def _read(self, user_id: str) -> str | None:
        where = f"{USER} = {literal(user_id)}"
        for _, texts in documents(self._latest(), rows=1, where=where):
            return texts[0]
        return None

    def _latest(self) -> list[Batch]:
        if self._found is None or time.monotonic() - self._found[0] > FRESH_S:
            for table in self._tables:
                self._warehouse.relation(table)
            self._found = (time.monotonic(), latest(batches_of(self._warehouse, self._tables)))
        return self._found[1]


class FromRedis:
    """Users from the live version that `sojourn publish` wrote: one round trip each."""

    def __init__(self, spec: PublishSpec) -> None:
        self._spec = spec
        module = need("redis.asyncio", extra="serve", for_="Serving from Redis")
        self._faults = need("redis.exceptions", extra="serve", for_="Serving from Redis")
        waits = {"socket_connect_timeout": PATIENCE_S, "socket_timeout": PATIENCE_S}
        self._client = module.Redis.from_url(spec.with_password(), decode_responses=True, **waits)
        self._live: tuple[float, dict[str, Any]] | None = None

    async def user(self, user_id: str) -> str | None:
        """The user's rows by table as a JSON text. A key that is gone is looked for in the version that is live now."""
        version = (await self._version())["version"]
        while True:
            found: str | None = await self._get(f"{self._spec.space}:{version}:{user_id}")
            if found is not None:
                return found
            self._live = None
            now = (await self._version())["version"]
            if now == version:
                return None
            version = now

    async def places(self) -> dict[str, Mapping[str, str]]:
        """The partition of each table that is served."""
        self._live = None
        return {table: told["place"] for table, told in (await self._version())["tables"].items()}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _version(self) -> dict[str, Any]:
        if self._live is None or time.monotonic() - self._live[0] > FRESH_S:
            text = await self._get(f"{self._spec.space}:live")
            if text is None:
                raise MissingTable(
                    f"Nothing is published in Redis at {self._spec.place} yet. Publish it: "
                    f"sojourn publish --only {self._spec.name}"
                )
            self._live = (time.monotonic(), json.loads(text))
        return self._live[1]

    async def _get(self, key: str) -> Any:
        try:
            return await self._client.get(key)
        except (self._faults.ConnectionError, self._faults.TimeoutError) as fault:
            raise Unreachable(f"Redis at {self._spec.place} did not answer: {fault}.") from fault
        except self._faults.RedisError as fault:
            raise EngineError(f"Redis at {self._spec.place} refused: {fault}.") from fault
