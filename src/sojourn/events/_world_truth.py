"""Lived histories go in and the truth's tables come out, for a warehouse of their own that no feature ever reads."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import MONEY
from sojourn.events import _world_numbers as numbers
from sojourn.events._world_arrow import user_ids
from sojourn.events._world_catalogue import catalogue, item_ids
from sojourn.events._world_draws import Index
from sojourn.events._world_history import History, Totals
from sojourn.events._world_spec import WorldSpec
from sojourn.warehouse import Warehouse

TRUTH = "-truth"


def truth_warehouse(warehouse: Warehouse) -> Warehouse:
    """The warehouse of the truth, in the folder beside: `app` has `app-truth`. Made when missing.

    Its tables: `truth_world` (version, fingerprint and spec), `truth_users`, `truth_items`, `truth_tastes`.
    """
    return Warehouse.create(warehouse.root.with_name(warehouse.root.name + TRUTH), spec=warehouse.spec)


def truth_users_table(spec: WorldSpec, history: History) -> pl.DataFrame:
    """One row per user of the block: hidden traits, and what happened with pushes and would have without.

    `..._unpushed` are the same user's figures, with the same luck, in the world where nobody is ever pushed: the
    difference is the push programme's effect on this user. A refund counts on the day of its purchase. `gone_on` is the
    day of the first uninstall, null when there was none.
    """
    portrait, nature = history.block.portrait, history.block.nature
    installed = portrait.install_day < spec.days
    traits = pl.DataFrame(
        {
            "user_id": pl.from_arrow(user_ids(portrait.user)),
            "installed_on": _dates(spec, portrait.install_day),
            "kind": pl.Series(numbers.KINDS).gather(nature.kind),
            "appetite": nature.appetite,
            "payer": pl.Series(numbers.PAYERS).gather(nature.payer),
            "budget_usd": nature.budget_cents * (nature.payer > 0) / 100,
            "payday": pl.Series(numbers.PAYDAYS).gather(nature.payday),
            "archetype": nature.archetype,
            "push_response": nature.response,
            "thin_skin": nature.thin_skin,
            "patience": nature.patience,
            "reachable": portrait.opted_in & portrait.programme,
            "pushes": history.pushes,
        }
    )
    outcomes = {**_outcomes(spec, history.totals, ""), **_outcomes(spec, history.without_pushes(), "_unpushed")}
    return traits.with_columns(**outcomes).filter(pl.Series(installed))


def truth_items_table() -> pl.DataFrame:
    """One row per item: its `appeal`, the probability that a view of each genre falls on it."""
    return pl.DataFrame({"item_id": item_ids(), "appeal": catalogue().appeal.T.tolist()})


def truth_tastes_table() -> pl.DataFrame:
    """One row per archetype: its `taste`, the share of each genre. P(item | user) = taste . appeal."""
    shares = catalogue().taste_shares
    return pl.DataFrame({"archetype": np.arange(len(shares), dtype=np.uint8), "taste": shares.tolist()})


def truth_world_table(spec: WorldSpec) -> pl.DataFrame:
    """One row: which world this is."""
    return pl.DataFrame({"world_version": [numbers.WORLD_VERSION], "world": [spec.world], "spec": [spec.to_json()]})


def _outcomes(spec: WorldSpec, totals: Totals, suffix: str) -> dict[str, Any]:
    columns = {
        "active_days": pl.Series(totals.active_days),
        "sessions": pl.Series(totals.sessions),
        "purchases": pl.Series(totals.purchases),
        "spend_usd": _money(totals.spend_cents),
        "refunds_usd": _money(totals.refund_cents),
        "gone_on": _dates(spec, totals.gone_day),
    }
    return {name + suffix: values for name, values in columns.items()}


def _money(cents: Index) -> pl.Series:
    return (pl.Series(cents).cast(pl.Decimal(18, 0)).cast(MONEY) / 100).cast(MONEY)


def _dates(spec: WorldSpec, days: Index) -> pl.Series:
    known = pl.Series(np.where(days >= 0, days, 0) + (spec.start - date(1970, 1, 1)).days).cast(pl.Int32).cast(pl.Date)
    return pl.select(pl.when(pl.Series(days >= 0)).then(known)).to_series()
