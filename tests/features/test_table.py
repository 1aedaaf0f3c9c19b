"""What a training set holds, whom it leaves out, what it refuses, and how it is written."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, BadSpec, MissingColumn, MissingTable, UnreadableSource
from sojourn.features import (
    FeatureSpec,
    LabelSpec,
    export_features,
    export_training_set,
    feature_table,
    population,
    training_set,
    write_features,
)
from sojourn.rollups import AggregateSpec, RollupSpec, backfill, user_rollup
from sojourn.warehouse import InPlace, Warehouse
from tests.features.worlds import AS_OF, FIRST, PORTRAIT, frame_log, noon, put_users, small_spec
from tests.rollups.logs import Event, put_events

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """Sixteen days of ann, bob and cat, of whom only ann has a portrait."""
    put_events(warehouse, frame_log())
    put_users(warehouse, [("ann", LONG_AGO, None, "NO", False)])
    return warehouse


def row(table: pl.DataFrame, user: str) -> dict[str, Any]:
    return table.filter(pl.col("user_id") == user).row(0, named=True)


def test_a_row_says_what_the_log_says(shop):
    table = training_set(shop, small_spec(), [AS_OF])
    assert table.select("user_id", "as_of").rows() == [("ann", AS_OF), ("bob", AS_OF), ("cat", AS_OF)]
    ann = row(table, "ann")
    # She paid 10 on days 0, 2, ... 10 of the log; as_of is day 11. Then on days 12 and 14.
    assert {name: ann[name] for name in ("spend_1d", "spend_3d", "spend_7d", "spend_all", "spend_per_day")} == {
        "spend_1d": 10.0,
        "spend_3d": 20.0,
        "spend_7d": 40.0,
        "spend_all": 60.0,
        "spend_per_day": 60 / 11,
    }
    assert (ann["tenure_days"], ann["recency_days"], ann["gap_mean_days"], ann["overdue"]) == (11, 1, 2.0, 0.5)
    assert (ann["spend_day_mean"], ann["spend_day_std"], ann["spend_day_largest"]) == (10.0, 0.0, 10.0)
    decayed = sum(10 * 0.5 ** (age / 14) for age in (1, 3, 5, 7, 9, 11))
    assert ann["spend_decayed_14d"] == pytest.approx(decayed, abs=1e-6)
    assert (ann["country"], ann["last_event_7d"]) == ("NO", "pay")
    assert (ann["label_spend_2d"], ann["label_spend_4d"], ann["label_events_4d"]) == (10.0, 20.0, 2)
    cat = row(table, "cat")
    assert (cat["spend_7d"], cat["spend_all"], cat["tenure_days"], cat["gap_mean_days"]) == (0.0, 7.0, 10, None)
    assert (cat["last_event_7d"], cat["country"], cat["label_spend_4d"]) == (None, None, 0.0)
    assert row(table, "bob")["purchase_recency_days"] is None


def test_every_column_is_a_whole_number_a_double_or_text(shop):
    table = training_set(shop, small_spec(), [AS_OF])
    assert table.schema["user_id"] == pl.String
    assert table.schema["as_of"] == pl.Date
    assert set(table.drop("user_id", "as_of").dtypes) == {pl.Int64, pl.Float64, pl.String}
    assert table.columns[-4:] == ["label_spend_2d", "label_spend_4d", "label_events_2d", "label_events_4d"]


def test_the_default_spec_works_on_a_plain_log(warehouse):
    events = [
        Event(f"e{n:03}", f"u{n % 5}", datetime(2024, 1, 1, 8, tzinfo=UTC) + timedelta(hours=12 * n), "pay", Decimal(n))
        for n in range(400)
    ]
    put_events(warehouse, events)
    table = training_set(warehouse, FeatureSpec(), [date(2024, 2, 1), date(2024, 4, 10)])
    assert table.height == 10
    assert {"spend_90d", "purchases_30d", "recency_days", "purchase_recency_days", "tenure_days"} <= set(table.columns)
    assert table.select("^label_.*$").columns == LabelSpec().columns()
    assert table.select("^label_.*$").null_count().sum_horizontal().item() == 0


def test_several_days_at_once_equal_each_alone(shop):
    days = [AS_OF, AS_OF - timedelta(days=2)]
    alone = pl.concat([training_set(shop, small_spec(), [day]) for day in sorted(days)])
    assert_frame_equal(training_set(shop, small_spec(), days), alone)


def test_a_user_first_seen_on_the_day_itself_is_not_there_yet(shop):
    put_events(shop, [*frame_log(), Event("d", "dan", noon(1), "pay", Decimal(1))])
    assert "dan" not in feature_table(shop, small_spec(), AS_OF)["user_id"]
    assert "dan" in feature_table(shop, small_spec(), AS_OF + timedelta(days=1))["user_id"]


def test_events_without_a_user_are_nobody_s_and_numbers_of_users_become_text(warehouse, tmp_path):
    for n in range(16):
        folder = tmp_path / "lake" / f"day={FIRST + timedelta(days=n)}"
        folder.mkdir(parents=True)
        pl.DataFrame({"who": [7, None], "euro": [1.5, 2.5]}).write_parquet(folder / "part-0.parquet")
    columns = {"user_id": "who", "amount": "CAST(euro AS DECIMAL(18,4))"}
    warehouse.register("events", InPlace(folder=str(tmp_path / "lake"), columns=columns))
    spend = {"spend": AggregateSpec(function="sum", expression="amount")}
    rollup = RollupSpec(name="small", aggregates=spend, windows_days=(7,))
    spec = FeatureSpec(rollup=rollup, labels=LabelSpec(aggregates=("spend",), horizons_days=(2,)), history_days=7)
    table = training_set(warehouse, spec, [AS_OF])
    assert table.select("user_id", "spend_7d", "label_spend_2d").rows() == [("7", 10.5, 3.0)]
    assert population(warehouse, spec, [AS_OF]).rows() == [(AS_OF, 1, 0)]


def test_test_accounts_are_left_out_and_counted(shop):
    put_users(shop, [("ann", LONG_AGO, None, "NO", True), ("bob", LONG_AGO, noon(29, 4), None, True)])
    assert feature_table(shop, small_spec(), AS_OF)["user_id"].to_list() == ["bob", "cat"]
    counted = population(shop, small_spec(), [AS_OF, AS_OF - timedelta(days=3)])
    assert counted.rows() == [(AS_OF - timedelta(days=3), 1, 2), (AS_OF, 2, 1)]
    everybody = small_spec(test_accounts=None)
    assert feature_table(shop, everybody, AS_OF).height == 3
    assert "is_test" in feature_table(shop, everybody, AS_OF).columns


def test_without_a_table_of_users_there_are_no_portraits(warehouse):
    put_events(warehouse, frame_log())
    assert population(warehouse, small_spec(), [AS_OF]).rows() == [(AS_OF, 3, 0)]
    assert "country" not in feature_table(warehouse, small_spec(), AS_OF).columns


def test_portraits_become_numbers_text_and_ages(shop):
    schema = {
        **PORTRAIT,
        "age": pl.Int32(),
        "paid_ads": pl.Boolean(),
        "score": pl.Decimal(9, 2),
        "signed_up": pl.Date(),
        "tags": pl.List(pl.String()),
    }
    put_users(shop, [("ann", LONG_AGO, None, "NO", False, 41, True, 2.5, date(2024, 4, 1), ["x"])], schema)
    ann = row(feature_table(shop, small_spec(), AS_OF), "ann")
    told = {name: ann[name] for name in ("country", "age", "paid_ads", "score", "signed_up_age_days")}
    assert told == {"country": "NO", "age": 41, "paid_ads": 1, "score": 2.5, "signed_up_age_days": 30}
    assert "tags" not in ann
    only = feature_table(shop, small_spec(portrait=("age",)), AS_OF)
    assert "age" in only.columns
    assert "country" not in only.columns


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"portrait": ("contry",)}, MissingColumn, "features: table 'users' needs column 'contry'; the table has"),
        ({"test_accounts": "is_bot"}, MissingColumn, "needs column 'is_bot'"),
        ({"portrait": ("tags",)}, BadInput, "no model can read 'tags' (VARCHAR[]) of table 'users'. Leave it out"),
    ],
)
def test_a_portrait_that_is_not_there_or_not_readable_is_refused(shop, changes, error, message):
    schema = {**PORTRAIT, "tags": pl.List(pl.String())}
    put_users(shop, [("ann", LONG_AGO, None, "NO", False, ["x"])], schema)
    with pytest.raises(error) as refusal:
        feature_table(shop, small_spec(**changes), AS_OF)
    assert message in str(refusal.value)


def test_a_portrait_that_is_named_needs_the_table_of_users(warehouse):
    put_events(warehouse, frame_log())
    with pytest.raises(
        MissingTable, match=r"'country' would come from table 'users', which the warehouse .* Ingest it"
    ):
        feature_table(warehouse, small_spec(portrait=("country",)), AS_OF)


def test_a_value_that_no_model_can_read_is_refused(shop):
    values = {"all": AggregateSpec(function="last", expression="[amount]"), "n": AggregateSpec(function="count")}
    spec = small_spec(
        rollup=RollupSpec(name="lists", aggregates=values, windows_days=(7,)), labels=LabelSpec(aggregates=("n",))
    )
    with pytest.raises(BadInput) as refusal:
        feature_table(shop, spec, AS_OF)
    assert str(refusal.value) == (
        'features: column "all_7d" is DECIMAL(18,4)[], which no model can read. '
        "Leave it out, or make it a number or text."
    )


def test_a_portrait_that_has_the_name_of_a_feature_is_refused(shop):
    put_users(shop, [("ann", LONG_AGO, None, "NO", False, 3)], {**PORTRAIT, "tenure_days": pl.Int64()})
    with pytest.raises(BadInput) as refusal:
        feature_table(shop, small_spec(), AS_OF)
    assert "column 'tenure_days' comes both from a user's portrait and from what was counted" in str(refusal.value)
    assert feature_table(shop, small_spec(portrait=("country",)), AS_OF).height == 3


def test_a_horizon_beyond_the_end_of_history_says_how_many_days_there_are(shop):
    with pytest.raises(BadInput) as refusal:
        training_set(shop, small_spec(), [AS_OF, AS_OF + timedelta(days=3)])
    assert str(refusal.value) == (
        "Rollup 'small' over 'events': 4 days from 2024-05-04 on are needed and there are 2; history ends with "
        "2024-05-05. Look from 2024-05-02 or earlier, or ask for fewer days."
    )


def test_too_little_history_says_how_many_days_there_are(shop):
    with pytest.raises(BadInput) as refusal:
        feature_table(shop, small_spec(), FIRST + timedelta(days=4))
    assert str(refusal.value) == (
        "Rollup 'small' over 'events': 7 days before 2024-04-24 are needed and there are 4; history begins on "
        "2024-04-20. Look from 2024-04-27 or later, or ask for a shorter window."
    )


def test_a_day_beyond_the_log_is_refused_and_the_day_after_its_last_is_not(shop):
    assert feature_table(shop, small_spec(), date(2024, 5, 6)).height == 3
    with pytest.raises(BadInput, match=r"history ends with 2024-05-05\. Look from 2024-05-06 or earlier"):
        feature_table(shop, small_spec(), date(2024, 5, 7))


def test_without_events_the_mend_is_an_ingest(warehouse):
    with pytest.raises(MissingTable, match=r"reads table 'events'; the warehouse .* Ingest it first: sojourn ingest"):
        training_set(warehouse, FeatureSpec(), [AS_OF])


def test_a_log_of_one_user_and_no_purchase_is_a_training_set_too(warehouse):
    put_events(warehouse, [each for each in frame_log() if each.user_id == "bob"])
    table = training_set(warehouse, small_spec(), [date(2024, 5, 2)])
    assert table.select("user_id", "spend_7d", "label_spend_4d", "spend_day_mean").rows() == [("bob", 0.0, 0.0, None)]


def test_another_definition_under_the_same_name_is_refused(shop):
    feature_table(shop, small_spec(), AS_OF)
    other = RollupSpec(name="small", aggregates={"spend": AggregateSpec(function="sum", expression="2 * amount")})
    spec = FeatureSpec(rollup=other, labels=LabelSpec(aggregates=("spend",)), history_days=7)
    with pytest.raises(BadInput, match="Table 'rollup_small' holds partials of another definition"):
        feature_table(shop, spec, AS_OF)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": {"aggregates": ["spent"]}}, "label 'spent' is no aggregate of rollup 'user'; use 'spend'"),
        ({"labels": {"horizons_days": [0]}}, "a horizon of 0 days holds nothing"),
        ({"labels": {"horizons_days": [30, 30]}}, "a horizon is named twice"),
        (
            {"rollup": user_rollup().with_changes(keys=("item_id",))},
            "the rollup's keys are ['item_id'], not ['user_id']",
        ),
        ({"history_days": 0}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_spec_is_refused(values, message):
    with pytest.raises(BadSpec) as refusal:
        FeatureSpec(**values)
    assert message in str(refusal.value)


def test_the_spec_survives_toml():
    spec = FeatureSpec(portrait=("country",), labels=LabelSpec(horizons_days=(7,)))
    assert FeatureSpec.from_toml(spec.to_toml()) == spec


def files(warehouse: Warehouse) -> Iterator[tuple[str, bytes]]:
    for file in sorted((warehouse.root / "features").rglob("*.parquet")):
        yield file.parent.name, file.read_bytes()


def test_features_are_written_once_and_again_when_something_changed(shop):
    first = write_features(shop, small_spec(), AS_OF)
    assert (first.partition, first.rows) == ({"as_of": "2024-05-01"}, 3)
    stored = shop.frame("features")
    assert_frame_equal(stored.select(pl.exclude("as_of")), feature_table(shop, small_spec(), AS_OF).drop("as_of"))
    before = dict(files(shop))
    assert write_features(shop, small_spec(), AS_OF) == first
    assert (
        write_features(shop, small_spec(labels=LabelSpec(aggregates=("events",), horizons_days=(9,))), AS_OF) == first
    )
    put_events(shop, [*frame_log(), Event("late", "cat", noon(28, 4), "pay", Decimal(1))])
    assert write_features(shop, small_spec(), AS_OF).fingerprint != first.fingerprint
    assert dict(files(shop)) != before
    put_events(shop, frame_log())
    assert write_features(shop, small_spec(), AS_OF).fingerprint == first.fingerprint
    assert dict(files(shop)) == before


def test_what_comes_later_does_not_make_written_features_stale(shop):
    first = write_features(shop, small_spec(), AS_OF)
    put_events(shop, [*frame_log(), Event("next", "cat", noon(6), "pay", Decimal(1))])
    assert write_features(shop, small_spec(), AS_OF) == first


def test_exports_are_whole_parquet_files_equal_to_the_tables(shop, tmp_path):
    out = tmp_path / "new" / "set.parquet"
    assert export_training_set(shop, small_spec(), [AS_OF], out=out) == 3
    assert_frame_equal(pl.read_parquet(out), training_set(shop, small_spec(), [AS_OF]))
    assert export_features(shop, small_spec(), [AS_OF], out=out) == 3
    assert_frame_equal(pl.read_parquet(out), feature_table(shop, small_spec(), AS_OF))
    assert [file.name for file in out.parent.iterdir()] == ["set.parquet"]


def test_an_export_to_a_place_that_is_none_is_refused(shop, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableSource, match=r"file/set\.parquet cannot be written"):
        export_features(shop, small_spec(), [AS_OF], out=tmp_path / "file" / "set.parquet")


def test_partials_built_before_are_not_built_again(shop):
    backfill(shop, small_spec().rollup)
    stamps = {file: file.stat().st_mtime_ns for file in (shop.root / "rollup_small").rglob("*.parquet")}
    training_set(shop, small_spec(), [AS_OF])
    assert stamps == {file: file.stat().st_mtime_ns for file in (shop.root / "rollup_small").rglob("*.parquet")}
