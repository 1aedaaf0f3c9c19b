"""A metric's rows come in; its partitions by board, grain and start go out, those alone that differ."""

from collections.abc import Mapping, Sequence

import polars as pl

from sojourn.core import BadInput, Spec, fingerprint
from sojourn.warehouse import Warehouse

EXACT = pl.Decimal(38, 4)
FIGURES = frozenset({"value", "numerator", "denominator", "mature", "forecast", "forecast_low", "forecast_high"})


def declared_mark(spec: Spec) -> str:
    """A fingerprint of all in a declaration that its figures hang on."""
    return fingerprint("declared", spec.model_dump_json(exclude={"name", "allow"}))


def refuse_other(warehouse: Warehouse, spec: Spec, *, table: str, places: Sequence[dict[str, str]], verb: str) -> None:
    """Raise `BadInput` when any of these partitions was made by another declaration; `verb` makes them anew."""
    mine = declared_mark(spec)
    for place in places:
        if str(warehouse.fingerprint_of(table, place)).partition(".")[0] != mine:
            raise BadInput(
                f"Board {place['board']!r}: table {table!r} was built with another definition than the settings "
                f"declare now ({place['grain']} {place['start']}). Build it anew: sojourn metrics {verb}"
            )


def publish(warehouse: Warehouse, table: str, rows: pl.DataFrame, *, board: str, declared: Spec) -> tuple[int, int]:
    """Write a metric's partitions whose rows differ, and drop those of periods that are gone; written and current.

    Their fingerprint is `<declaration>.<rows>`, so that a reader can tell by what they were made.
    """
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
            mark = f"{declared_mark(declared)}.{fingerprint('metric', table, part.write_csv())}"
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
