"""A small app with everything that the pages show: metrics, costs, predictions, features, funnels; made once a run."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sojourn.dashboard import DashboardSpec, write_checks, write_history, write_hours
from sojourn.events import MarketSpec, WorldSpec, simulate, simulate_market
from sojourn.metrics import (
    AcquisitionSpec,
    BoardSpec,
    SupplyDemandSpec,
    backfill_board,
    default_board,
    write_acquisition,
    write_supply_demand,
)
from sojourn.warehouse import EngineSpec, Warehouse

START, DAYS = date(2025, 1, 1), 36
SPEC = DashboardSpec(history_buckets=4, weeks=4, days=20)
FUNNEL = {
    "steps": [
        {"name": "view", "where": "event = 'view'"},
        {"name": "cart", "where": "event = 'add_to_cart'"},
        {"name": "pay", "where": "amount > 0"},
    ]
}


def board(warehouse: Warehouse) -> BoardSpec:
    """The board of the app: a launch is activity, seven tenths of money are margin, and there is one funnel."""
    found = default_board(warehouse)
    return found.with_changes(active="event = 'launch'", margin_share=0.7, funnels={"checkout": FUNNEL})


def build(root: Path) -> Warehouse:
    """The app's warehouse with every table that a page reads."""
    warehouse = Warehouse.create(root, engine=EngineSpec(threads=2))
    simulate(warehouse, WorldSpec(users=260, days=DAYS, start=START, seed=4))
    backfill_board(warehouse, board(warehouse))
    channels = tuple(
        name for (name,) in warehouse.engine.rows(f"SELECT DISTINCT channel FROM {warehouse.relation('users')}")
    )
    write_acquisition(warehouse, AcquisitionSpec(margin_share=0.7, allow=channels))
    for back in (30, 0):
        score(warehouse, START + timedelta(days=DAYS - back))
    write_hours(warehouse)
    write_history(warehouse, SPEC)
    write_checks(warehouse, [("files", "events", "36 partitions", "ok", "")], checked_at=_noon())
    return warehouse


def score(warehouse: Warehouse, as_of: date) -> None:
    """Predictions and features in the shape that `sojourn ltv score` writes, by a formula that a test can follow."""
    days = [place for place in warehouse.places("events") if place["day"] < str(as_of)]
    seen = (
        "SELECT user_id, count(*) AS events_all, coalesce(sum(amount), 0)::DOUBLE AS spend_all, "
        f"date_diff('day', max(day), DATE '{as_of}') AS recency_days "
        f"FROM {warehouse.relation('events', only=days)} GROUP BY user_id"
    )
    value = "round(0.5 * spend_all + 0.01 * events_all, 4)"
    predictions = (
        f"SELECT user_id, {value} AS ltv_30, 0.5 * {value} AS ltv_30_low, 2 * {value} AS ltv_30_high, "
        "least(0.99, recency_days / 20.0) AS churn_prob_30, 'test' AS model_version, 'f' AS fingerprint "
        f"FROM ({seen})"
    )
    reasons = (
        "SELECT user_id, 'ltv_30' AS prediction, 1::BIGINT AS place, 'spend_all' AS feature, 'spend' AS words, "
        f"spend_all AS value, 1.0 AS push FROM ({seen}) WHERE spend_all > 0"
    )
    for table, query in (("predictions", predictions), ("features", seen), ("prediction_reasons", reasons)):
        with warehouse.writing(table) as writer:
            writer.put({"as_of": str(as_of)}, query, order_by=["user_id"], fingerprint="test")


def _noon() -> datetime:
    return datetime(2025, 2, 6, 12, tzinfo=UTC)


SIDES = {"drivers": ("driver_id", "event = 'online'"), "riders": ("rider_id", "event = 'request'")}


def build_market(root: Path) -> Warehouse:
    """A small two-sided market: a board for each side, and supply and demand by city and hour."""
    warehouse = Warehouse.create(root, engine=EngineSpec(threads=2))
    simulate_market(warehouse, MarketSpec(drivers=30, riders=160, start=date(2025, 1, 6), days=22, seed=3))
    for name, (entity, active) in SIDES.items():
        backfill_board(warehouse, BoardSpec(name=name, entity=entity, active=active, event_dims={"city": "city"}))
    supply = {"supply": "event = 'online'", "demand": "event = 'request'", "served": "event = 'trip'"}
    write_supply_demand(warehouse, SupplyDemandSpec(supply_hours="minutes / 60", **supply))
    return warehouse
