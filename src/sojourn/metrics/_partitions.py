"""A metric's rows come in; its partitions by board, grain and start go out, those alone that differ."""

from collections.abc import Mapping

import polars as pl

from sojourn.core import fingerprint
from sojourn.warehouse import Warehouse

EXACT = pl.Decimal(38, 4)
FIGURES = frozenset({"value", "numerator", "denominator", "mature", "forecast", "forecast_low", "forecast_high"})


def publish(warehouse: Warehouse, table: str, rows: pl.DataFrame, *, board: str) -> tuple[int, int]:
    """Write a metric's partitions whose rows differ, and drop those of periods that are gone; written and current."""
    written = current = 0
    with warehouse.writing(table) as writer:
        stored = {
            (info.partition["grain"], info.partition["start"]): info.fingerprint
            for info in warehouse.partitions(table, keep=lambda place: place["board"] == board)
        }
        wanted = _parts(rows)
        for grain, start in set(stored) - set(wanted):
            writer.drop({"board": board, "grain": grain, "start": start})
        for (grain, start), part in sorted(wanted.items()):
            mark = fingerprint("metric", table, part.write_csv())
            if stored.get((grain, start)) == mark:
                current += 1
                continue
            keys = [name for name in part.columns if name not in FIGURES]
            writer.put({"board": board, "grain": grain, "start": start}, part, order_by=keys, fingerprint=mark)
            written += 1
    return written, current


def _parts(rows: pl.DataFrame) -> Mapping[tuple[str, str], pl.DataFrame]:
    parts = rows.partition_by("grain", "start", as_dict=True, include_key=False)
    return {(str(grain), str(start)): part for (grain, start), part in parts.items()}
