"""One money from several: converted to the last digit as arithmetic by hand has it, or refused with what is missing."""

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal
from typer.testing import CliRunner

from sojourn.cli import app
from sojourn.core import BadInput, BadSpec, MissingColumn, SojournError, UnreadableSource
from sojourn.features import FeatureSpec, SequenceSpec, feature_table
from sojourn.lifetime import (
    BoostSpec,
    Lifetime,
    LifetimeSpec,
    NewcomerSpec,
    compare_newcomers,
    fit_models,
    predict_users,
    read_rates,
    score_users,
    scoring_table,
    training_table,
    valued,
    write_rates,
)
from sojourn.warehouse import Warehouse
from tests.lifetime.worlds import FIRST

DAYS = 75
SPEC = LifetimeSpec(
    horizons_days=(14,),
    churn_days=14,
    step_days=14,
    train_as_ofs=2,
    replicates=20,
    boost=BoostSpec(rounds=20, groups=2),
    models={"ltv_14": "two_stage", "churn_14": "churn_trees"},
)
EUROS = SPEC.with_changes(currency="EUR")
CURRENCIES = ("EUR", "USD", "JPY")


def bought(seed: int, *, users: int = 60) -> pl.DataFrame:
    """`user, day, amount, cost, currency`: a purchase every few days, in a currency of the user's own."""
    rng = np.random.default_rng(seed)
    user, day = np.nonzero(rng.random((users, DAYS)) < 0.2)
    amount = np.round(rng.gamma(2, 20, len(user)), 4)
    return pl.DataFrame(
        {
            "user": user,
            "day": day,
            "amount": amount,
            "cost": np.round(amount * 0.6, 4),
            "currency": np.array(CURRENCIES)[user % 3],
        }
    )


def filled(root: Path, rows: pl.DataFrame, *, without: Sequence[str] = ()) -> Warehouse:
    """A warehouse whose event log has these rows."""
    money = [pl.col(name).cast(pl.Decimal(18, 4)) for name in ("amount", "cost")]
    events = rows.with_row_index("n").select(
        event_id=pl.format("e{}", "n"),
        user_id=pl.format("u{}", "user"),
        ts=pl.lit(datetime(2024, 1, 1, 12, tzinfo=UTC)) + pl.duration(days="day"),
        arrived_at=pl.lit(datetime(2024, 1, 1, 13, tzinfo=UTC)) + pl.duration(days="day"),
        event=pl.lit("purchase"),
        amount=money[0],
        cost=money[1],
        currency="currency",
        day="day",
    )
    warehouse = Warehouse.create(root)
    with warehouse.writing("events") as writer:
        for (number,), part in events.drop(without).partition_by("day", as_dict=True).items():
            day = {"day": str(FIRST + timedelta(days=int(str(number))))}
            writer.put(day, part.drop("day"), order_by=["event_id"], fingerprint=str(number))
    return warehouse


def daily_rates(seed: int) -> pl.DataFrame:
    """A rate for each working day, with more digits than money has."""
    rng = np.random.default_rng(seed)
    days = [FIRST - timedelta(days=3) + timedelta(days=n) for n in range(DAYS + 3)]
    working = [day for day in days if day.weekday() < 5]
    around = {"USD": 0.92, "JPY": 0.0061}
    rows = [(str(day), name, f"{mean * rng.uniform(0.9, 1.1):.9f}") for name, mean in around.items() for day in working]
    return pl.DataFrame(rows, schema=["day", "currency", "rate"], orient="row")


def by_hand(rows: pl.DataFrame, rates: pl.DataFrame) -> list[Decimal]:
    """Each amount times the latest rate up to its day, rounded half up to four digits."""
    found = []
    for row in rows.iter_rows(named=True):
        amount, day = Decimal(f"{row['amount']:.4f}"), str(FIRST + timedelta(days=row["day"]))
        known = [(since, rate) for since, name, rate in rates.iter_rows() if name == row["currency"] and since <= day]
        rate = Decimal(1) if row["currency"] == "EUR" else Decimal(max(known)[1])
        found.append((amount * rate).quantize(Decimal("0.0001"), ROUND_HALF_UP))
    return found


def converted(warehouse: Warehouse, table: str = "events_in_eur") -> pl.DataFrame:
    """The converted log, in the order of the rows that it was made from."""
    number = pl.col("event_id").str.slice(1).cast(pl.Int64)
    return warehouse.frame(table).sort(number)


@pytest.fixture
def rows() -> pl.DataFrame:
    return bought(1)


@pytest.fixture(scope="module")
def filled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("filled") / "mixed", bought(1)).root


@pytest.fixture
def mixed(filled_once: Path, tmp_path: Path) -> Warehouse:
    """The log of `rows`, in a warehouse of the test's own."""
    shutil.copytree(filled_once, tmp_path / "mixed")
    return Warehouse.open(tmp_path / "mixed")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The same log in one currency, to read."""
    return filled(tmp_path_factory.mktemp("plain") / "w", bought(1).with_columns(currency=pl.lit("EUR")))


@pytest.mark.parametrize("seed", [1, 2])
def test_amounts_are_converted_as_by_hand(tmp_path, seed):
    rows, rates = bought(seed), daily_rates(seed)
    warehouse = filled(tmp_path / "w", rows)
    assert write_rates(warehouse, rates) == rates.height
    found = valued(warehouse, spec=EUROS)
    assert found.rollup.source == "events_in_eur"
    log = converted(warehouse)
    assert log["amount"].to_list() == by_hand(rows, rates)
    assert log["currency"].unique().to_list() == ["EUR"]
    others = ["event_id", "user_id", "ts", "arrived_at", "event", "cost"]
    number = pl.col("event_id").str.slice(1).cast(pl.Int64)
    assert_frame_equal(log.select(others), warehouse.frame("events").sort(number).select(others))


def test_spark_converts_to_the_same(rows, tmp_path, spark):
    pytest.importorskip("pyspark")
    mixed = filled(tmp_path / "w", rows.filter(pl.col("day") < 4))
    write_rates(mixed, daily_rates(1))
    valued(mixed, spec=EUROS)
    expected = converted(mixed)
    with mixed.writing("events_in_eur") as writer:
        for info in mixed.partitions("events_in_eur"):
            writer.drop(info.partition)
    valued(Warehouse.open(mixed.root, engine=spark), spec=EUROS)
    assert_frame_equal(converted(mixed).select(expected.columns), expected)


def test_a_log_in_several_currencies_teaches_what_the_same_log_in_one_does(rows, tmp_path):
    halves = EUROS.with_changes(rates={"USD": 0.5, "JPY": 0.25})
    worth = pl.col("currency").replace_strict({"EUR": 1.0, "USD": 0.5, "JPY": 0.25})
    # Amounts that stay exact when halved twice.
    rows = rows.with_columns(amount=(pl.col("amount") * 4).round(0))
    mixed = filled(tmp_path / "again", rows)
    plain = filled(tmp_path / "plain", rows.with_columns(amount=pl.col("amount") * worth, currency=pl.lit("EUR")))
    table = training_table(mixed, spec=halves)
    assert_frame_equal(table, training_table(plain, spec=SPEC))
    model = fit_models(mixed, spec=halves, out=tmp_path / "models")
    info = score_users(mixed, model=model)
    in_memory = predict_users(mixed, model=Lifetime.load(tmp_path / "models"), out=tmp_path).predictions
    stored = mixed.frame("predictions", only=[info.partition])
    assert_series_equal(stored.sort("user_id")["ltv_14"], in_memory.sort("user_id")["ltv_14"])


def test_other_rates_are_another_model(mixed):
    first, other = (EUROS.with_changes(rates={"USD": rate, "JPY": 0.006}) for rate in (0.9, 0.91))
    table = training_table(mixed, spec=first)
    # The same table, so that what differs is what the settings say of it.
    assert Lifetime(first).fit(table).fingerprint_ != Lifetime(other).fit(table).fingerprint_


def test_only_days_whose_events_or_rates_changed_are_written_again(mixed):
    rates = daily_rates(1)
    write_rates(mixed, rates)
    valued(mixed, spec=EUROS)

    def written() -> dict[str, int]:
        files = (mixed.root / "events_in_eur").rglob("*.parquet")
        return {file.parent.name: file.stat().st_mtime_ns for file in files}

    before = written()
    valued(mixed, spec=EUROS)
    assert written() == before
    monday = FIRST + timedelta(days=63)
    doubled = pl.when(pl.col("day") == str(monday), pl.col("currency") == "USD").then(pl.lit("1.9")).otherwise("rate")
    write_rates(mixed, rates.with_columns(rate=doubled))
    with mixed.writing("events") as writer:
        writer.drop({"day": str(FIRST)})
    valued(mixed, spec=EUROS)
    after = written()
    assert set(before) - set(after) == {f"day={FIRST}"}
    assert {day for day in after if after[day] != before[day]} == {f"day={monday}"}


class TestMargin:
    def test_a_share_of_the_amount_is_exact(self, plain):
        spec = SPEC.with_changes(value="margin", margin=0.3)
        table = training_table(plain, spec=spec)
        spend = training_table(plain, spec=SPEC)
        assert_series_equal(table["label_margin_14d"], spend["label_spend_14d"] * 0.3, check_names=False)
        assert_series_equal(table["margin_all"], spend["spend_all"] * 0.3, check_names=False)
        assert "label_spend_14d" not in table.columns
        found = Lifetime(spec).fit(table).predict(scoring_table(plain, spec=spec))
        assert found["ltv_14"].sum() > 0

    def test_an_expression_over_the_row(self, plain, rows):
        table = scoring_table(plain, spec=SPEC.with_changes(value="margin", margin="amount - cost"))
        kept = rows.group_by("user").agg((pl.col("amount") - pl.col("cost")).sum().alias("kept"))
        found = table.join(kept.with_columns(user_id=pl.format("u{}", "user")), on="user_id")
        assert_series_equal(found["margin_all"], found["kept"], check_names=False)
        with pytest.raises(MissingColumn, match="'costs'"):
            scoring_table(plain, spec=SPEC.with_changes(value="margin", margin="amount - costs"))

    def test_a_margin_is_converted_like_its_amount(self, rows, mixed):
        spec = EUROS.with_changes(value="margin", margin="amount - cost", rates={"USD": 0.5, "JPY": 0.25})
        table = scoring_table(mixed, spec=spec)
        worth = pl.col("currency").replace_strict({"EUR": 1.0, "USD": 0.5, "JPY": 0.25})
        each = ((pl.col("amount") - pl.col("cost")) * worth).sum()
        kept = rows.group_by("user").agg(each.alias("kept")).with_columns(user_id=pl.format("u{}", "user"))
        found = table.join(kept, on="user_id")
        # Each row is rounded to four digits once.
        assert (found["margin_all"] - found["kept"]).abs().max() < 0.01  # type: ignore[operator]


def test_a_log_in_one_currency_is_read_as_it_lies(plain, rows, tmp_path):
    features, one = FeatureSpec(), plain
    none = filled(tmp_path / "none", rows, without=["currency"])
    for warehouse, spec in ((one, SPEC), (one, EUROS), (none, SPEC)):
        assert valued(warehouse, features=features, spec=spec) is features
        assert not [table for table in warehouse.tables() if table.startswith("events_in")]
    day = FIRST + timedelta(days=40)
    assert_frame_equal(scoring_table(one, spec=EUROS, as_of=day), feature_table(one, features, day))


class TestRefused:
    def test_several_currencies_and_none_declared(self, mixed):
        with pytest.raises(BadInput) as refused:
            training_table(mixed, spec=SPEC)
        assert "amounts are in 3 currencies (" in str(refused.value)
        assert "[lifetime] currency = 'EUR', rates = {JPY = ..., USD = ...}" in str(refused.value)
        with pytest.raises(BadInput, match="cannot be added"):
            scoring_table(mixed)
        with pytest.raises(BadInput, match="cannot be added"):
            compare_newcomers(mixed, spec=NewcomerSpec(by_days=14), out=mixed.root.parent)

    def test_a_currency_without_a_rate(self, rows, mixed):
        yen = rows.filter(pl.col("currency") == "JPY").height
        with pytest.raises(BadInput, match=rf"worth in EUR \(JPY: {yen} rows\). Declare them: .*rates = {{JPY = ...}}"):
            training_table(mixed, spec=EUROS.with_changes(rates={"USD": 0.9}))
        assert "events_in_eur" not in mixed.tables()

    def test_days_before_the_first_rate_and_long_after_the_last(self, rows, mixed):
        some = daily_rates(1).filter(pl.col("day").is_between(pl.lit("2024-01-15"), pl.lit("2024-01-25")))
        write_rates(mixed, some)
        last = date(2024, 1, 25) + timedelta(days=31)
        day = pl.lit(FIRST) + pl.duration(days="day")
        uncovered = rows.filter((pl.col("currency") == "USD") & ((day < date(2024, 1, 15)) | (day > last)))
        with pytest.raises(BadInput, match=rf"USD: {uncovered.height} rows between 2024-01-01 and 2024-03-1[45]"):
            valued(mixed, spec=EUROS)

    def test_amounts_without_a_currency(self, rows, tmp_path):
        torn = rows.with_columns(currency=pl.when(pl.col("day") > 2).then("currency"))
        nameless = rows.filter(pl.col("day") <= 2).height
        with pytest.raises(BadInput, match=rf"{nameless} rows of events have an amount and no currency"):
            valued(filled(tmp_path / "w", torn), spec=EUROS.with_changes(rates={"USD": 0.9, "JPY": 0.006}))

    def test_a_declared_currency_that_the_log_does_not_name(self, rows, tmp_path):
        with pytest.raises(BadInput, match=r"events have no column 'currency'. Map it"):
            valued(filled(tmp_path / "w", rows, without=["currency"]), spec=EUROS)

    def test_what_reads_the_log_unconverted(self, mixed):
        rates = EUROS.with_changes(rates={"USD": 0.9, "JPY": 0.006})
        with pytest.raises(BadInput, match="Leave known_after_hours"):
            valued(mixed, features=FeatureSpec(known_after_hours=6), spec=rates)
        with pytest.raises(BadInput, match="sequences read amounts as they lie"):
            valued(mixed, spec=rates.with_changes(sequences=SequenceSpec()))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"margin": 0.3}, "value is 'spend'; set value = 'margin'"),
            ({"margin": 1.5, "value": "margin"}, "is no share of an amount"),
            ({"rates": {"USD": 0.9}}, "and no currency; add currency = 'EUR'"),
            ({"currency": "EUR", "rates": {"EUR": 0.9}}, "at another rate than 1"),
            ({"currency": "EUR", "rates": {"USD": 0.0}}, "greater than 0"),
        ],
    )
    def test_settings_that_say_two_things(self, changes, said):
        with pytest.raises(BadSpec, match=said):
            LifetimeSpec(**changes)

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ([("2024-01-01", "USD", "0")], "1 rows have no day, no currency or no rate above 0"),
            ([("2024-01-01", "USD", "0.9"), ("2024-01-01", "USD", "0.8")], "USD has several rates on 2024-01-01"),
            ([("yesterday", "USD", "0.9")], "days must be like 2024-05-01"),
            ([], "got a table without rows. Give a rate for each currency"),
        ],
    )
    def test_rates_that_are_none(self, mixed, wrong, said):
        table = pl.DataFrame(wrong, schema={"day": pl.String, "currency": pl.String, "rate": pl.String}, orient="row")
        with pytest.raises(SojournError, match=said):
            write_rates(mixed, table)
        with pytest.raises(MissingColumn, match="'rate'"):
            write_rates(mixed, table.drop("rate"))


class TestCommandLine:
    def test_rates_are_read_from_a_file_and_used(self, rows, mixed, tmp_path):
        daily_rates(1).write_csv(tmp_path / "rates.csv")
        config = tmp_path / "sojourn.toml"
        config.write_text(
            "[lifetime]\nhorizons_days = [14]\nchurn_days = 14\ncurrency = 'EUR'\n"
            "[lifetime.models]\nltv_14 = 'two_stage'\nchurn_14 = 'churn_trees'\n"
            "[lifetime.boost]\nrounds = 20\ngroups = 2\n"
        )
        flags = ["--warehouse", str(mixed.root), "--config", str(config)]
        told = CliRunner().invoke(app, ["ltv", "rates", str(tmp_path / "rates.csv"), *flags], catch_exceptions=False)
        assert told.exit_code == 0
        assert "table rates in" in told.stdout
        fitted = ["ltv", "fit", *flags, "--out", str(tmp_path / "models")]
        assert CliRunner().invoke(app, fitted, catch_exceptions=False).exit_code == 0
        assert converted(mixed)["amount"].to_list() == by_hand(rows, daily_rates(1))

    def test_no_file_is_one_sentence(self, tmp_path):
        with pytest.raises(UnreadableSource, match=r"cannot be read as CSV .*It needs: day, currency, rate"):
            read_rates(tmp_path / "none.csv")
