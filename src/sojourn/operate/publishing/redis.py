"""Redis: all that is known of a user under one key, and all users of a version at once."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from sojourn.core import BadInput, EngineError, Unreachable, fingerprint, need
from sojourn.events import Finding
from sojourn.operate.publishing.batch import USER, Batch, Sent, user_columns
from sojourn.operate.publishing.documents import SHAPE, documents, read_document
from sojourn.operate.publishing.spec import PublishSpec

AT_ONCE = 2_000
SCANNED = 10_000


class Redis:
    """Publishes the latest due partition of each table: one JSON text a user, of all tables.

    Keys: `<space>:live` says which version counts and what is in it, `<space>:<version>:<user_id>` has a user. A
    version is written whole before `live` names it, so a reader sees the users of one version or of the next; the
    version before is removed afterwards. `<space>:versions` knows them all, so that what was cut off is found again.
    """

    def __init__(self, spec: PublishSpec) -> None:
        self._spec = spec
        module = need("redis", extra="serve", for_="Publishing to Redis")
        self._faults = module.exceptions
        self._client = module.Redis.from_url(spec.with_password(), decode_responses=True)
        self._ask(self._client.ping)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def publish(self, batches: Sequence[Batch]) -> list[Sent]:
        """Make the latest due partitions the live version, unless what is live looks back from a later day."""
        chosen = latest(batches)
        if not chosen:
            return []
        live = self.live()
        before = {} if live is None else live["tables"]
        if any(_day(before[each.table]["place"]) > _day(each.place) for each in chosen if each.table in before):
            return [
                Sent(each.table, before.get(each.table, {}).get("place", each.place), "newer", 0) for each in chosen
            ]
        version = fingerprint(SHAPE, *(f"{each.table} {each.place} {each.fingerprint}" for each in chosen))
        if live is not None and live["version"] == version:
            self._remove_others(version)
            return [Sent(each.table, each.place, "current", 0) for each in chosen]
        users = self._write(version, chosen)
        self._ask(self._client.set, self._key("live"), json.dumps(_told(version, users, chosen)))
        self._remove_others(version)
        return [Sent(each.table, each.place, "written", each.rows) for each in chosen]

    def follow(self, batches: Sequence[Batch]) -> list[Sent]:  # noqa: ARG002 (the protocol's)
        """Nothing: every key is of one user."""
        return []

    def live(self) -> dict[str, Any] | None:
        """What is live: `version`, `users`, and by table the partition, its fingerprint and its columns."""
        text = self._ask(self._client.get, self._key("live"))
        found: dict[str, Any] | None = None if text is None else json.loads(text)
        return found

    def erase(self, ids: Sequence[str]) -> dict[str, int]:
        """Remove these users' keys in every version, and have the server write its files on disk anew."""
        keys = [self._key(version, user) for version in self._versions() for user in ids]
        gone = sum(self._ask(self._client.delete, *part) for part in _parts(keys))
        self._write_disk_anew()
        return {"keys": gone} if gone else {}

    def find(self, ids: Sequence[str]) -> list[Finding]:
        """The versions that still have a key of one of these users."""
        found = []
        for version in self._versions():
            keys = [self._key(version, user) for user in ids]
            count = sum(self._ask(self._client.exists, *part) for part in _parts(keys))
            found += [Finding(f"{self._spec.space}:{version}", count)] if count else []
        return found

    def _write(self, version: str, chosen: Sequence[Batch]) -> int:
        for batch in chosen:
            _check(batch)
        self._remove(version)  # a part of it, from one who was killed; the same texts, but perhaps of erased users too
        self._ask(self._client.sadd, self._key("versions"), version)
        users = 0
        for ids, texts in documents(chosen, rows=AT_ONCE):
            keys = (self._key(version, user) for user in ids)
            self._ask(self._client.mset, dict(zip(keys, texts, strict=True)))
            users += len(ids)
        return users

    def _versions(self) -> list[str]:
        return sorted(self._ask(self._client.smembers, self._key("versions")))

    def _remove_others(self, live: str) -> None:
        for version in self._versions():
            if version != live:
                self._remove(version)

    def _remove(self, version: str) -> None:
        found: list[str] = []
        pattern = f"{self._key(version)}:*"
        with self._in_our_words():
            for key in self._client.scan_iter(match=pattern, count=SCANNED):
                found.append(key)
                if len(found) == AT_ONCE:
                    self._client.unlink(*found)
                    found = []
            if found:
                self._client.unlink(*found)
            self._client.srem(self._key("versions"), version)

    def _write_disk_anew(self) -> None:
        """Deleted keys lie on in the server's dump and log until it writes them again."""
        import time

        state = self._ask(self._client.info, "persistence")
        if state.get("aof_enabled"):
            self._ask(self._client.bgrewriteaof)
            while _is_rewriting(self._ask(self._client.info, "persistence")):
                time.sleep(0.05)
        with self._in_our_words():
            try:
                self._client.save()
            except self._faults.ResponseError as fault:
                raise EngineError(
                    f"Redis at {self._spec.place} did not write its dump anew after an erasure ({fault}), so the old "
                    f"one may still hold the users. Run SAVE there, then this again."
                ) from fault

    def _key(self, *parts: str) -> str:
        return ":".join([self._spec.space, *parts])

    def _ask(self, command: Callable[..., Any], *words: Any) -> Any:
        with self._in_our_words():
            return command(*words)

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (self._faults.ConnectionError, self._faults.TimeoutError) as fault:
            raise Unreachable(
                f"Redis at {self._spec.place} did not answer: {fault}. The version that was live is live. Mend the "
                f"connection, or the url of [publish.{self._spec.name}], and publish again."
            ) from fault
        except self._faults.RedisError as fault:
            raise EngineError(f"Redis at {self._spec.place} refused: {fault}.") from fault


def latest(batches: Sequence[Batch]) -> list[Batch]:
    """The latest due partition of each table, in the order in which the tables come."""
    found: dict[str, Batch] = {}
    for batch in batches:
        held = found.get(batch.table)
        if batch.is_due and (held is None or _day(batch.place) >= _day(held.place)):
            found[batch.table] = batch
    return list(found.values())


def _day(place: dict[str, str]) -> str:
    return next((place[key] for key in ("as_of", "day", "start") if key in place), "")


def _told(version: str, users: int, chosen: Sequence[Batch]) -> dict[str, Any]:
    tables = {
        batch.table: {"place": batch.place, "fingerprint": batch.fingerprint, "columns": batch.columns}
        for batch in chosen
    }
    return {"version": version, "users": users, "tables": tables}


def _check(batch: Batch) -> None:
    """Refuse a table that is not of one row a user, with the user's id and nobody else's."""
    if batch.columns.get(USER) != "VARCHAR":
        raise BadInput(f"Table {batch.table!r} has no text column {USER!r}, so no key in Redis. Publish it elsewhere.")
    others = [name for name in user_columns(batch.columns) if name != USER]
    if others:
        raise BadInput(
            f"Column {others[0]!r} of table {batch.table!r} names other users than the key's, whom an erasure would "
            f"not find there. Publish the table elsewhere."
        )
    [(users, rows)] = batch.engine.rows(f"SELECT count(DISTINCT {USER}), count(*) FROM {batch.relation}")
    if users != rows:
        raise BadInput(
            f"Table {batch.table!r} has {rows:,} rows for {users:,} users in {batch.place}; a key in Redis holds one "
            f"row of each table. Publish a table that has one."
        )


def _is_rewriting(state: dict[str, Any]) -> bool:
    return bool(state.get("aof_rewrite_in_progress") or state.get("aof_rewrite_scheduled"))


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), AT_ONCE):
        yield keys[start : start + AT_ONCE]


def read_users(client: Any, users: Sequence[str], *, space: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The rows by table of each of these users that there is, all of one version, which is live.

    A version may be swapped while it is read: then it is read again.
    """
    while True:
        text = client.get(f"{space}:live")
        if text is None:
            return {}
        live = json.loads(text)
        found = client.mget([f"{space}:{live['version']}:{user}" for user in users])
        if None not in found or client.get(f"{space}:live") == text:
            columns = {table: described["columns"] for table, described in live["tables"].items()}
            both = zip(users, found, strict=True)
            return {user: read_document(each, columns=columns) for user, each in both if each is not None}
