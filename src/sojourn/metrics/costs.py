"""Table `costs` comes in; what each channel and campaign cost on each day, in one currency, goes out."""

import json
from collections.abc import Iterable
from datetime import date

import polars as pl

from sojourn.core import BadInput, MissingTable, missing_columns
from sojourn.metrics.acquisition_spec import NO_CAMPAIGN, AcquisitionSpec
from sojourn.metrics.rates import rated
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import literal

NO_CHANNEL = "(none)"


def daily_costs(warehouse: Warehouse, spec: AcquisitionSpec, *, as_of: date | None = None) -> pl.DataFrame:
    """`day, channel, campaign, cost`: the declared currency, each row of costs turned at its own day's rate.

    A converted row is rounded to a ten-thousandth, half away from zero; sums are exact. A row without a channel is of
    channel `(none)`, one without a campaign of campaign `(none)`. Raises `MissingTable`, `MissingColumn`, and
    `BadInput` for a currency without a rate.
    """
    if not warehouse.has(spec.costs):
        raise MissingTable(
            f"acquisition costs come from table {spec.costs!r}, which the warehouse {warehouse.root} does not have. "
            "Ingest it: sojourn ingest --table costs FILE"
        )
    found = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(spec.costs)}")
    if missing := [name for name in ("day", "amount") if name not in found]:
        raise missing_columns(f"table {spec.costs!r}", missing=missing, found=list(found))
    names = [
        name if name in found else f"CAST(NULL AS STRING) AS {name}" for name in ("channel", "campaign", "currency")
    ]
    before = "" if as_of is None else f" WHERE day < DATE '{as_of}'"
    rows = f"(SELECT day, amount, {', '.join(names)} FROM {warehouse.relation(spec.costs)}{before})"
    query = (
        f"SELECT day, coalesce(channel, {literal(NO_CHANNEL)}) AS channel, "
        f"coalesce(campaign, {literal(NO_CAMPAIGN)}) AS campaign, "
        "CAST(sum(CAST(amount * rate AS DECIMAL(18,4))) AS DECIMAL(38,4)) AS cost "
        f"FROM {rated(warehouse, rows, currency=spec.currency, what='costs')} AS c GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    return warehouse.engine.frame(query)


def check_channels(spec: AcquisitionSpec, *, costs: Iterable[str], users: Iterable[str]) -> None:
    """Raise `BadInput` for channels with costs that nobody came by, and for channels of users that cost nothing.

    Organic costs nothing by its nature; `spec.allow` names other channels that may stand on one side alone.
    """
    allowed = {spec.attribution.organic, *spec.allow}
    paid, used = set(costs), set(users)
    faults = []
    if alone := sorted(paid - used - allowed):
        faults.append(f"channels {_quoted(alone)} have costs and no users (users have {_quoted(sorted(used))})")
    if free := sorted(used - paid - allowed):
        faults.append(f"channels {_quoted(free)} have users and no costs (costs have {_quoted(sorted(paid))})")
    if faults:
        allow = json.dumps([*alone, *free], ensure_ascii=False)
        raise BadInput(
            f"acquisition: {'; '.join(faults)}. Spell them alike, or say that it is so: "
            f"[acquisition.boards.{spec.name}] allow = {allow}"
        )


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
