"""One writer at a time: a lock that the operating system lets go when its holder dies, however it dies."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sojourn.core import Locked


@contextmanager
def exclusive(lock: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file while the block runs. Raises `Locked`, naming the holder, when another process has it.

    The lock is the kernel's (`flock`), not the file's existence: a file left by a killed writer is no lock, so stale
    locks need no clean-up and no guess about age.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise Locked(
                f"{what} is being written by {_holder(lock)}. Wait for it, or stop it, then run this again."
            ) from fault
        handle.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, handle)
        handle.flush()
        yield


def _holder(lock: Path) -> str:
    try:
        holder = json.loads(lock.read_text())
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError):  # it has the lock but has not yet written its name
        return "another process"
