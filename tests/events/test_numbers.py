"""Amounts are read as people write them, each as the number that it can only be; what is unclear is refused."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput
from sojourn.events._numbers import read_numbers
from sojourn.events._sources import Look
from sojourn.warehouse import DuckDBEngine
from tests.events.logs import stored, take, write_csv

ENGINE = DuckDBEngine()
KIND = "DECIMAL(18,4)"
STYLES = {
    "1,234.50": lambda text: text,
    "1.234,50": lambda text: text.translate(str.maketrans(",.", ".,")),
    "1 234,50": lambda text: text.translate(str.maketrans(",.", "\u202f,")),
    "1'234.50": lambda text: text.replace(",", "'"),
    "1234,50": lambda text: text.replace(",", "").replace(".", ","),
}
SIGNS = {
    "-$1": lambda text, low: f"{'-' if low else ''}${text}",
    "$-1": lambda text, low: f"${'-' if low else ''}{text}",
    "($1)": lambda text, low: f"(${text})" if low else f"${text}",
    "1 EUR": lambda text, low: f"{'-' if low else ''}{text} EUR",
    "1-": lambda text, low: f"{text}{'-' if low else ''}",
}


def read(texts: list[str]) -> list[Decimal | None]:
    """These texts as numbers, as a column of a source would be."""
    values = ", ".join(f"({n}, '{text.replace(chr(39), chr(39) * 2)}')" for n, text in enumerate(texts))
    relation = f"(SELECT * FROM (VALUES {values}) AS given(n, total))"
    found = read_numbers(Look(ENGINE, relation, relation), "total")
    assert found is not None
    return [number for (number,) in ENGINE.rows(f"SELECT {found.sql(KIND)} FROM {relation} ORDER BY n")]


@settings(max_examples=25, deadline=None)
@given(
    cents=st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=20),
    style=st.sampled_from(sorted(STYLES)),
    sign=st.sampled_from(sorted(SIGNS)),
)
def test_every_way_of_writing_money_reads_as_what_was_written(cents, style, sign):
    numbers = [Decimal(each).scaleb(-2) for each in cents]
    texts = [SIGNS[sign](STYLES[style](f"{abs(number):,.2f}"), number < 0) for number in numbers]
    assert read(texts) == numbers


def test_a_value_that_can_be_read_in_one_way_alone_is_so_read_whatever_the_others_are_like():
    assert read(["12.50", "7", "1,234.50", "3,5"]) == [Decimal(x) for x in ("12.5", "7", "1234.5", "3.5")]
    assert read(["12,50", "7,25", "1.234", "3.5"]) == [Decimal(x) for x in ("12.5", "7.25", "1234", "3.5")]
    assert read(["12.50", "1,23,456.00"]) == [Decimal("12.5"), Decimal("123456")]


def test_words_and_broken_numbers_are_none():
    assert read([*["12.50"] * 6, "1,23,4", "1.2.3", "(5", "5 a b", "--3"])[6:] == [None] * 5


def log(values: list[str]) -> list[dict[str, str]]:
    """A purchase of each of these amounts."""
    return [{"user_id": "ann", "ts": "2025-03-01", "total": value} for value in values]


def test_what_a_comma_means_is_asked_where_no_value_settles_it_and_the_line_proposed_works(warehouse, tmp_path):
    path = write_csv(tmp_path / "log.csv", log(["900", "1,234"]))
    with pytest.raises(BadInput) as refused:
        take(warehouse, path)
    assert str(refused.value) == (
        "'total' can be read in two ways: '1,234' in row 2 is 1234 or 1.234, and no value settles it. Say which: "
        "--map amount=\"replace(total, ',', '')\" where commas part thousands, "
        "--map amount=\"replace(total, ',', '.')\" where they stand before cents."
    )
    take(warehouse, path, columns={"amount": "replace(total, ',', '')"})
    assert stored(warehouse)["amount"].sum() == 2134


def test_several_currencies_are_not_added_and_the_line_proposed_works(warehouse, tmp_path):
    path = write_csv(tmp_path / "log.csv", log(["$5.00", "$6.50", "€7.25"]))
    with pytest.raises(BadInput, match=r"'total' holds amounts in several currencies \(.* '\$' 2 times, '€' 1 times\)"):
        take(warehouse, path)
    columns = {
        "amount": "regexp_replace(total, '[^0-9.-]', '', 'g')",
        "currency": "regexp_extract(total, '[^0-9., -]+')",
    }
    take(warehouse, path, columns=columns)
    found = stored(warehouse)
    assert sorted(zip(found["currency"], found["amount"].cast(float), strict=True)) == [
        ("$", 5.0),
        ("$", 6.5),
        ("€", 7.25),
    ]


def test_how_odd_numbers_are_read_is_told_by_example(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "log.csv", log(["$29.52", "($1,012.00)", "3"])))
    assert "Numbers in 'total' are read so: '$29.52' as 29.52 and '($1,012.00)' as -1012." in report.notes
    assert stored(warehouse)["amount"].sum() == Decimal("-979.48")


def test_thousands_without_decimals_are_doubted(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "log.csv", log(["1.250", "12.500", "3.750", "900"])))
    assert any("three digits after it" in note and "replace(total, '.', '')" in note for note in report.notes)


def test_a_thousand_that_comes_after_the_sample_is_read_too(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "log.csv", log(["5"] * 20_050 + ["1,234.50"])))
    assert (report.rejected, stored(warehouse)["amount"].max()) == (0, Decimal("1234.5"))


def test_a_price_with_a_comma_times_a_quantity(warehouse, tmp_path):
    rows = [
        {"user_id": "ann", "ts": "2025-03-01", "quantity": quantity, "price": "2,55"} for quantity in ("2", "-1", "10")
    ]
    take(warehouse, write_csv(tmp_path / "log.csv", rows))
    found = stored(warehouse)
    assert sorted(found["amount"].cast(float)) == [-2.55, 5.1, 25.5]
    assert (found["price"].to_list(), found["quantity"].sum()) == ([2.55] * 3, 11)


def test_a_return_at_a_negative_price_gives_money_back(warehouse, tmp_path):
    rows = [
        {"user_id": "ann", "ts": "2025-03-01", "quantity": quantity, "price": price}
        for quantity, price in (("2", "3"), ("-1", "-3"), ("-1", "3"), ("1", "-4"))
    ]
    take(warehouse, write_csv(tmp_path / "log.csv", rows))
    assert sorted(stored(warehouse)["amount"].cast(float)) == [-4, -3, -3, 6]
