"""Requests a second and the 99th percentile of `sojourn serve` on one core, under wrk.

Run it as `python -m benchmarks.operate_serve`. The server is pinned to one core and wrk (https://github.com/wg/wrk) to
another; where there is one core alone they share it. Users are asked for at random from Redis and from the warehouse's
Parquet, and rows are scored 1 and 100 at a time. `/health`, which asks nothing, says what the web framework itself
takes: the ratio is of requests a second to that.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.measure import arguments, show
from benchmarks.redis_server import redis_server
from sojourn.events import WorldSpec, simulate
from sojourn.lifetime import BoostSpec, Lifetime, LifetimeSpec, fit_models, score_users, scoring_table
from sojourn.operate import PublishSpec, publish
from sojourn.warehouse import Warehouse

SPEC = LifetimeSpec(
    horizons_days=(14,),
    churn_days=14,
    train_as_ofs=2,
    models={"ltv_14": "two_stage", "churn_14": "churn_trees"},
    boost=BoostSpec(rounds=100, groups=2),
)
USERS_LUA = """
local ids = {%s}
local nth = 0
request = function()
    nth = nth + 1
    return wrk.format("GET", "/users/" .. ids[1 + (nth * 7919) %% #ids])
end
"""
ROWS_LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = io.open("%s"):read("*a")
"""
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@contextmanager
def served(root: Path, config: Path, *, core: int) -> Iterator[str]:
    """The address of a server pinned to this core."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = f"import os; os.sched_setaffinity(0, {{{core}}}); from sojourn.cli import main; main()"
    words = ["serve", "--warehouse", str(root / "app"), "--config", str(config), "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", start, *words], env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                try:
                    with urlopen(f"http://127.0.0.1:{port}/health"):
                        break
                except (URLError, ConnectionError):
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def loaded(url: str, *, script: Path | None, seconds: int, core: int) -> dict[str, float]:
    """Requests a second and latencies that wrk reports of 16 connections; it fails where any answer is an error."""
    words = ["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", *(["-s", str(script)] if script else []), url]
    told = subprocess.run(["taskset", "-c", str(core), *words], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told:
        raise SystemExit(f"{url} answered with errors:\n{told}")
    per_second = float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])  # type: ignore[index]
    spread = {share: value * UNITS_MS[unit] for share, value, unit in _latencies(told)}
    return {"requests_a_second": per_second, "p50_ms": spread["50"], "p99_ms": spread["99"]}


def _latencies(told: str) -> list[tuple[str, float, str]]:
    return [(share, float(value), unit) for share, value, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)", told)]


def build(root: Path, *, users: int) -> list[str]:
    """An app with features, models and predictions; some of its users."""
    warehouse = Warehouse.create(root / "app")
    simulate(warehouse, WorldSpec(users=users, days=60, seed=2))
    fit_models(warehouse, spec=SPEC, out=root / "models")
    model = Lifetime.load(root / "models")
    score_users(warehouse, model=model)
    features = scoring_table(warehouse, spec=SPEC, flows=bool(model.flow_columns()))
    for count in (1, 100):
        body = {"rows": features.head(count).to_dicts()}
        (root / f"rows{count}.json").write_text(json.dumps(body, default=str))
        (root / f"rows{count}.lua").write_text(ROWS_LUA % (root / f"rows{count}.json"))
    ids = features["user_id"].sample(min(5_000, features.height), seed=1).to_list()
    (root / "users.lua").write_text(USERS_LUA % ", ".join(f'"{each}"' for each in ids))
    return ids


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """A row of figures for each thing that can be asked."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    users, seconds = (2_000, 2) if quick else (50_000, 15)
    cores = sorted(os.sched_getaffinity(0))
    server, load = cores[0], cores[-1]
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as port:
        root = Path(name)
        build(root, users=users)
        cache = PublishSpec(name="cache", to="redis", url=f"redis://127.0.0.1:{port}/0")
        publish(Warehouse.open(root / "app"), spec=cache)
        (root / "cache.toml").write_text(
            f'[publish.cache]\nto = "redis"\nurl = "{cache.url}"\n[serve]\nsource = "cache"\nmodels = "{root}/models"\n'
        )
        (root / "files.toml").write_text("[serve]\n")
        found: list[tuple[str, dict[str, float]]] = []
        with served(root, root / "cache.toml", core=server) as address:
            for what, path, script in (
                ("health", "/health", None),
                ("a user, from Redis", "/", "users.lua"),
                ("1 row scored", "/score", "rows1.lua"),
                ("100 rows scored", "/score", "rows100.lua"),
            ):
                url = f"{address}{path}"
                lua = root / script if script else None
                found.append((what, loaded(url, script=lua, seconds=seconds, core=load)))
        with served(root, root / "files.toml", core=server) as address:
            lua = root / "users.lua"
            found.append(("a user, from Parquet", loaded(f"{address}/", script=lua, seconds=seconds, core=load)))
    plain = found[0][1]["requests_a_second"]
    return [{"asked": what, **told, "ratio_to_health": told["requests_a_second"] / plain} for what, told in found]


def main() -> None:
    """Run and print."""
    asked = arguments(__doc__)
    show("Serving on one core, 16 connections", rows(quick=asked.quick), to=asked.json)


if __name__ == "__main__":
    main()
