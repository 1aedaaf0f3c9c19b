"""Every place that was ever published to is written down, so that an erasure reaches what no section names any more."""

from collections.abc import Sequence
from pathlib import Path

from sojourn.core import BadSpec, UnreadableSource, fingerprint
from sojourn.operate.publishing.spec import PublishSpec
from sojourn.warehouse import Warehouse
from sojourn.warehouse.files import write_text

FOLDER = "_published"


def remember(warehouse: Warehouse, spec: PublishSpec) -> None:
    """Write the place down before anything is sent there; its tables are all that were ever published to it."""
    path = record_of(warehouse, spec)
    before = _read(path) if path.exists() else None
    tables = tuple(sorted({*(before.tables if before else ()), *spec.tables}))
    # An erasure may be called from another folder.
    url = spec.url if spec.is_server else f"{'chdb:' if spec.is_embedded else ''}{spec.path}"
    now = spec.with_changes(tables=tables, url=url)
    if before != now:
        write_text(path, now.to_json())


def reached(warehouse: Warehouse, declared: Sequence[PublishSpec]) -> list[PublishSpec]:
    """The declared places with all tables that were ever published there, and the places that are declared no more.

    A file or folder that is gone is no place any more, and its record goes.
    """
    found = list(declared)
    for path in sorted((warehouse.root / FOLDER).glob("*.json")):
        old = _read(path)
        here = [nth for nth, each in enumerate(found) if each.site == old.site]
        named = {table for nth in here for table in found[nth].tables}
        if here:
            more = tuple(table for table in old.tables if table not in named)
            found[here[0]] = found[here[0]].with_changes(tables=(*found[here[0]].tables, *more))
        elif old.is_server or old.path.exists():
            found.append(old)
        else:
            path.unlink()
    return found


def record_of(warehouse: Warehouse, spec: PublishSpec) -> Path:
    """The file that remembers this place."""
    return warehouse.root / FOLDER / f"{fingerprint(spec.site)}.json"


def _read(path: Path) -> PublishSpec:
    try:
        return PublishSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, BadSpec) as fault:
        raise UnreadableSource(
            f"{path}, which remembers a place that was published to, cannot be read: {fault} Restore it, or remove it "
            f"once you know that no user's rows lie there."
        ) from fault
