"""Common names of columns, in order of preference: what a table without a mapping most likely means."""

import re
from collections.abc import Iterable

# Names within one group are equally likely: two of them in one source are ambiguous. An earlier group wins.
Groups = tuple[tuple[str, ...], ...]

USER: Groups = (
    ("user_id",),
    ("userid", "user", "uid", "user_uuid"),
    ("customer_id", "customerid", "customer", "client_id", "clientid", "cust_id", "customer_no", "customer_unique_id"),
    (
        *(
            "household_id",
            "household_key",
            "member_id",
            "player_id",
            "account_id",
            "visitor_id",
            "visitorid",
            "buyer_id",
        ),
        *(
            "person_id",
            "subscriber_id",
            "consumer_id",
            "shopper_id",
            "driver_id",
            "rider_id",
            "listener_id",
            "device_id",
        ),
    ),
)
TIME: Groups = (
    ("ts",),
    ("timestamp", "event_time", "event_timestamp", "event_ts", "event_datetime"),
    (
        *("transaction_timestamp", "transaction_time", "transaction_datetime", "purchase_time", "purchase_timestamp"),
        *("order_time", "order_timestamp", "order_datetime", "order_purchase_timestamp", "invoice_time", "buy_ts"),
        *("created_at", "occurred_at", "datetime", "date_time", "invoice_datetime"),
    ),
    ("invoice_date", "order_date", "purchase_date", "transaction_date", "event_date", "trans_date", "sale_date"),
    ("date", "time", "day", "dt"),
    ("*_timestamp", "*_datetime", "*_time", "*_ts", "*_at", "*_date"),
)
ITEM: Groups = (
    ("item_id",),
    ("itemid", "item"),
    ("product_id", "productid", "product", "sku", "stock_code", "asin", "product_code"),
    ("song_id", "track_id", "movie_id", "video_id", "game_id", "content_id", "article_id", "venue_id"),
)
CHANNEL: Groups = (("channel",), ("media_source", "source", "source_id", "utm_source", "acquisition_channel"))

EVENTS: dict[str, Groups] = {
    "user_id": USER,
    "ts": TIME,
    "event_id": (("event_id",), ("event_uuid", "insert_id")),
    "event": (("event",), ("event_name", "event_type"), ("action", "event_action")),
    "item_id": ITEM,
    "amount": (
        ("amount",),
        (
            *("amount_usd", "total", "total_amount", "total_price", "revenue", "sales", "sales_value", "net_sales"),
            *("value", "spend", "payment", "payment_value", "order_value", "order_total", "purchase_amount", "gmv"),
            *("transaction_amount", "line_total", "dollars", "price_total", "sales_amount", "gross_revenue"),
            *("item_revenue", "amount_paid", "paid", "turnover", "purchase_value", "transaction_value"),
        ),
    ),
    "arrived_at": (("arrived_at",), ("ingested_at", "received_at", "server_received_at", "loaded_at")),
}
GUESSED: dict[str, dict[str, Groups]] = {
    "events": EVENTS,
    "users": {"user_id": USER, "valid_from": (("valid_from", "effective_from"),), "arrived_at": EVENTS["arrived_at"]},
    "items": {"item_id": ITEM, "arrived_at": EVENTS["arrived_at"]},
    "costs": {
        "day": (("day",), ("date", "dt", "spend_date", "cost_date")),
        "amount": (("amount",), ("cost", "costs", "spend", "amount_spent", "cost_usd", "spend_usd")),
        "channel": CHANNEL,
        "campaign": (("campaign",), ("campaign_id", "campaign_name", "utm_campaign")),
        "currency": (("currency", "currency_code"),),
        "arrived_at": EVENTS["arrived_at"],
    },
}
QUANTITY = ("quantity", "qty", "units")
UNIT_PRICE = ("unit_price", "price", "price_per_unit", "item_price")


def snake(name: str) -> str:
    """The name in snake case, fit for a column of ours.

    >>> [snake(name) for name in ("InvoiceNo", "Customer ID", "user-id", "  UnitPrice ", "Total $", "2nd")]
    ['invoice_no', 'customer_id', 'user_id', 'unit_price', 'total', 'c_2nd']
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    plain = re.sub(r"\W+", "_", words).strip("_").lower()
    plain = re.sub(r"_+", "_", plain)
    return plain if plain[:1].isalpha() else f"c_{plain}"


def candidates(groups: Groups, columns: dict[str, str]) -> list[str]:
    """Their columns that the best matching group names: none, one, or several that are equally likely.

    `columns` maps the name in snake case to theirs; a `*` in a group stands for anything.

    >>> candidates(USER, {"account_id": "Account ID", "customer_id": "CustomerID"})
    ['CustomerID']
    """
    for group in groups:
        found = [columns[name] for pattern in group for name in _matching(pattern, columns)]
        if found:
            return found
    return []


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name == pattern or ("*" in pattern and name.endswith(pattern[1:]))]


# Events that a price stands beside and that pay nothing, and those that pay back.
NOT_BOUGHT = (
    *("view", "product_view", "view_item", "page_view", "pageview", "detail", "impression", "click", "search", "open"),
    *("cart", "add_to_cart", "addtocart", "remove_from_cart", "removefromcart", "begin_checkout", "checkout"),
    *("wishlist", "add_to_wishlist", "favorite", "favourite", "like", "share"),
)
BROUGHT_BACK = ("refund", "refunded", "return", "returned", "chargeback")
