"""Common names of columns, in order of preference: what a table without a mapping most likely means."""

import re
from collections.abc import Iterable

# Names within one group are equally likely: two of them in one source are ambiguous. An earlier group wins.
Groups = tuple[tuple[str, ...], ...]

USER: Groups = (
    ("user_id",),
    ("user", "uid", "user_uuid"),
    (
        *("customer_id", "customer", "client_id", "cust_id", "customer_no", "customer_unique_id", "customer_number"),
        *("customer_code", "cust_no", "customer_key", "client"),
    ),
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
        *("household", "member", "player", "buyer", "shopper", "subscriber", "account_no", "acct_id", "loyalty_id"),
    ),
    ("card_id", "card_no", "loyalty_card", "email", "customer_email", "user_email", "username", "user_name", "msno"),
    ("user_pseudo_id", "anonymous_id", "distinct_id", "cookie_id"),
    ("customer_name", "client_name", "*_user_id", "*_customer_id"),
)
TIME: Groups = (
    ("ts",),
    ("timestamp", "event_time", "event_timestamp", "event_ts", "event_datetime"),
    (
        *("transaction_timestamp", "transaction_time", "transaction_datetime", "purchase_time", "purchase_timestamp"),
        *("order_time", "order_timestamp", "order_datetime", "order_purchase_timestamp", "invoice_time", "buy_ts"),
        *("created_at", "occurred_at", "datetime", "date_time", "invoice_datetime"),
    ),
    (
        *("invoice_date", "order_date", "purchase_date", "transaction_date", "event_date", "trans_date", "sale_date"),
        *("sales_date", "txn_date", "trx_date", "payment_date", "paid_at", "ordered_at", "purchased_at", "sold_at"),
        *("order_dt", "invoice_dt", "transaction_dt", "bill_date", "billing_date", "booking_date", "date_of_purchase"),
    ),
    ("date", "time", "day", "dt"),
    ("session_start", "start_time", "started_at", "first_seen"),
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
        (
            *("sale_amount", "order_amount", "payment_amount", "invoice_amount", "invoice_total", "invoice_value"),
            *("txn_amount", "trx_amount", "trans_amount", "total_paid", "total_spent", "total_sales", "total_value"),
            *(
                "basket_value",
                "basket_total",
                "grand_total",
                "price_paid",
                "line_amount",
                "line_value",
                "extended_price",
            ),
            *("net_revenue", "net_amount", "item_total", "amount_eur", "amount_gbp", "revenue_usd", "revenue_eur"),
            *("sales_usd", "spend_usd", "total_usd", "monetary_value", "money", "sum"),
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
QUANTITY = (
    *("quantity", "qty", "units", "quantity_ordered", "qty_ordered", "order_quantity", "order_qty", "units_sold"),
    *("item_quantity", "product_quantity", "num_items", "item_count"),
)
UNIT_PRICE = (
    *("unit_price", "price", "price_per_unit", "item_price", "price_each", "unit_selling_price", "selling_price"),
    *("sale_price", "sales_price", "product_price"),
)


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
        found = matching(group, columns)
        if found:
            return found
    return []


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    if "*" in pattern:
        return [name for name in names if name.endswith(pattern[1:])]
    # `invoicedate` is what people make of InvoiceDate.
    squashed = pattern.replace("_", "")
    return [name for name in names if name == pattern or name.replace("_", "") == squashed]


# Events that a price stands beside and that pay nothing; words of what pays back, and of what came to nothing. Words
# are compared in snake case, without what `QUALIFIERS` and `COMPLETED` add to them.
NOT_BOUGHT = (
    *("view", "product_view", "view_item", "page_view", "pageview", "detail", "impression", "click", "search", "open"),
    *("cart", "add_to_cart", "addtocart", "remove_from_cart", "removefromcart", "begin_checkout", "checkout"),
    *("wishlist", "add_to_wishlist", "favorite", "favourite", "like", "share", "add_payment_info", "add_shipping_info"),
    *("view_cart", "view_item_list", "select_item", "select_promotion", "view_promotion", "view_content", "quote"),
    *("initiate_checkout", "add_to_basket", "addtobasket", "basket", "viewed", "clicked", "checkout_started"),
)
BROUGHT_BACK = (
    *("refund", "refunded", "refunds", "return", "returned", "returns", "chargeback", "charge_back", "chargebacks"),
    *("reversal", "reversed", "reverse", "credit_note", "credit_memo", "creditnote", "money_back", "clawback"),
)
CANCELLED = ("cancel", "canceled", "cancelled", "cancellation", "cancelation")
CAME_TO_NOTHING = (
    *("void", "voided", "failed", "failure", "fail", "unavailable", "timed_out", "blocked", "uncollectible"),
    *("declined", "rejected", "unpaid", "abandoned", "expired", "denied", "error", "aborted", "unsuccessful"),
)
WAITING = (
    *("pending", "incomplete", "awaiting", "awaiting_payment", "pending_payment", "payment_pending", "waiting"),
    *("requires_payment_method", "requires_action", "requires_confirmation", "draft", "not_paid"),
)
BOUGHT = (
    "purchase",
    "purchased",
    "buy",
    "bought",
    "sale",
    "sales",
    "order",
    "ordered",
    "transaction",
    "sold",
    "payment",
)
QUALIFIERS = (
    "wc",
    "order",
    "purchase",
    "product",
    "item",
    "payment",
    "sale",
    "sales",
    "full",
    "fully",
    "partial",
    "partially",
)
COMPLETED = ("completed", "complete", "issued", "processed", "done", "event")

# Columns whose words say what a row is, whether it stands, and which are a mere yes or no.
KIND = (
    *("type", "kind", "transaction_type", "transaction_kind", "txn_type", "trans_type", "trx_type", "order_type"),
    *("sale_type", "entry_type", "record_type", "row_type", "line_type", "doc_type", "document_type", "invoice_type"),
    *("movement", "movement_type", "operation", "operation_type", "payment_type", "activity", "activity_type"),
)
STATE = ("status", "state", "*_status", "*_state")
IS_BACK = ("is_return", "is_refund", "is_chargeback", "return_flag", "refund_flag")
IS_STATE = ("is_cancelled", "is_canceled", "cancelled", "canceled", "voided", "failed", "is_failed", "is_void")
IS_TAKEN_BACK = ("returned", "refunded", "is_returned", "is_refunded", "was_returned", "was_refunded", "chargeback")
DOCUMENT = (
    "invoice",
    "invoice_no",
    "invoice_id",
    "invoice_number",
    "order_no",
    "order_number",
    "order_id",
    "receipt_no",
)
# Numbers of an order, a payment or a line: rows that bear one of their own are no other row's return.
OWN_ID = (
    *(
        "id",
        "transaction_id",
        "txn_id",
        "trans_id",
        "trx_id",
        "payment_id",
        "charge_id",
        "event_id",
        "order",
        "sale_id",
    ),
    *("receipt_id", "basket_id", "ticket_id", "ticket_no", "transaction_no", "transaction_number", "receipt", "uuid"),
    *("order_uuid", "order_code", "order_ref", "reference", "row_id", "line_id", "booking_id", "purchase_id"),
)
TAKEN_OFF = (
    *("refund_amount", "refunded_amount", "amount_refunded", "return_amount", "returned_amount", "total_refunded"),
    *("refund_total", "refund_value", "refunded_total", "refunded_value", "amount_returned", "refund_usd", "refund"),
    *("refunds", "refunded", "total_refund", "total_refunds", "order_refund", "amount_refund", "returned_value"),
)


def quoted(name: str) -> str:
    """A column within SQL that stands in single quotes of a shell.

    >>> quoted("total"), quoted("Refunded Amount")
    ('total', '"Refunded Amount"')
    """
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else '"' + name.replace('"', '""') + '"'


def escaped(name: str) -> str:
    r"""A column within SQL that stands in double quotes of a shell.

    >>> escaped("total"), escaped("Amount EUR")
    ('total', '\\"Amount EUR\\"')
    """
    return quoted(name).replace('"', '\\"')


def matching(patterns: Iterable[str], columns: dict[str, str]) -> list[str]:
    """Their columns that these names name, in the order of the names.

    >>> matching(("status", "*_status"), {"order_status": "Order Status"})
    ['Order Status']
    """
    return list(dict.fromkeys(columns[name] for pattern in patterns for name in _matching(pattern, columns)))


def meaning(word: str) -> str | None:
    """What a word says of a row: 'bought', 'back', 'cancelled', 'nothing' (it failed), 'unbought' (a view), or None.

    >>> [meaning(word) for word in ("Partial Refund", "Add to cart", "order_cancelled", "SALE", "returning visitor")]
    ['back', 'unbought', 'cancelled', 'bought', None]
    """
    plain = re.sub(r"[^a-z0-9]+", "_", snake(word)).strip("_")
    for name, words in (
        ("unbought", NOT_BOUGHT),
        ("back", BROUGHT_BACK),
        ("cancelled", CANCELLED),
        ("nothing", CAME_TO_NOTHING),
        ("waiting", WAITING),
        ("bought", BOUGHT),
    ):
        if plain in words:
            return name
    parts = plain.split("_")
    while len(parts) > 1 and parts[0] in QUALIFIERS:
        parts = parts[1:]
    while len(parts) > 1 and parts[-1] in (*COMPLETED, *QUALIFIERS):
        parts = parts[:-1]
    rest = "_".join(parts)
    return meaning(rest) if rest != plain else None


def is_part(word: str) -> bool:
    """Whether a word says that a part went back, not all.

    >>> is_part("partially_refunded"), is_part("Refunded")
    (True, False)
    """
    return any(part.startswith(("partial", "teil")) for part in snake(word).split("_"))
