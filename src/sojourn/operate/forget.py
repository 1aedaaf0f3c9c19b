"""Users are forgotten, or ids merged, in the whole warehouse: what is made from events follows the events."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sojourn.events import (
    MergeReport,
    Search,
    Touched,
    aliases_of,
    days_of_users,
    erase_identities,
    erase_users,
    find_users,
    known_among,
    leave_tombstones,
    merge_identities,
)
from sojourn.operate._derived import (
    Change,
    clear_strays,
    drop_counted,
    drop_orphans,
    erase_rows,
    rebuild_counted,
    rows_of,
)
from sojourn.operate._held import TABLE as EVENT_DAYS
from sojourn.operate._held import changing
from sojourn.operate._local import on_duckdb
from sojourn.operate._told import erase_told
from sojourn.operate.elsewhere import Elsewhere, erase_elsewhere, find_elsewhere, with_former_places
from sojourn.rollups import RollupSpec
from sojourn.warehouse import Warehouse


@dataclass(frozen=True)
class ForgetReport:
    """What an erasure did: every id of these users, what each table lost, and the search of every file afterwards.

    `elsewhere` names what was searched beside the warehouse; `notes` name ids that were not known, and what could not
    be done.
    """

    ids: tuple[str, ...]
    changes: tuple[Change, ...]
    search: Search
    notes: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The account as lines of text: a table of what each table lost, and the result of the search."""
        return [*_table(self.changes), *self.notes, self.proof]

    @property
    def is_complete(self) -> bool:
        """Whether the search found no id anywhere."""
        return not self.search.findings

    @property
    def proof(self) -> str:
        """One sentence: that the search found nothing, or what it found and how to mend it."""
        ids = f"{len(self.ids):,} id{'s' if len(self.ids) > 1 else ''}"
        found = self.search.findings
        where = " and ".join([f"all {self.search.files:,} files of the warehouse", *self.elsewhere])
        if not found:
            return f"A search of {where} for {ids} finds nothing."
        told = ", ".join(f"{each.place} ({each.count:,})" for each in found)
        column = next((each.place for each in found if "." in each.place), "TABLE.COLUMN")
        return (
            f"A search of {where} for {ids} still finds some in {told}. "
            f"Delete those files or values; where a column holds other things than users, say so: --ignore {column}"
        )


def forget(
    warehouse: Warehouse,
    users: Sequence[str],
    *,
    as_of: datetime,
    rollups: Sequence[RollupSpec] = (),
    ignoring: Sequence[str] = (),
    elsewhere: Elsewhere | None = None,
) -> ForgetReport:
    """Erase these users from every table and from `elsewhere`, keep them out from now on, and search for them.

    All ids of a person go: what they are an alias of, and its other aliases. First a tombstone is left, by which ingest
    drops rows of theirs. Partials and windows that count other things than users are dropped for the days touched, and
    those of `rollups` are built again from what is left; windows come back with the next `advance`. Rows of theirs go
    from every other table. Run again after a kill, it completes; an unknown user is no mistake.

    `elsewhere` names where tables are published and folders of files made from them; places that were published to
    before and are named no more are reached all the same. `ignoring` names columns as
    `table.column` that the search passes over. Raises as `leave_tombstones` does, `Locked` while a table is being
    written, and `Unreachable` for a server that does not answer: the warehouse is done then, and a second run goes on.
    """
    elsewhere = with_former_places(warehouse, elsewhere or Elsewhere())
    ids = leave_tombstones(warehouse, users, as_of=as_of)
    told = [*_unknown(set(users) - known_among(warehouse, ids)), *_in_place(warehouse)]
    stored = [spec for spec in rollups if warehouse.has(spec.table)]
    # Before the events: afterwards nothing tells any more, if this is killed, on which days they were.
    changes = drop_counted(warehouse, days_of_users(warehouse, ids))
    with _counted(warehouse, "forget"):
        erased = erase_users(warehouse, ids)
    changes = [*map(_removed, erased), *changes, *drop_orphans(warehouse, stored)]
    rebuilt, notes = rebuild_counted(warehouse, stored)
    changes += [*rebuilt, *erase_rows(warehouse, ids), *erase_told(warehouse, ids)]
    changes += erase_elsewhere(warehouse, ids, elsewhere=elsewhere)
    changes += map(_removed, erase_identities(warehouse, ids))
    clear_strays(warehouse)
    search = find_users(warehouse, ids, ignoring=ignoring)
    beyond = [each for each in find_elsewhere(warehouse, ids, elsewhere=elsewhere) if each.place not in ignoring]
    whole = Search(search.files, (*search.findings, *beyond))
    return ForgetReport(tuple(ids), tuple(changes), whole, (*told, *notes), tuple(elsewhere.named()))


@dataclass(frozen=True)
class Merged:
    """What a merge did: the mapping's own account, the partials rebuilt, and tables that still have rows of aliases."""

    mapping: MergeReport
    changes: tuple[Change, ...]
    behind: dict[str, int]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The account as lines of text."""
        taken = self.mapping
        read = f"identities: read {taken.read:,} pairs, {taken.new:,} new aliases, {taken.aliases:,} in all"
        return [read, *_table(self.changes), *self._remarks()]

    def _remarks(self) -> Iterator[str]:
        yield from self.notes
        if self.mapping.forgotten:
            yield (
                f"Not taken, as they name a user who was forgotten: {self.mapping.forgotten:,} pairs. Forget the other "
                f"id too: sojourn events forget USER"
            )
        if self.behind:
            told = ", ".join(f"{table} ({rows:,} rows)" for table, rows in self.behind.items())
            yield f"Still under the old ids until they are written again: {told}."


def merge(warehouse: Warehouse, file: str | Path, *, as_of: datetime, rollups: Sequence[RollupSpec] = ()) -> Merged:
    """Merge the identities that a file declares, and build the touched partials of `rollups` again.

    Other tables with rows of an alias are named and left as they are: their fingerprints say that they are behind.
    Raises as `merge_identities` does.
    """
    with _counted(warehouse, "merge"):
        mapping = merge_identities(warehouse, file, as_of=as_of)
    stored = [spec for spec in rollups if warehouse.has(spec.table)]
    rebuilt, notes = rebuild_counted(warehouse, stored)
    renamed = [Change(each.table, each.rows, each.partitions, "rows renamed") for each in mapping.touched]
    behind = rows_of(warehouse, aliases_of(warehouse))
    return Merged(mapping, (*renamed, *rebuilt), behind, tuple(notes))


@contextmanager
def _counted(warehouse: Warehouse, what: str) -> Iterator[None]:
    """Days of events may have fewer rows when the block ends, and nobody is to miss them, where runs look for that."""
    store = on_duckdb(warehouse)
    if not store.has(EVENT_DAYS):
        yield
        return
    with changing(store, what):
        yield


def _unknown(ids: set[str]) -> list[str]:
    if not ids:
        return []
    first = sorted(ids)[:5]
    named = ", ".join(map(repr, first)) + (f" and {len(ids) - len(first):,} more" if len(ids) > len(first) else "")
    return [f"No event and no portrait names {named}; the tombstone keeps such rows out from now on."]


def _in_place(warehouse: Warehouse) -> list[str]:
    source = warehouse.registered("events")
    if source is None:
        return []
    told = (
        f"Events are read in place from {source.folder}, so nothing tells on which days these users were: windows that "
        f"count other things than users, written while they were there, hold their share until written again."
    )
    return [told]


def _removed(touched: Touched) -> Change:
    return Change(touched.table, touched.rows, touched.partitions, "rows removed")


def _table(changes: Sequence[Change]) -> list[str]:
    if not changes:
        return ["No table had to change."]
    width = max(len("table"), *(len(each.table) for each in changes))
    head = f"{'table':<{width}}  {'rows':>12}  {'partitions':>10}"
    return [head, *(_line(each, width) for each in changes)]


def _line(change: Change, width: int) -> str:
    rows = "" if change.rows is None else f"{change.rows:,}"
    return f"{change.table:<{width}}  {rows:>12}  {change.partitions:>10,}  {change.what}"
