"""A small app with features, saved models and predictions; and a real server of its own process on it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from sojourn.events import WorldSpec, simulate
from sojourn.lifetime import BoostSpec, Lifetime, LifetimeSpec, fit_models, score_users
from sojourn.warehouse import EngineSpec, Warehouse

SPEC = LifetimeSpec(
    horizons_days=(14,),
    churn_days=14,
    train_as_ofs=2,
    models={"ltv_14": "two_stage", "churn_14": "churn_trees"},
    boost=BoostSpec(rounds=20, groups=2),
)


def small_app(root: Path) -> Warehouse:
    """The warehouse `app` in this folder, and its models in `models`."""
    warehouse = Warehouse.create(root / "app", engine=EngineSpec(threads=1))
    simulate(warehouse, WorldSpec(users=400, days=60, seed=2))
    fit_models(warehouse, spec=SPEC, out=root / "models")
    score_users(warehouse, model=Lifetime.load(root / "models"))
    return warehouse


@contextmanager
def served(root: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of `sojourn serve` on the app in this folder, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = "from sojourn.cli import main; main()"
    words = ["serve", "--warehouse", str(root / "app"), "--port", str(port), *flags]
    with subprocess.Popen([sys.executable, "-c", start, *words], env=env, cwd=root, stderr=subprocess.PIPE) as server:
        try:
            _wait(server, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        if server.poll() is not None:
            assert server.stderr is not None
            raise AssertionError(server.stderr.read().decode())
        try:
            with urlopen(f"http://127.0.0.1:{port}/health"):
                return
        except (URLError, HTTPError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("the server did not come up within a minute")
