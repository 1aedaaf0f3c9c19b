"""Files that are either the old ones or the new ones: sync, swap, and what a stored partition says of itself."""

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from sojourn.core import UnreadableSource

SIDECAR = "_sojourn.json"
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fs.h


@dataclass(frozen=True)
class Footer:
    """What a stored partition says of itself: the fingerprint written into it, its rows and its bytes."""

    fingerprint: str
    rows: int
    bytes: int


def parquet_files(data: Path) -> list[Path]:
    """The Parquet files of a partition: itself, or those in the folder that Spark wrote."""
    return sorted(data.glob("*.parquet")) if data.is_dir() else [data]


def read_footer(data: Path) -> Footer:
    """What the partition says of itself. Raises `UnreadableSource` for a damaged file.

    DuckDB writes the fingerprint into the Parquet footer; Spark cannot, so it lies in a sidecar in the same folder.
    """
    from pyarrow import ArrowException

    try:
        files = parquet_files(data)
        sidecar = json.loads((data / SIDECAR).read_text())["sojourn"] if data.is_dir() else None
        footers = [_footer(file, file.stat()) for file in files]
    except (ArrowException, OSError, ValueError, KeyError) as fault:
        raise UnreadableSource(
            f"A file cannot be read: {data}: {fault}. Restore it, or remove its partition and run again."
        ) from fault
    fingerprint = footers[0].fingerprint if sidecar is None else sidecar
    return Footer(fingerprint, rows=sum(each.rows for each in footers), bytes=sum(each.bytes for each in footers))


def _footer(file: Path, stat: os.stat_result) -> Footer:
    """The footer of one file, read once per process as long as the file is the same."""
    return _footer_of_version(str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=20_000)
def _footer_of_version(file: str, inode: int, size: int, changed_ns: int) -> Footer:  # noqa: ARG001 (part of the key)
    from pyarrow.parquet import read_metadata

    found = read_metadata(file)
    return Footer((found.metadata or {}).get(b"sojourn", b"").decode(), rows=found.num_rows, bytes=size)


def write_sidecar(folder: Path, metadata: Mapping[str, str]) -> None:
    """Put the metadata beside the files that Spark wrote; readers pass over a name that begins with `_`."""
    (folder / SIDECAR).write_text(json.dumps(dict(metadata)))


def swap(staged: Path, target: Path) -> None:
    """Put the staged file or folder in the target's place, in one step that a kill cannot cut in two."""
    for path in staged.iterdir() if staged.is_dir() else [staged]:
        sync(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and (staged.is_dir() or target.is_dir()):
        _exchange(staged, target)
        remove(staged)
    else:
        staged.replace(target)
    sync(target.parent)
    sync(target.parent.parent)


def remove(path: Path) -> None:
    """Remove a file or a whole folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_text(path: Path, text: str) -> None:
    """Replace a small text file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{uuid4().hex}")
    staged.write_text(text)
    sync(staged)
    staged.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have the operating system bring the file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    # rename() cannot put a folder in a non-empty folder's place; Linux's renameat2 exchanges the two names at once.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) != 0:
        fault = ctypes.get_errno()
        hint = " (this file system cannot exchange two names)" if fault in {errno.EINVAL, errno.ENOSYS} else ""
        raise OSError(fault, f"{os.strerror(fault)}{hint}", str(other))
