"""A seal on every stored file: where it belongs and a hash of its bytes, which tell a file that was changed or moved.

Parquet as DuckDB and Spark write it has no checksums: a flipped bit in a page may decode to another value. The seal of
a file of ours lies in its own footer, so that file and seal are swapped in as one; a folder that Spark wrote has its
files' hashes in the sidecar.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from sojourn.warehouse.files import SIDECAR, parquet_files

SEAL, PLACE = "seal", "place"
BLANK = f"sha256:{'0' * 64}"
SEALED = re.compile(rb"sha256:([0-9a-f]{64})")
CHUNK_BYTES = 8_000_000
MAGIC = b"PAR1"


@dataclass(frozen=True)
class FileFault:
    """What is wrong with a partition's files.

    `damaged`: unreadable, or not the bytes that were written; `unsealed`: written by something else; `moved`: written
    for another place; `missing`: the folder is there and its file is not.
    """

    kind: Literal["damaged", "unsealed", "moved", "missing"]
    told: str


def blank_seal(place: str) -> dict[str, str]:
    """The metadata to write a file with, so that `seal` finds room for its seal."""
    return {PLACE: place, SEAL: BLANK}


def seal(staged: Path) -> None:
    """Write the hash of its bytes into a staged file, or those of its files into the sidecar of a staged folder."""
    if staged.is_dir():
        sidecar = staged / SIDECAR
        hashes = {file.name: _hash_of(file, None) for file in parquet_files(staged)}
        sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), SEAL: hashes}))
        return
    at = _room(staged)
    assert at is not None, f"{staged} was written without room for a seal"
    digest = _hash_of(staged, at)
    with staged.open("r+b") as handle:
        handle.seek(at)
        handle.write(digest.encode())


def fault_of(data: Path, *, place: str) -> FileFault | None:
    """What is wrong with the file or folder of the partition that belongs at this place; None when nothing is.

    Every byte is read.
    """
    try:
        sealed, fault = _sealed_folder(data) if data.is_dir() else _sealed_file(data)
    except (OSError, ValueError, KeyError, TypeError) as broken:
        return FileFault("damaged", f"cannot be read: {broken}")
    if fault is None and sealed != place:
        return FileFault("moved", f"was written as {sealed} and lies in the place of another")
    return fault


def decode_fault(files: list[Path]) -> FileFault | None:
    """What is wrong with files that have no seal, as every row group of them is decoded; None when nothing is."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    for file in files:
        try:
            with ParquetFile(file, page_checksum_verification=True) as opened:
                for group in range(opened.num_row_groups):
                    opened.read_row_group(group)
        except (ArrowException, OSError, ValueError) as broken:
            return FileFault("damaged", f"cannot be read: {file.name}: {broken}")
    return None


def _sealed_file(file: Path) -> tuple[str, FileFault | None]:
    at = _room(file)
    if at is None:
        return "", FileFault("unsealed", "has no seal: something else than Sojourn wrote it")
    with file.open("rb") as handle:
        handle.seek(at)
        told = handle.read(64).decode()
    if _hash_of(file, at) != told:
        return "", FileFault("damaged", "does not hold the bytes that were written")
    from pyarrow.parquet import read_metadata

    return read_metadata(file).metadata[PLACE.encode()].decode(), None


def _sealed_folder(folder: Path) -> tuple[str, FileFault | None]:
    sidecar = json.loads((folder / SIDECAR).read_text())
    if SEAL not in sidecar:
        return "", FileFault("unsealed", "has no seal: something else than Sojourn wrote it")
    if sidecar[SEAL] != {file.name: _hash_of(file, None) for file in parquet_files(folder)}:
        return "", FileFault("damaged", "does not hold the files and bytes that were written")
    return sidecar[PLACE], None


def _room(file: Path) -> int | None:
    """Where in the file the digits of its seal stand; None when it has none. Raises `ValueError` for no Parquet."""
    with file.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(size - 8, 0))
        tail = handle.read()
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != MAGIC or length + 12 > size:
            raise ValueError("it is cut off, or no Parquet file")
        start = size - 8 - length
        handle.seek(start)
        # The last one: what else a footer holds, such as the smallest value of a column, comes before its metadata.
        found = list(SEALED.finditer(handle.read(length)))
    return start + found[-1].start(1) if found else None


def _hash_of(file: Path, room: int | None) -> str:
    """The hash of the file's bytes, with zeros where its seal stands."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        if room is not None:
            for chunk in _chunks(handle, room):
                digest.update(chunk)
            digest.update(b"0" * 64)
            handle.seek(room + 64)
        for chunk in _chunks(handle, None):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(handle: BinaryIO, size: int | None) -> Iterator[bytes]:
    left = size
    while chunk := handle.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)):
        left = None if left is None else left - len(chunk)
        yield chunk
