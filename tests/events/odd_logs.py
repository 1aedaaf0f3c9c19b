"""Sales logs as shops really export them: seeded, odd in many ways, each beside the sales that it tells of."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

START = datetime(2023, 12, 1, 8)  # noqa: DTZ001
OUTLIER = Decimal("77183.60")
CENT = Decimal("0.01")


@dataclass(frozen=True)
class OddLog:
    """Rows of a file as text, and the money that each moves (`user_id`, `amount`; None where no customer is named)."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    moved: Sequence[tuple[str | None, Decimal]]

    def write(self, path: Path, *, delimiter: str = ",", encoding: str = "utf-8") -> str:
        """The file; returns its path as text."""
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
        writer.writerows([self.columns, *self.rows])
        path.write_bytes(text.getvalue().encode(encoding))
        return str(path)

    def by_user(self) -> dict[str, Decimal]:
        """What each customer's rows come to."""
        sums: dict[str, Decimal] = {}
        for user, amount in self.moved:
            if user is not None:
                sums[user] = sums.get(user, Decimal(0)) + amount
        return sums


@dataclass(frozen=True)
class Sale:
    """One sale, or the return of one: positive, negative, or of nothing."""

    user: str
    at: datetime
    item: int
    quantity: int
    price: Decimal

    @property
    def amount(self) -> Decimal:
        """What it comes to."""
        return self.quantity * self.price


def sales(seed: int, *, customers: int, days: int, returned: float = 0.06) -> list[Sale]:
    """Customers buy at rates of their own until they leave; some things come back, some that nobody here had bought."""
    rng = np.random.default_rng(seed)
    found: list[Sale] = []
    for customer in range(customers):
        user = str(12_346 + customer)
        day, gap = float(rng.uniform(0, days * 0.6)), float(rng.gamma(2, 14)) + 1
        while day < days:
            at = START + timedelta(minutes=int(day * 1440))
            for _ in range(int(rng.integers(1, 4))):
                price = Decimal(int(rng.gamma(2, 150)) + 25) * CENT
                sale = Sale(user, at, int(rng.integers(20_000, 20_400)), int(rng.integers(1, 13)), price)
                found.append(sale)
                if rng.random() < returned:
                    later = at + timedelta(minutes=int(rng.uniform(60, 9 * 1440)))
                    found.append(Sale(user, later, sale.item, -sale.quantity, price))
            if rng.random() < 0.05:
                break
            day += float(rng.exponential(gap))
    for number in range(customers // 5):
        at = START + timedelta(days=float(rng.uniform(0, days)))
        found.append(Sale(str(12_346 + customers + number), at, 20_001, -1, Decimal("4.25")))
    end = START + timedelta(days=days)
    return sorted((each for each in found if each.at < end), key=lambda each: (each.at, each.user, each.item))


def retail_items(seed: int = 1, *, customers: int = 150, days: int = 370) -> OddLog:
    """One row an item: invoices with C for returns, a quarter without a customer, twins, gifts, and one wholesaler."""
    rng = np.random.default_rng(seed)
    rows, moved = [], []
    wholesale = Sale("12345", START + timedelta(days=days * 0.7), 23_843, 7_420, Decimal("10.4022"))
    assert abs(wholesale.amount - OUTLIER) < 1000
    for number, sale in enumerate([*sales(seed, customers=customers, days=days), wholesale]):
        named = rng.random() > 0.2
        given = rng.random() < 0.01
        price = Decimal(0) if given else sale.price
        invoice = f"{'C' if sale.quantity < 0 else ''}{536_365 + number // 2}"
        at = f"{sale.at.month}/{sale.at.day}/{sale.at.year} {sale.at.hour}:{sale.at.minute:02d}"
        row = (
            invoice,
            str(sale.item),
            "CAFÉ MUG, SET/6",
            str(sale.quantity),
            at,
            f"{price}",
            sale.user if named else "",
        )
        for _ in range(2 if rng.random() < 0.02 else 1):
            rows.append((*row, "United Kingdom"))
            moved.append((sale.user if named else None, sale.quantity * price))
    columns = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
    return OddLog(columns, rows, moved)


def ledger(seed: int = 2, *, customers: int = 150, days: int = 370) -> OddLog:
    """Positive totals all; what kind of movement a row is stands beside, chargebacks and views among others."""
    rng = np.random.default_rng(seed)
    rows, moved = [], []
    for number, sale in enumerate(sales(seed, customers=customers, days=days)):
        kind = ("Refund" if rng.random() < 0.8 else "chargeback") if sale.quantity < 0 else "Sale"
        rows.append((str(number), sale.user, f"{sale.at:%Y-%m-%d %H:%M:%S}", kind, f"{abs(sale.amount):.2f}"))
        moved.append((sale.user, sale.amount))
    return OddLog(("id", "customer_id", "date", "type", "total"), rows, moved)


def orders(seed: int = 3, *, customers: int = 150, days: int = 370) -> OddLog:
    """One row an order and how it stands in the end: canceled and refunded ones came to nothing."""
    rng = np.random.default_rng(seed)
    rows, moved = [], []
    for number, sale in enumerate(each for each in sales(seed, customers=customers, days=days) if each.quantity > 0):
        state = str(rng.choice(["delivered", "shipped", "canceled", "Refunded"], p=[0.7, 0.2, 0.06, 0.04]))
        amount = Decimal(0) if state in ("canceled", "Refunded") else sale.amount
        rows.append((f"o{number}", sale.user, f"{sale.at:%d.%m.%Y %H:%M}", state, f"${sale.amount:,.2f}"))
        moved.append((sale.user, amount))
    return OddLog(("order_id", "buyer", "order_date", "order_status", "order_total"), rows, moved)


def continental(seed: int = 4, *, customers: int = 150, days: int = 370) -> OddLog:
    """Semicolons, decimal commas and points for thousands, euros behind, dates day first, cancellations apart."""
    rows, moved = [], []
    for sale in sales(seed, customers=customers, days=days):
        amount = f"{abs(sale.amount):,.2f}".translate(str.maketrans(",.", ".,")) + " €"
        state = "storniert" if sale.quantity < 0 else "bezahlt"
        signed = f"-{amount}" if sale.quantity < 0 else amount
        rows.append((sale.user, f"{sale.at:%d/%m/%Y}", f"{sale.at:%H:%M}", signed, state, "Größe L"))
        moved.append((sale.user, sale.amount))
    return OddLog(("CustomerNo", "Date", "Time", "Total", "Zustand", "Artikel"), rows, moved)


def shop_events(seed: int = 5, *, customers: int = 150, days: int = 370) -> OddLog:
    """What people did in a shop: a price beside views and carts too, refunds with positive values late in the file."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, ...]] = []
    moved: list[tuple[str | None, Decimal]] = []
    for sale in sales(seed, customers=customers, days=days):
        value = abs(sale.amount)
        names = ["refund"] if sale.quantity < 0 else ["view_item", "add_to_cart", "purchase"][int(rng.integers(0, 3)) :]
        for step, name in enumerate(names):
            at = sale.at + timedelta(seconds=step)
            rows.append((sale.user, f"{at.timestamp():.0f}", name, f"{value:.2f}"))
            moved.append((sale.user, {"purchase": value, "refund": -value}.get(name, Decimal(0))))
    return OddLog(("user_pseudo_id", "event_timestamp", "event_name", "value"), rows, moved)


def sums(frame: pl.DataFrame) -> dict[str, Decimal]:
    """The twin of what a shop's books say: what was stored, user by user."""
    found = frame.group_by("user_id").agg(pl.col("amount").sum())
    return dict(found.select("user_id", "amount").iter_rows())


LOGS: Mapping[str, Callable[..., OddLog]] = {
    "retail items": retail_items,
    "ledger": ledger,
    "orders": orders,
    "continental": continental,
    "shop events": shop_events,
}
WRITTEN: Mapping[str, Mapping[str, str]] = {
    "retail items": {"encoding": "latin-1"},
    "ledger": {"encoding": "utf-8-sig"},
    "continental": {"delimiter": ";", "encoding": "cp1252"},
}
