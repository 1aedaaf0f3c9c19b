"""Rows a second that `sojourn publish` brings to ClickHouse (embedded) and Redis, beside a bare client.

Run it as `python -m benchmarks.operate_publish`. The bare client reads the same Parquet partition and writes the same
rows: into ClickHouse as Arrow tables of 100,000 rows, straight into the table, into Redis as one JSON text a user,
2,000 to a command. It checks nothing, swaps nothing in, and a retry of it counts twice. Each runs in a process of its
own, the two in turn; medians count. A publication that finds all current is timed too.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import arguments, python, show
from benchmarks.redis_server import redis_server
from sojourn.warehouse import EngineSpec, Warehouse

PLACE = {"as_of": "2025-05-08"}
ROWS = """
    'u' || lpad(n::VARCHAR, 9, '0') AS user_id,
    hash(n) % 100000 / 97.0 AS ltv_30, hash(n + 1) % 100000 / 89.0 AS ltv_90,
    hash(n + 2) % 1000 / 1000.0 AS churn_prob_90, (hash(n + 3) % 1000000)::DECIMAL(18, 4) / 100 AS spend,
    (hash(n + 4) % 400)::BIGINT AS purchases,
    TIMESTAMPTZ '2025-01-01' + to_seconds((hash(n + 5) % 9999999)::BIGINT) AS seen,
    ['ads', 'organic', 'social', 'mail'][1 + (hash(n + 6) % 4)::INTEGER] AS channel
"""
OURS = """
import sys, time
from pathlib import Path
from sojourn.operate import PublishSpec, publish
from sojourn.warehouse import Warehouse
started = time.perf_counter()
spec = PublishSpec(to=sys.argv[2], url=sys.argv[3], tables=["predictions"])
publish(Warehouse.open(Path(sys.argv[1])), spec=spec)
print(time.perf_counter() - started)
"""
BARE = {
    "clickhouse": """
import sys, time
import clickhouse_connect, pyarrow.parquet as pq
started = time.perf_counter()
client = clickhouse_connect.get_client(interface="chdb", path=sys.argv[2])
client.command(
    "CREATE TABLE bare (user_id String, ltv_30 Nullable(Float64), ltv_90 Nullable(Float64), "
    "churn_prob_90 Nullable(Float64), spend Nullable(Decimal(18, 4)), purchases Nullable(Int64), "
    "seen Nullable(DateTime64(6, 'UTC')), channel Nullable(String)) ENGINE = MergeTree ORDER BY user_id"
)
import pyarrow as pa
for batch in pq.ParquetFile(sys.argv[1]).iter_batches(100_000):
    client.insert_arrow("bare", pa.Table.from_batches([batch]))
client.close()
print(time.perf_counter() - started)
""",
    "redis": """
import json, sys, time
import polars as pl, redis
started = time.perf_counter()
client = redis.Redis.from_url(sys.argv[2])
texts = {}
for row in pl.read_parquet(sys.argv[1]).iter_rows(named=True):
    texts["bare:" + row["user_id"]] = json.dumps(row, default=str)
    if len(texts) == 2_000:
        client.mset(texts)
        texts = {}
if texts:
    client.mset(texts)
print(time.perf_counter() - started)
""",
}


def build(root: Path, *, users: int) -> Path:
    """A warehouse with one day of predictions; the Parquet file of that day."""
    warehouse = Warehouse.create(root, engine=EngineSpec(threads=1))
    with warehouse.writing("predictions") as writer:
        query = f"SELECT {ROWS} FROM range({users}) AS numbers(n)"
        writer.put(PLACE, query, order_by=["user_id"], fingerprint="model.1")
    return next(root.rglob("data.parquet"))


def one_place(folder: Path, root: Path, file: Path, *, to: str, users: int, rounds: int) -> dict[str, Any]:
    """Both ways of writing to one place, in turn, and a publication of what is current."""
    import redis

    seconds: dict[str, list[float]] = {"ours": [], "bare": [], "current": []}
    with redis_server(folder) as port:
        for turn in range(rounds):
            with redis.Redis(port=port) as client:
                client.flushall()
            url = f"redis://127.0.0.1:{port}/0"
            ours, bare = (url, url) if to == "redis" else (f"chdb:{folder}/ours{turn}", f"{folder}/bare{turn}")
            seconds["bare"].append(float(python(BARE[to], str(file), bare).stdout))
            seconds["ours"].append(float(python(OURS, str(root), to, ours).stdout))
            seconds["current"].append(float(python(OURS, str(root), to, ours).stdout))
    median = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "place": "ClickHouse (chdb)" if to == "clickhouse" else "Redis",
        "rows": users,
        "rows_a_second": round(users / median["ours"]),
        "bare_rows_a_second": round(users / median["bare"]),
        "ratio_of_seconds": median["ours"] / median["bare"],
        "nothing_to_do_s": median["current"],
    }


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """A row of figures for each place."""
    users, rounds = (100_000, 1) if quick else (1_000_000, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = build(folder / "w", users=users)
        return [
            one_place(folder, folder / "w", file, to=to, users=users, rounds=rounds) for to in ("clickhouse", "redis")
        ]


def main() -> None:
    """Run and print."""
    asked = arguments(__doc__)
    show("Publishing, beside a bare client", rows(quick=asked.quick), to=asked.json)


if __name__ == "__main__":
    main()
