"""Common names of columns, in order of preference: what a table without a mapping most likely means."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

# Names within one group are equally likely: two of them in one source are ambiguous. An earlier group wins.
Groups = tuple[tuple[str, ...], ...]

USER: Groups = (
    ("user_id",),
    ("user", "uid", "user_uuid", "id_user", "usuario_id", "id_usuario", "benutzer_id", "nutzer_id"),
    (
        *("customer_id", "customer", "client_id", "cust_id", "customer_no", "customer_unique_id", "customer_number"),
        *("customer_code", "cust_no", "customer_key", "customer_user", "customer_uuid", "customer_ref", "id_customer"),
        *("kundennummer", "kunden_nr", "kunde_nr", "kunden_id", "kundenid", "id_client", "numero_client", "no_client"),
        *("code_client", "client_no", "client_number", "client_code", "id_cliente", "cliente_id", "codigo_cliente"),
        *(
            "cod_cliente",
            "numero_cliente",
            "codice_cliente",
            "klant_id",
            "klantnummer",
            "klantnr",
            "sell_to_customer_no",
        ),
    ),
    ("client", "kunde", "cliente", "klant", "usuario", "utilisateur", "utente", "benutzer", "nutzer", "cust"),
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
        *("person_id", "subscriber_id", "consumer_id", "shopper_id", "driver_id", "rider_id", "listener_id"),
        *(
            "device_id",
            "member_no",
            "member_number",
            "account_no",
            "account_number",
            "acct_id",
            "loyalty_id",
            "payer_id",
        ),
        *("membership_no", "membership_id", "mitgliedsnummer", "mitglied_id", "passenger_id", "patient_id", "guest_id"),
        *("household", "member", "player", "buyer", "shopper", "subscriber", "account", "contact_id", "payer"),
    ),
    (
        *("card_id", "card_no", "loyalty_card", "card", "card_number", "loyalty_card_no", "loyalty_card_number"),
        *("loyalty_card_id", "loyalty_no", "loyalty_number", "email", "customer_email", "user_email", "email_address"),
        *("from_email_address", "e_mail", "billing_email", "payer_email", "buyer_email", "email_id", "e_mail_adresse"),
        *("username", "user_name", "msno", "correo", "courriel"),
    ),
    ("user_pseudo_id", "anonymous_id", "distinct_id", "cookie_id"),
    ("customer_name", "client_name", "kundenname", "nom_client", "nombre_cliente", "*_user_id", "*_customer_id"),
)
TIME: Groups = (
    ("ts",),
    ("timestamp", "event_time", "event_timestamp", "event_ts", "event_datetime", "time_stamp", "zeitstempel"),
    (
        *("transaction_timestamp", "transaction_time", "transaction_datetime", "purchase_time", "purchase_timestamp"),
        *("order_time", "order_timestamp", "order_datetime", "order_purchase_timestamp", "invoice_time", "buy_ts"),
        *("created_at", "occurred_at", "datetime", "date_time", "invoice_datetime", "created", "created_on"),
        *("created_utc", "date_created", "creation_date", "created_date", "when", "tx_time", "tx_timestamp"),
    ),
    (
        *("invoice_date", "order_date", "purchase_date", "transaction_date", "event_date", "trans_date", "sale_date"),
        *("sales_date", "txn_date", "trx_date", "payment_date", "paid_at", "ordered_at", "purchased_at", "sold_at"),
        *("order_dt", "invoice_dt", "transaction_dt", "bill_date", "billing_date", "booking_date", "date_of_purchase"),
        *("date_of_sale", "date_of_order", "tx_date", "bestelldatum", "kaufdatum", "rechnungsdatum", "verkaufsdatum"),
        *("buchungsdatum", "auftragsdatum", "date_commande", "date_achat", "date_vente", "date_facture"),
        *("fecha_pedido", "fecha_compra", "fecha_venta", "fecha_factura", "data_ordine", "data_acquisto"),
        *("data_vendita", "data_compra", "data_venda", "data_pedido", "besteldatum", "aankoopdatum", "verkoopdatum"),
    ),
    (
        "date",
        "time",
        "day",
        "dt",
        "datum",
        "fecha",
        "data",
        "zeit",
        "zeitpunkt",
        "fecha_hora",
        "data_hora",
        "date_heure",
    ),
    ("session_start", "start_time", "started_at", "first_seen"),
    ("*_timestamp", "*_datetime", "*_time", "*_ts", "*_at", "*_date", "*datum", "fecha_*", "date_*"),
)
ITEM: Groups = (
    ("item_id",),
    ("itemid", "item"),
    ("product_id", "productid", "product", "sku", "stock_code", "asin", "product_code"),
    (
        "artikelnummer",
        "artikel_nr",
        "artikel_id",
        "artikel",
        "produkt_id",
        "produkt",
        "produit",
        "producto",
        "prodotto",
    ),
    ("produto", "article", "sku_id", "item_no", "item_code", "variant_id"),
    ("song_id", "track_id", "movie_id", "video_id", "game_id", "content_id", "article_id", "venue_id"),
)
CHANNEL: Groups = (("channel",), ("media_source", "source", "source_id", "utm_source", "acquisition_channel"))

AMOUNT: Groups = (
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
        *("basket_value", "basket_total", "grand_total", "price_paid", "line_amount", "line_value", "extended_price"),
        *("net_revenue", "net_amount", "item_total", "amount_eur", "amount_gbp", "revenue_usd", "revenue_eur"),
        *("sales_usd", "spend_usd", "total_usd", "monetary_value", "money", "sum", "amt", "txn_amt", "tx_amount"),
        *("trans_amt", "total_amt", "tran_amt", "sale_value", "sales_total", "net_total", "net_value", "paid_amount"),
        *("bill_amount", "bill_total", "cart_total", "cart_value", "final_amount", "final_price", "purchase_total"),
        *("total_purchase_amount", "total_charge", "receipt_total", "ticket_total", "transaction_total", "tx_value"),
    ),
    (
        *("betrag", "gesamtbetrag", "umsatz", "summe", "gesamtsumme", "rechnungsbetrag", "bestellwert", "warenwert"),
        *("montant", "montant_total", "chiffre_d_affaires", "ca", "importe", "importe_total", "monto", "monto_total"),
        *("importo", "importo_totale", "totale", "valor", "valor_total", "valor_compra", "fatturato", "ingresos"),
        *("bedrag", "totaalbedrag", "omzet", "totaal", "total_ttc"),
    ),
    ("gross", "gross_amount", "gross_sales", "gross_total", "brutto", "bruttobetrag"),
    ("net", "netto", "nettobetrag", "subtotal", "sub_total"),
)
EVENTS: dict[str, Groups] = {
    "user_id": USER,
    "ts": TIME,
    "event_id": (("event_id",), ("event_uuid", "insert_id")),
    "event": (("event",), ("event_name", "event_type"), ("action", "event_action")),
    "item_id": ITEM,
    "amount": AMOUNT,
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
    *("item_quantity", "product_quantity", "num_items", "item_count", "qty_sold", "quantity_sold", "lineitem_quantity"),
    *("menge", "anzahl", "stuckzahl", "stueckzahl", "quantite", "cantidad", "quantita", "quantidade", "aantal"),
)
UNIT_PRICE = (
    *("unit_price", "price", "price_per_unit", "item_price", "price_each", "unit_selling_price", "selling_price"),
    *("sale_price", "sales_price", "product_price", "lineitem_price", "einzelpreis", "stuckpreis", "stueckpreis"),
    *("preis", "prix_unitaire", "prix", "precio_unitario", "precio", "prezzo_unitario", "prezzo", "preco_unitario"),
    *("preco", "stukprijs", "prijs"),
)
QUANTITY_BACK = (
    *("qty_returned", "quantity_returned", "returned_qty", "returned_quantity", "units_returned", "return_qty"),
    *("return_quantity", "refunded_quantity", "quantity_refunded", "returned_units", "items_returned"),
)
DISCOUNT = (
    *("discount", "discount_amount", "discounts", "total_discount", "discount_value", "line_discount", "retail_disc"),
    *("rabatt", "nachlass", "remise", "descuento", "sconto", "desconto", "korting", "coupon_disc", "disc_amount"),
)
DISCOUNT_SHARE = (
    "discount_pct",
    "discount_percent",
    "discount_percentage",
    "discount_rate",
    "disc_pct",
    "rabatt_prozent",
)
CURRENCY = ("currency", "currency_code", "order_currency", "waehrung", "wahrung", "devise", "moneda", "valuta", "moeda")
CURRENCIES = (
    *("usd", "eur", "gbp", "chf", "jpy", "cny", "inr", "brl", "aud", "cad", "sek", "nok", "dkk", "pln", "try", "mxn"),
    *("zar", "krw", "huf", "czk", "lcy", "local", "euro", "euros", "dollar", "dollars"),
)
# What numbers a thing is no user, however near its name is.
THINGS = re.compile(r"order|store|shop|basket|product|item|invoice|receipt|transaction|session|event|sku|cart|coupon")


def folded(text: str) -> str:
    """The text without accents.

    >>> folded("Stückzahl à la Straße")
    'Stuckzahl a la Strasse'
    """
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return "".join(each for each in plain if not unicodedata.combining(each))


def without_currency(columns: Mapping[str, str]) -> dict[str, str]:
    """Columns whose names end in a currency, by their names without it.

    >>> without_currency({"value_eur": "value_eur", "amount_in_usd": "Amount in USD", "total": "total"})
    {'value': 'value_eur', 'amount': 'Amount in USD'}
    """
    parted = ((name.rpartition("_"), theirs) for name, theirs in columns.items())
    return {before.removesuffix("_in"): theirs for (before, _, last), theirs in parted if before and last in CURRENCIES}


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
    if pattern.startswith("*"):
        return [name for name in names if folded(name).endswith(pattern[1:])]
    if pattern.endswith("*"):
        return [name for name in names if folded(name).startswith(pattern[:-1])]
    # `invoicedate` is what people make of InvoiceDate.
    squashed = pattern.replace("_", "")
    return [name for name in names if name == pattern or folded(name).replace("_", "") == squashed]


# Columns whose words say what a row is, whether it stands, and which are a mere yes or no.
KIND = (
    *("type", "kind", "transaction_type", "txn_type", "trans_type", "trx_type", "order_type"),
    *("sale_type", "entry_type", "record_type", "row_type", "line_type", "doc_type", "document_type", "invoice_type"),
    *("typ", "tipo", "art", "belegart", "vorgang", "buchungsart", "transaktionstyp", "tipo_movimiento", "tx_kind"),
    *("tx_type", "transaction_kind", "sale_or_return", "type_operation", "soort"),
    *("movement", "movement_type", "operation", "operation_type", "payment_type", "activity", "activity_type"),
)
STATE = ("status", "state", "*_status", "*_state", "*status", "estado", "statut", "stato", "zustand", "etat")
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
    *("belegnummer", "rechnungsnummer", "bestellnummer", "auftragsnummer", "numero_commande", "pedido", "pedido_id"),
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
