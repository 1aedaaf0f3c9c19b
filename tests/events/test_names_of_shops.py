"""Exports of shops, tills and banks in several languages are understood by the names of their columns."""

import pytest

from sojourn.core import MissingColumn
from tests.events.logs import stored, take, write_csv

# Names of the user, the time and the amount.
HEADERS = [
    ("Kundennummer", "Bestelldatum", "Betrag"),
    ("Kunden-Nr", "Datum", "Umsatz"),
    ("Kunde", "Kaufdatum", "Summe"),
    ("client", "when", "paid"),
    ("Client", "Date commande", "Montant"),
    ("cliente_id", "fecha", "importe"),
    ("Cliente", "Data ordine", "Importo"),
    ("Código cliente", "Data compra", "Valor"),
    ("Klantnummer", "Besteldatum", "Bedrag"),
    ("loyalty_card_no", "trans_date", "amt"),
    ("card", "timestamp", "value_eur"),
    ("Customer No", "Posting Date", "Amount (LCY)"),
    ("customer_user", "order_date", "order_total"),
    ("From Email Address", "created", "Gross"),
    ("Email", "Created at", "Total"),
    ("Email", "Paid at", "Total"),
    ("account", "created_at", "net"),
    ("member", "date_created", "gross"),
    ("household", "purchase_date", "Total in USD"),
]


@pytest.mark.parametrize("header", HEADERS, ids=["-".join(names) for names in HEADERS])
def test_the_user_the_time_and_the_amount_are_found_by_their_names(warehouse, tmp_path, header):
    rows = [dict(zip(header, (f"u{day}", f"2025-03-0{day}", "7.50"), strict=True)) for day in (1, 2, 3)]
    take(warehouse, write_csv(tmp_path / "log.csv", rows))
    found = stored(warehouse)
    assert found["user_id"].to_list() == ["u1", "u2", "u3"]
    assert [str(day) for day in found["day"]] == ["2025-03-01", "2025-03-02", "2025-03-03"]
    assert found["amount"].cast(float).to_list() == [7.5] * 3


@pytest.mark.parametrize(
    ("status", "amount"),
    [
        ("Storniert", 0),
        ("annulé", 0),
        ("pendiente", 0),
        ("falhou", 0),
        ("Rückerstattung", 0),
        ("versandt", 7.5),
        ("entregue", 7.5),
    ],
)
def test_a_status_is_understood_in_other_languages(warehouse, tmp_path, status, amount):
    row = {"user_id": "a", "date": "2025-03-01", "total": "7.50", "order_no": "1", "status": "ok"}
    log = [row, {**row, "order_no": "2"}, {**row, "order_no": "3", "status": status}]
    take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert stored(warehouse)["amount"].cast(float).sum() == 15 + amount


@pytest.mark.parametrize("kind", ["Rückerstattung", "Remboursement", "Devolución", "Rimborso", "Reembolso", "Retour"])
def test_money_goes_back_in_other_languages(warehouse, tmp_path, kind):
    row = {"user_id": "a", "date": "2025-03-01", "total": "7.50", "type": "x"}
    take(warehouse, write_csv(tmp_path / "log.csv", [row, row, {**row, "type": kind}]))
    assert stored(warehouse)["amount"].cast(float).sum() == 7.5


@pytest.mark.parametrize("thing", ["order_id", "store_id", "basket_id", "product_id", "invoice_id", "user_order_id"])
def test_what_numbers_a_thing_is_never_proposed_as_the_user(warehouse, tmp_path, thing):
    path = write_csv(tmp_path / "log.csv", [{thing: "1", "date": "2025-03-01", "total": "7.50"}])
    with pytest.raises(MissingColumn) as refused:
        take(warehouse, path)
    assert '--map user_id="THEIR COLUMN"' in str(refused.value)
