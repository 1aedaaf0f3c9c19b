"""What the words of a column say of a row: bought, given back, called off, not paid yet."""

import re

from sojourn.events._names import folded, snake

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
    *("retoure", "retourniert", "rucksendung", "ruecksendung", "ruckerstattung", "rueckerstattung", "erstattung"),
    *("erstattet", "gutschrift", "zuruckgegeben", "zurueckgegeben", "retour", "retourne", "remboursement", "rembourse"),
    *("remboursee", "avoir", "devolucion", "devuelto", "reembolso", "reembolsado", "reso", "rimborso", "rimborsato"),
    *("devolucao", "devolvido", "estorno", "estornado", "terugbetaald", "terugbetaling", "geretourneerd"),
    *("reversal", "reversed", "reverse", "credit_note", "credit_memo", "creditnote", "money_back", "clawback"),
)
CANCELLED = (
    *("cancel", "canceled", "cancelled", "cancellation", "cancelation", "storno", "storniert", "stornierung"),
    *("annule", "annulee", "annulation", "cancelado", "cancelada", "anulado", "anulada", "annullato", "annullata"),
    *("geannuleerd",),
)
CAME_TO_NOTHING = (
    *("void", "voided", "failed", "failure", "fail", "unavailable", "timed_out", "blocked", "uncollectible"),
    *("fehlgeschlagen", "abgelehnt", "unbezahlt", "echoue", "echouee", "refuse", "refusee", "fallido", "rechazado"),
    *("rechazada", "fallita", "fallito", "rifiutato", "falhou", "recusado", "recusada", "mislukt", "geweigerd"),
    *("declined", "rejected", "unpaid", "abandoned", "expired", "denied", "error", "aborted", "unsuccessful"),
)
WAITING = (
    *("pending", "incomplete", "awaiting", "awaiting_payment", "pending_payment", "payment_pending", "waiting"),
    *("offen", "ausstehend", "en_attente", "pendiente", "in_attesa", "pendente", "in_afwachting"),
    *("requires_payment_method", "requires_action", "requires_confirmation", "draft", "not_paid"),
)
BOUGHT = (
    *("purchase", "purchased", "buy", "bought", "sale", "sales", "order", "ordered", "transaction", "sold", "payment"),
    *("kauf", "verkauf", "bestellung", "rechnung", "vente", "achat", "commande", "venta", "compra", "pedido"),
    *("vendita", "acquisto", "ordine", "venda", "verkoop", "aankoop", "bestelling"),
)
QUALIFIERS = (
    *("wc", "order", "purchase", "product", "item", "payment", "sale", "sales"),
    *("full", "fully", "partial", "partially"),
)
COMPLETED = ("completed", "complete", "issued", "processed", "done", "event")


def meaning(word: str) -> str | None:
    """What a word says of a row: 'bought', 'back', 'cancelled', 'nothing' (it failed), 'unbought' (a view), or None.

    >>> [meaning(word) for word in ("Partial Refund", "Add to cart", "order_cancelled", "SALE", "returning visitor")]
    ['back', 'unbought', 'cancelled', 'bought', None]
    >>> [meaning(word) for word in ("Rückerstattung", "annulé", "Pendiente", "venda")]
    ['back', 'cancelled', 'waiting', 'bought']
    """
    plain = re.sub(r"[^a-z0-9]+", "_", snake(folded(word))).strip("_")
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
