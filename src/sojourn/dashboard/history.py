"""The event log comes in; every user's latest events go out, so bucketed that a look-up reads one small file."""

from datetime import date, timedelta
from hashlib import md5

import polars as pl

from sojourn.core import MissingTable, fingerprint
from sojourn.dashboard.hours import need_duckdb
from sojourn.dashboard.spec import DashboardSpec
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier, literal

HISTORY = "dashboard_history"
SHOWN = ("item_id", "amount", "channel", "text", "push_id", "order_id")


def bucket_of(user_id: str, *, buckets: int) -> str:
    """The bucket in which a user's events lie: the first 60 bits of the MD5 of the id, modulo the number of buckets.

    >>> bucket_of("ann", buckets=64)
    '0036'
    """
    return f"{int(md5(user_id.encode(), usedforsecurity=False).hexdigest()[:15], 16) % buckets:04d}"


def write_history(warehouse: Warehouse, spec: DashboardSpec | None = None) -> int:
    """Bring table `dashboard_history` up to the log; the number of buckets written.

    One partition per `bucket`, sorted by `user_id`, `ts` and `event_id`, with those columns, `event`, and of `item_id`,
    `amount`, `channel`, `text`, `push_id`, `order_id` the ones that the log has; the last `history_days` of the log.
    Nothing is written when neither the log nor the settings have changed. Raises `MissingTable`.
    """
    spec = spec or DashboardSpec()
    if not warehouse.has("events"):
        raise MissingTable("sojourn dashboard --prepare needs the table 'events'. Fill it first: sojourn ingest ...")
    need_duckdb(warehouse)
    days = _days(warehouse, spec)
    settings = f"{spec.history_days}/{spec.history_buckets}"
    mark = fingerprint(HISTORY, settings, *(warehouse.fingerprint_of("events", day) or str(day) for day in days))
    wanted = [f"{number:04d}" for number in range(spec.history_buckets)]
    with warehouse.writing(HISTORY) as writer:
        there = {each.partition["bucket"]: each.fingerprint for each in warehouse.partitions(HISTORY)}
        if all(there.get(bucket) == mark for bucket in wanted):
            return 0
        for bucket in sorted(set(there) - set(wanted)):
            writer.drop({"bucket": bucket})
        _stage(warehouse, days, spec.history_buckets)
        for number, bucket in enumerate(wanted):
            query = f"SELECT * EXCLUDE (bucket_no) FROM staged_history WHERE bucket_no = {number}"
            writer.put({"bucket": bucket}, query, order_by=["user_id", "ts", "event_id"], fingerprint=mark)
        warehouse.engine.run("DROP TABLE staged_history")
    return len(wanted)


def user_events(warehouse: Warehouse, user_id: str, *, buckets: int) -> pl.DataFrame:
    """One user's events from `dashboard_history`, the latest first; only the file of the user's bucket is read.

    Raises `MissingTable` when the history has not been written.
    """
    place = {"bucket": bucket_of(user_id, buckets=buckets)}
    if warehouse.partition(HISTORY, place) is None:
        raise MissingTable(
            "No history of single users has been written for these settings. Write it: sojourn dashboard --prepare"
        )
    relation = warehouse.relation(HISTORY, only=[place])
    return warehouse.engine.frame(
        f"SELECT * EXCLUDE (bucket) FROM {relation} WHERE user_id = $user_id ORDER BY ts DESC, event_id",
        user_id=user_id,
    )


def _days(warehouse: Warehouse, spec: DashboardSpec) -> list[dict[str, str]]:
    places = warehouse.places("events")
    last = max(date.fromisoformat(place["day"]) for place in places)
    first = last - timedelta(days=spec.history_days - 1)
    return [place for place in places if date.fromisoformat(place["day"]) >= first]


def _stage(warehouse: Warehouse, days: list[dict[str, str]], buckets: int) -> None:
    """The events with their bucket in a table of DuckDB's own, in its order, so that events are read only once."""
    relation = warehouse.relation("events", only=days)
    there = warehouse.engine.columns(f"SELECT * FROM {relation}")
    columns = ["user_id", "ts", "event_id", "event", *(name for name in SHOWN if name in there)]
    hashed = f"CAST({literal('0x')} || substr(md5(user_id), 1, 15) AS BIGINT) % {buckets}"
    warehouse.engine.run(
        f"CREATE OR REPLACE TEMP TABLE staged_history AS SELECT {', '.join(map(identifier, columns))}, "
        f"{hashed} AS bucket_no FROM {relation} WHERE user_id IS NOT NULL ORDER BY bucket_no"
    )
