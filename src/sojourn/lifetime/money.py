"""Amounts of several currencies come in, and so does what a margin is; out comes one money that can be added."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from sojourn.core import BadInput, UnreadableSource, fingerprint, need_columns, need_rows
from sojourn.features import FeatureSpec
from sojourn.lifetime.spec import LifetimeSpec
from sojourn.rollups import AggregateSpec, RollupSpec, define
from sojourn.rollups.dialect import dialect_of
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier, literal

EVENTS, RATES, CURRENCY, MARGIN = "events", "rates", "currency", "margin"
# A rate stands until the next one: over a weekend, not over a season.
STANDS_DAYS = 31
# 19 digits for the factor, not 18: DuckDB multiplies two of 18 within 18, Spark needs both to fit 38 together.
MONEY, FACTOR, RATE = "DECIMAL(18,4)", "DECIMAL(19,4)", "DECIMAL(18,12)"
WHERE = "lifetime"


def valued(warehouse: Warehouse, *, features: FeatureSpec | None = None, spec: LifetimeSpec) -> FeatureSpec:
    """The features with amounts in one currency and, where `spec` declares one, the margin as a sum of their rollup.

    Where several currencies are converted, events are copied day by day, with `amount` (and the margin) in the declared
    currency, into a table `events_in_<currency>`, which is read in their place; a day that is current is not written
    again. Features of a log that needs neither come back as they are.

    Raises `BadInput` for a log without any amount above 0 where amounts are what is summed, for several currencies
    where none is declared, for a currency without a rate (with the rows that need it), for amounts without a currency,
    and as `define` does for a margin that is no SQL over one row.
    """
    features = features or FeatureSpec()
    rollup = features.rollup
    if spec.margin is not None:
        rollup = _with_margin(warehouse, rollup, spec.margin)
    if rollup.source == EVENTS and warehouse.has(EVENTS):
        _need_amounts(warehouse, rollup, spec)
        foreign = _foreign(warehouse, spec)
        if foreign:
            _need_plain(features, spec)
            rollup = _converted(warehouse, rollup, spec, foreign)
    return features if rollup is features.rollup else features.with_changes(rollup=rollup)


def write_rates(warehouse: Warehouse, rates: pl.DataFrame) -> int:
    """Put rates into the warehouse's table `rates`, in the place of those it has of these currencies; how many.

    Reads `day` (Date), `currency`, and `rate`: what one unit of the currency is worth in the one that is declared, from
    that day on. Text keeps every digit of a rate. Raises `MissingColumn`, `EmptyInput`, and `BadInput` for a rate that
    is not positive, or given twice for a day.
    """
    where = "lifetime.write_rates"
    need_columns(rates, ["day", CURRENCY, "rate"], where=where)
    need_rows(rates, where=where, mend="Give a rate for each currency: day, currency, rate.")
    try:
        exact = rates.select(
            pl.col("day").cast(pl.String).str.to_date("%Y-%m-%d"),
            pl.col(CURRENCY).cast(pl.String),
            pl.col("rate").cast(pl.String).cast(pl.Decimal(18, 12)),
        )
    except pl.exceptions.PolarsError as fault:
        raise BadInput(
            f"{where}: days must be like 2024-05-01 and rates numbers below a million ({fault}). Mend those rows."
        ) from fault
    bad = exact.filter(
        ~(pl.col("rate") > 0).fill_null(value=False) | pl.col("day").is_null() | pl.col(CURRENCY).is_null()
    )
    if not bad.is_empty():
        raise BadInput(f"{where}: {bad.height} rows have no day, no currency or no rate above 0, first {bad.row(0)}.")
    twice = exact.filter(exact.select(pl.struct("day", CURRENCY).is_duplicated()).to_series())
    if not twice.is_empty():
        raise BadInput(f"{where}: {twice.row(0)[1]} has several rates on {twice.row(0)[0]}. Keep one of them.")
    with warehouse.writing(RATES) as writer:
        for (currency,), part in exact.partition_by(CURRENCY, as_dict=True, include_key=False).items():
            said = fingerprint("rates", part.sort("day").write_csv())
            writer.put({CURRENCY: str(currency)}, part, order_by=["day"], fingerprint=said)
    return exact.height


def read_rates(path: Path) -> pl.DataFrame:
    """The rates of a CSV file, every digit kept. Raises `UnreadableSource`."""
    try:
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise UnreadableSource(f"{path} cannot be read as CSV ({fault}). It needs: day, currency, rate.") from fault


@dataclass(frozen=True)
class Rates:
    """What one unit of each currency is worth, from a day on; a constant rate is worth that on every day."""

    constant: Mapping[str, Decimal]
    daily: Mapping[str, list[tuple[date, Decimal]]]

    def on(self, currency: str, day: date) -> Decimal | None:
        """The rate on a day: the latest up to it, unless that is older than `STANDS_DAYS`."""
        if currency in self.constant:
            return self.constant[currency]
        known = [(since, rate) for since, rate in self.daily.get(currency, []) if since <= day]
        if not known or known[-1][0] < day - timedelta(days=STANDS_DAYS):
            return None
        return known[-1][1]


def _with_margin(warehouse: Warehouse, rollup: RollupSpec, margin: float | str) -> RollupSpec:
    """The rollup with the sum of the margin; a share keeps every digit of the amounts that it is of."""
    text = margin if isinstance(margin, str) else f"CAST(amount AS {FACTOR}) * {Decimal(str(margin)):f}"
    summed = AggregateSpec(function="sum", expression=text)
    name = f"{rollup.name}_{MARGIN}_{fingerprint(text)[:6]}"
    found = rollup.with_changes(name=name, aggregates={**rollup.aggregates, MARGIN: summed})
    define(warehouse, found)  # what is wrong with the expression is told before anything is read
    return found


def _need_amounts(warehouse: Warehouse, rollup: RollupSpec, spec: LifetimeSpec) -> None:
    """Raise `BadInput` where spend is the sum of amounts and the log has none above 0."""
    summed = rollup.aggregates.get(spec.value)
    if summed is None or summed.expression != "amount" or not warehouse.partitions(EVENTS):
        return
    events = warehouse.relation(EVENTS)
    columns = warehouse.engine.columns(f"SELECT * FROM {events}")
    if "amount" not in columns or not warehouse.engine.rows(f"SELECT 1 FROM {events} WHERE amount > 0 LIMIT 1"):
        found = ", ".join(name for name in columns if name not in ("event_id", "user_id", "ts", "arrived_at", "day"))
        raise BadInput(
            f"{WHERE}: no event has an amount above 0, so users were worth nothing. Say which column of the "
            f'source holds what was paid, and take it in again: sojourn ingest FILE --map amount="COLUMN" (or SQL over '
            f'columns: --map amount="quantity * price"). The log has: {found}.'
        )


def _foreign(warehouse: Warehouse, spec: LifetimeSpec) -> dict[str, dict[date, int]]:
    """The rows with an amount, by currency other than the declared one and by day; none where nothing is to convert."""
    events = warehouse.relation(EVENTS)
    if CURRENCY not in warehouse.engine.columns(f"SELECT * FROM {events}"):
        if spec.currency is not None:
            raise BadInput(
                f"{WHERE}: currency = {spec.currency!r} is declared, and events have no column 'currency'. Map it "
                "where they are taken in (--map currency=COLUMN), or take currency out of [lifetime]."
            )
        return {}
    counted = f"SELECT {CURRENCY}, day, count(*) AS n FROM {events} WHERE amount IS NOT NULL GROUP BY {CURRENCY}, day"
    rows: dict[str | None, dict[date, int]] = {}
    for currency, day, n in warehouse.engine.rows(counted):
        rows.setdefault(currency, {})[day] = n
    if spec.currency is None:
        _need_one(rows)
        return {}
    if None in rows:
        raise BadInput(
            f"{WHERE}: {sum(rows[None].values()):,} rows of events have an amount and no currency. Fill it where they "
            "are taken in."
        )
    return {name: days for name, days in sorted(rows.items(), key=str) if name is not None and name != spec.currency}


def _need_one(rows: Mapping[str | None, Mapping[date, int]]) -> None:
    totals = {name: sum(days.values()) for name, days in rows.items() if name is not None}
    if len(totals) > 1:
        told = ", ".join(f"{name} {n:,}" for name, n in sorted(totals.items(), key=lambda each: (-each[1], each[0])))
        first = max(sorted(totals), key=totals.__getitem__)
        others = ", ".join(f"{name} = ..." for name in sorted(totals) if name != first)
        raise BadInput(
            f"{WHERE}: amounts are in {len(totals)} currencies ({told} rows), which cannot be added. Declare one, and "
            f"what the others are worth in it: [lifetime] currency = {first!r}, rates = {{{others}}}"
        )


def _need_plain(features: FeatureSpec, spec: LifetimeSpec) -> None:
    """What reads the log itself would read amounts that are not converted."""
    if features.known_after_hours is not None:
        raise BadInput(
            f"{WHERE}: versions that were superseded are not converted, so what was known of several currencies cannot "
            "be told. Leave known_after_hours (--known-after) out."
        )
    if spec.sequences is not None:
        raise BadInput(
            f"{WHERE}: sequences read amounts as they lie in the log, in several currencies. "
            "Leave [lifetime.sequences] out."
        )


def _converted(
    warehouse: Warehouse, rollup: RollupSpec, spec: LifetimeSpec, foreign: Mapping[str, Mapping[date, int]]
) -> RollupSpec:
    """The same rollup over events whose amounts are converted, once every day of them is current."""
    assert spec.currency is not None
    rates = _rates(warehouse, spec)
    _need_rates(rates, spec.currency, foreign)
    table = f"{EVENTS}_in_{spec.currency.lower()}"
    margin = rollup.aggregates[MARGIN].expression if spec.margin is not None else None
    if margin is not None:
        table = f"{table}_{fingerprint(margin)[:6]}"
    columns = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(EVENTS)}")
    sql = dialect_of(warehouse.engine)
    stored = {each.partition["day"]: each.fingerprint for each in warehouse.partitions(table)}
    with warehouse.writing(table) as writer:
        for info in warehouse.partitions(EVENTS):
            day = date.fromisoformat(info.partition["day"])
            worth = {name: rate for name in foreign if (rate := rates.on(name, day)) is not None}
            said = {name: f"{rate:f}" for name, rate in worth.items()}
            mark = fingerprint("money", info.fingerprint, spec.currency, str(said), margin or "")
            if stored.pop(info.partition["day"], None) != mark:
                day_rows = warehouse.relation(EVENTS, only=[info.partition])
                whole = sql.with_columns(day_rows, columns, columns_of=warehouse.engine.columns)
                query = _query(whole, columns, worth, currency=spec.currency, margin=margin)
                order = [name for name in ("user_id", "ts", "event_id") if name in columns]
                writer.put(info.partition, query, order_by=order, fingerprint=mark)
        for gone in stored:
            writer.drop({"day": gone})
    # In the converted table the margin is a column of its own.
    changed = {} if margin is None else {MARGIN: AggregateSpec(function="sum", expression=MARGIN)}
    name = f"{rollup.name}_{spec.currency.lower()}"
    return rollup.with_changes(name=name, source=table, aggregates={**rollup.aggregates, **changed})


def _query(
    rows: str, columns: Mapping[str, str], worth: Mapping[str, Decimal], *, currency: str, margin: str | None
) -> str:
    """SQL for the rows of a day with the amount, and the margin, in one currency: exact, then rounded to 4 digits."""
    own = f"WHEN {literal(currency)} THEN 1"
    cases = " ".join([own, *(f"WHEN {literal(name)} THEN CAST({rate:f} AS {RATE})" for name, rate in worth.items())])
    rate = f"CAST(CASE {CURRENCY} {cases} END AS {RATE})"
    money = {"amount": "amount", **({MARGIN: f"({margin})"} if margin is not None else {})}
    changed = {name: f"CAST(CAST({text} AS {FACTOR}) * {rate} AS {MONEY})" for name, text in money.items()}
    changed[CURRENCY] = literal(currency)
    names = list(dict.fromkeys([*(name for name in columns if name != "day"), *changed]))
    taken = ", ".join(f"{changed.get(name, identifier(name))} AS {identifier(name)}" for name in names)
    return f"SELECT {taken} FROM {rows}"


def _rates(warehouse: Warehouse, spec: LifetimeSpec) -> Rates:
    """The rates that the settings name, and those of table `rates` for other currencies."""
    constant = {name: Decimal(str(rate)) for name, rate in spec.rates.items()}
    daily: dict[str, list[tuple[date, Decimal]]] = {}
    if warehouse.has(RATES):
        relation = warehouse.relation(RATES)
        need = {"day", CURRENCY, "rate"} - set(warehouse.engine.columns(f"SELECT * FROM {relation}"))
        if need:
            raise BadInput(f"{WHERE}: table 'rates' lacks {sorted(need)}; it needs day, currency and rate.")
        told = f"SELECT {CURRENCY}, CAST(day AS DATE), CAST(rate AS {RATE}) FROM {relation} ORDER BY 1, 2"
        for name, day, rate in warehouse.engine.rows(told):
            daily.setdefault(name, []).append((day, rate))
    return Rates(constant, daily)


def _need_rates(rates: Rates, currency: str, foreign: Mapping[str, Mapping[date, int]]) -> None:
    """Raise `BadInput` for every currency that has no rate on a day with an amount, and the rows that need it."""
    faults = []
    for name, days in foreign.items():
        without = {day: n for day, n in days.items() if rates.on(name, day) is None}
        if without:
            spans = "" if len(without) == len(days) else f" between {min(without)} and {max(without)}"
            faults.append(f"{name}: {sum(without.values()):,} rows{spans}")
    if faults:
        names = ", ".join(f"{fault.partition(':')[0]} = ..." for fault in faults)
        raise BadInput(
            f"{WHERE}: no rate says what these amounts are worth in {currency} ({'; '.join(faults)}). Declare them: "
            f"[lifetime] rates = {{{names}}}, or fill the table rates: sojourn ltv rates FILE (day, currency, rate; a "
            f"rate stands for {STANDS_DAYS} days at most)."
        )
