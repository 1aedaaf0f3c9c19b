"""What of users lies outside the warehouse: where tables were published, and folders of files made from them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sojourn.core import BadSpec, Spec, Unreachable
from sojourn.events import Finding, find_users_in
from sojourn.operate._derived import Change
from sojourn.operate.publishing.batch import Publisher, batches_of, user_columns
from sojourn.operate.publishing.record import reached, record_of
from sojourn.operate.publishing.spec import PublishSpec, publishers_from
from sojourn.operate.publishing.work import open_place
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier, literal
from sojourn.warehouse.files import sync

READERS = {".parquet": "read_parquet({})", ".csv": "read_csv({}, header = true, all_varchar = true)"}
WRITERS = {".parquet": "FORMAT parquet, COMPRESSION zstd", ".csv": "FORMAT csv, HEADER"}


class ForgetSpec(Spec):
    """Section `[forget]`: `folders` with files that were made from users, such as target lists, exports, histories."""

    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Elsewhere:
    """The places outside the warehouse that an erasure reaches."""

    published: tuple[PublishSpec, ...] = ()
    folders: tuple[Path, ...] = ()

    def named(self) -> Iterator[str]:
        """Each of them, for people."""
        yield from (f"{spec.name} ({spec.place})" for spec in self.published)
        yield from map(str, self.folders)


def elsewhere_from(settings: Mapping[str, Any]) -> Elsewhere:
    """What `[publish.<name>]` and `[forget]` of `sojourn.toml` declare."""
    folders = ForgetSpec(**settings.get("forget", {})).folders
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    if missing:
        raise BadSpec(f"[forget] names the folder {missing[0]!r}, which is not there. Mend it, or leave it out.")
    return Elsewhere(tuple(publishers_from(settings)), tuple(map(Path, folders)))


def with_former_places(warehouse: Warehouse, elsewhere: Elsewhere) -> Elsewhere:
    """The same, and every place that was published to before and that no section names any more."""
    return Elsewhere(tuple(reached(warehouse, elsewhere.published)), elsewhere.folders)


@contextmanager
def _reached(warehouse: Warehouse, spec: PublishSpec) -> Iterator[Publisher]:
    """The open place. Where it does not answer, it is told how one that is gone for good is left out."""
    try:
        with open_place(warehouse, spec) as publisher:
            yield publisher
    except (Unreachable, BadSpec) as fault:
        record = record_of(warehouse, spec)
        if not record.exists():
            raise
        raise type(fault)(
            f"{fault} It was published to before, so it is searched though no section may name it any more; if it is "
            f"gone for good, remove its record: rm {record}"
        ) from fault


def erase_elsewhere(warehouse: Warehouse, ids: Sequence[str], *, elsewhere: Elsewhere) -> list[Change]:
    """Take these users out of every place; the warehouse is without them already.

    Partitions whose rows are of no user each go where the warehouse's are others now: publishing brings them back.
    """
    changes = []
    for spec in elsewhere.published:
        with _reached(warehouse, spec) as publisher:
            gone = publisher.follow(batches_of(warehouse, spec.tables))
            rows = publisher.erase(ids)
        changes += [Change(f"{spec.name}:{table}", count, 1, "published rows removed") for table, count in rows.items()]
        for table in dict.fromkeys(each.table for each in gone):
            count = sum(each.table == table for each in gone)
            changes.append(Change(f"{spec.name}:{table}", None, count, "dropped until it is published again"))
    for folder in elsewhere.folders:
        changes += [each for file in _files(folder) for each in _erase_from(warehouse, file, ids)]
    return changes


def find_elsewhere(warehouse: Warehouse, ids: Sequence[str], *, elsewhere: Elsewhere) -> list[Finding]:
    """Where outside the warehouse one of these ids still stands."""
    found = []
    for spec in elsewhere.published:
        with _reached(warehouse, spec) as publisher:
            found += [Finding(f"{spec.name}:{each.place}", each.count) for each in publisher.find(ids)]
    for folder in elsewhere.folders:
        search = find_users_in(warehouse, folder, ids)
        found += [Finding(str(folder / each.place), each.count) for each in search.findings]
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in READERS and path.is_file())


def _erase_from(warehouse: Warehouse, file: Path, ids: Sequence[str]) -> list[Change]:
    """The file without these users' rows, staged beside it and renamed into its place."""
    engine = warehouse.engine
    source = READERS[file.suffix].format(literal(str(file)))
    columns = user_columns(engine.columns(f"SELECT * FROM {source}"))
    where = " OR ".join(f"coalesce(list_contains($ids, {identifier(name)}), FALSE)" for name in columns)
    if not columns:
        return []
    [(rows,)] = engine.rows(f"SELECT count(*) FROM {source} WHERE {where}", ids=list(ids))
    if rows:
        staged = file.with_name(f".{file.name}.{uuid4().hex}")
        try:
            kept = f"SELECT * FROM {source} WHERE NOT ({where})"
            engine.run(f"COPY ({kept}) TO {literal(str(staged))} ({WRITERS[file.suffix]})", ids=list(ids))
            sync(staged)
            staged.replace(file)
        finally:
            staged.unlink(missing_ok=True)
    return [Change(str(file), rows, 1, "rows removed")] if rows else []
