"""The event log comes in; how many events each hour of each business day had goes out, a partition a day."""

from sojourn.core import BadInput, MissingTable, fingerprint
from sojourn.warehouse import DuckDBEngine, Warehouse

HOURS = "dashboard_hours"


def write_hours(warehouse: Warehouse) -> int:
    """Bring table `dashboard_hours` (`day`; `hour` 0 to 23 local, `events`) up to the log; the days that were written.

    A day whose events are as they were is left alone; a day that left the log is dropped. Raises `MissingTable`.
    """
    if not warehouse.has("events"):
        raise MissingTable("sojourn dashboard --prepare needs the table 'events'. Fill it first: sojourn ingest ...")
    need_duckdb(warehouse)
    written = 0
    with warehouse.writing(HOURS) as writer:
        there = {each.partition["day"]: each.fingerprint for each in warehouse.partitions(HOURS)}
        wanted = {
            each.partition["day"]: fingerprint(HOURS, warehouse.spec.zone, each.fingerprint)
            for each in warehouse.partitions("events")
        }
        for day in sorted(set(there) - set(wanted)):
            writer.drop({"day": day})
        for day, mark in wanted.items():
            if there.get(day) != mark:
                place = {"day": day}
                writer.put(place, _counted(warehouse, place), order_by=["hour"], fingerprint=mark)
                written += 1
    return written


def _counted(warehouse: Warehouse, place: dict[str, str]) -> str:
    relation = warehouse.relation("events", only=[place])
    return (
        f"SELECT hour(ts AT TIME ZONE '{warehouse.spec.zone}')::INTEGER AS hour, count(*) AS events "
        f"FROM {relation} GROUP BY 1"
    )


def need_duckdb(warehouse: Warehouse) -> None:
    """Raise `BadInput` unless the warehouse's engine is DuckDB."""
    if not isinstance(warehouse.engine, DuckDBEngine):
        raise BadInput(
            "sojourn dashboard --prepare runs on DuckDB alone. Give settings without [engine] "
            "kind = 'spark': --config FILE"
        )
