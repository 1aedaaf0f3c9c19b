"""Amounts in several currencies come in; amounts in one go out, by a declared table of rates."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl

from sojourn.core import BadInput, UnreadableSource, fingerprint, need_columns, need_rows
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import literal

RATES = "rates"
RATE = pl.Decimal(18, 8)
NAMED_DAYS = 5


def read_rates(path: Path) -> pl.DataFrame:
    """The rates in a CSV or Parquet file. Raises `UnreadableSource` for a file that is neither."""
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        # As text: a rate that had been a double on its way would not be the rate that was declared.
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise UnreadableSource(f"{path} cannot be read: {fault}. Give a CSV or Parquet file of rates.") from fault


def put_rates(warehouse: Warehouse, rates: pl.DataFrame) -> int:
    """Write table `rates` (replacing the one before) and return its rows.

    Columns read: `day`, `currency`, `rate`: how many units of the declared currency one unit of `currency` was worth on
    that day. Raises `MissingColumn`, and `BadInput` for a rate that is not above zero, and for two on one day.
    """
    need_columns(rates, ["day", "currency", "rate"], where="metrics.put_rates")
    need_rows(rates, where="metrics.put_rates", mend="Give the rate of each foreign currency on each day.")
    try:
        day = pl.col("day").str.to_date("%Y-%m-%d") if rates["day"].dtype == pl.String else pl.col("day").cast(pl.Date)
        found = rates.select(day, pl.col("currency").cast(pl.String), pl.col("rate").cast(RATE))
    except pl.exceptions.PolarsError as fault:
        words = str(fault).splitlines()[0]
        raise BadInput(f"rates: {words}. Write days as 2025-01-31, and rates as numbers with a point.") from fault
    wrong = found.filter(pl.any_horizontal(pl.all().is_null()) | (pl.col("rate") <= 0))
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        raise BadInput(
            f"rates: {row['currency']} on {row['day']} has the rate {row['rate']}; a rate is above zero. Mend that row."
        )
    twice = found.filter(pl.struct("day", "currency").is_duplicated()).sort("day", "currency")
    if not twice.is_empty():
        row = twice.row(0, named=True)
        raise BadInput(f"rates: {row['currency']} has two rates on {row['day']}. Leave one of them.")
    found = found.sort("day", "currency")
    with warehouse.writing(RATES) as writer:
        mark = fingerprint("rates", found.write_csv())
        return writer.put({}, found, order_by=["day", "currency"], fingerprint=mark).rows


def rate_marks(warehouse: Warehouse) -> Mapping[date, str]:
    """What the rates of each day are, as text: what is converted by them is stale when it changes."""
    if not warehouse.has(RATES):
        return {}
    table = warehouse.frame(RATES).sort("day", "currency")
    found: dict[date, str] = {}
    for day, currency, rate in table.select("day", "currency", "rate").iter_rows():
        found[day] = f"{found.get(day, '')}{currency}={rate};"
    return found


def rated(warehouse: Warehouse, relation: str, *, currency: str, what: str) -> str:
    """SQL to stand after FROM: the relation with column `rate`, which turns its amounts into the declared currency.

    Reads the relation's `day` and `currency`; NULL is the declared currency. Raises `BadInput` naming every currency
    and the days on which it has no rate.
    """
    own = f"(r.currency IS NULL OR r.currency = {literal(currency)})"
    if warehouse.has(RATES):
        rates = warehouse.relation(RATES)
    else:
        nothing = "CAST(NULL AS DATE) AS day, CAST(NULL AS STRING) AS currency, CAST(NULL AS DECIMAL(18,8)) AS rate"
        rates = f"(SELECT * FROM (SELECT {nothing}) AS nothing WHERE day IS NOT NULL)"
    joined = f"{relation} AS r LEFT JOIN {rates} AS x ON x.day = r.day AND x.currency = r.currency"
    lacking = f"SELECT DISTINCT r.currency, r.day FROM {joined} WHERE NOT {own} AND x.rate IS NULL ORDER BY 1, 2"
    _refuse(warehouse.engine.rows(lacking), currency=currency, what=what)
    return f"(SELECT r.*, CASE WHEN {own} THEN CAST(1 AS DECIMAL(18,8)) ELSE x.rate END AS rate FROM {joined})"


def _refuse(lacking: list[tuple[str, date]], *, currency: str, what: str) -> None:
    if not lacking:
        return
    days: dict[str, list[date]] = {}
    for foreign, day in lacking:
        days.setdefault(foreign, []).append(day)
    told = "; ".join(f"{foreign} on {_named(each)}" for foreign, each in days.items())
    raise BadInput(
        f"{what} have amounts without a rate to {currency}: {told}. Add those days to the file of rates, then: "
        "sojourn metrics rates FILE"
    )


def _named(days: list[date]) -> str:
    named = ", ".join(map(str, days[:NAMED_DAYS]))
    return f"{named} and {len(days) - NAMED_DAYS:,} more days" if len(days) > NAMED_DAYS else named
