"""Money that flows back: counted apart to the cent, forecast apart, and never more of it than was paid."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from sojourn.core import MissingColumn
from sojourn.lifetime import (
    ApartValue,
    ApartValueSpec,
    BoostSpec,
    Lifetime,
    LifetimeSpec,
    RefundForecast,
    ValueSpec,
    compare,
    fit_models,
    judged_table,
    log_days,
    make_model,
    model_label,
    predict_users,
    score_users,
    scoring_table,
    training_table,
)
from sojourn.lifetime.forecast import only_task
from sojourn.lifetime.refunds import reconciled
from sojourn.warehouse import Warehouse
from tests.lifetime.worlds import FAST, FIRST, shop, shop_table, value_of

DAYS = 200
SPEC = LifetimeSpec(
    horizons_days=(14, 30),
    boost=FAST,
    train_as_ofs=3,
    folds=2,
    replicates=20,
    models={"ltv_14": "median_scaled_apart", "ltv_30": "two_stage", "churn_30": "churn_trees"},
)
TASK = ValueSpec(horizon_days=30, boost=FAST, folds=2, train_as_ofs=3)


def purchases_and_returns(seed: int, *, users: int, days: int = DAYS, returned: bool = True) -> pl.DataFrame:
    """`user, day, amount`: a shop whose users send back a share of their own of what they buy, some days later."""
    log, rng = shop(seed, users=users, days=days), np.random.default_rng(seed + 100)
    user, day = np.nonzero(log.purchases)
    amount = log.spend[user, day]
    sent = day + 1 + rng.geometric(0.12, len(day))
    back = (rng.random(len(user)) < rng.beta(0.6, 3, users)[user]) & (sent < days) & returned
    columns = {"user": (user, user[back]), "day": (day, sent[back]), "amount": (amount, -amount[back])}
    return pl.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})


def filled(root: Path, rows: pl.DataFrame) -> Warehouse:
    """A warehouse whose event log has these rows."""
    events = rows.with_row_index("n").select(
        event_id=pl.format("e{}", "n"),
        user_id=pl.format("u{}", "user"),
        ts=pl.lit(datetime(2024, 1, 1, 12, tzinfo=UTC)) + pl.duration(days="day"),
        event=pl.when(pl.col("amount") > 0).then(pl.lit("purchase")).otherwise(pl.lit("refund")),
        amount=pl.col("amount").cast(pl.Decimal(18, 4)),
        day="day",
    )
    warehouse = Warehouse.create(root)
    with warehouse.writing("events") as writer:
        for (number,), part in events.with_columns(arrived_at="ts").partition_by("day", as_dict=True).items():
            day = {"day": str(FIRST + timedelta(days=int(str(number))))}
            writer.put(day, part.drop("day"), order_by=["event_id"], fingerprint=str(number))
    return warehouse


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return purchases_and_returns(1, users=300)


@pytest.fixture(scope="module")
def returning(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return filled(tmp_path_factory.mktemp("returning") / "w", rows)


@pytest.fixture(scope="module")
def learned(returning: Warehouse) -> pl.DataFrame:
    return training_table(returning, spec=SPEC)


@pytest.fixture(scope="module")
def model(learned: pl.DataFrame) -> Lifetime:
    return Lifetime(SPEC).fit(learned)


@pytest.fixture(scope="module")
def today(returning: Warehouse) -> pl.DataFrame:
    return scoring_table(returning, spec=SPEC, flows=True)


def summed(rows: pl.DataFrame, user: str, first: date, end: date) -> tuple[float, float]:
    """What a user paid and got back on days [first, end), one row after the other."""
    paid = back = 0.0
    for each, day, amount in rows.iter_rows():
        if f"u{each}" == user and first <= FIRST + timedelta(days=day) < end:
            paid, back = paid + max(amount, 0), back - min(amount, 0)
    return paid, back


def test_both_parts_are_counted_as_a_sum_row_by_row_has_them(learned, rows):
    some = learned.sample(12, seed=3)
    for row in some.iter_rows(named=True):
        user, as_of = row["user_id"], row["as_of"]
        spans = {"30d": (as_of - timedelta(days=30), as_of), "all": (date.min, as_of)}
        for window, (first, end) in spans.items():
            found = row[f"spend_gross_{window}"], row[f"spend_refunded_{window}"]
            assert found == pytest.approx(summed(rows, user, first, end)), (user, as_of, window)
        ahead = summed(rows, user, as_of, as_of + timedelta(days=14))
        assert (row["label_spend_gross_14d"], row["label_spend_refunded_14d"]) == pytest.approx(ahead)


def test_labels_of_both_parts_are_null_where_a_window_had_not_ended_and_add_up_elsewhere(learned, returning):
    end = log_days(returning)[1]
    for days in (14, 30):
        net, gross, back = (pl.col(f"label_spend{part}_{days}d") for part in ("", "_gross", "_refunded"))
        ended = learned.filter(pl.col("as_of") + pl.duration(days=days) <= end)
        assert ended.select((gross - back - net).abs().max()).item() < 1e-9
        assert ended.select((back > 0).any() & (gross >= 0).all()).item()
        cut = learned.filter(pl.col("as_of") + pl.duration(days=days) > end)
        assert cut.select(gross.null_count() + back.null_count()).item() == 2 * cut.height


def test_a_log_without_refunds_is_not_touched(tmp_path, monkeypatch):
    kept = filled(tmp_path / "w", purchases_and_returns(1, users=120, days=130, returned=False))
    table = training_table(kept, spec=SPEC)
    assert not [name for name in table.columns if "refunded" in name or "gross" in name]
    assert "rollup_user_spend_flows" not in kept.tables()
    assert_frame_equal(table, training_table(kept, spec=SPEC.with_changes(refunds="net")))
    named = {**SPEC.models, "ltv_14": "median_scaled"}
    apart, net = (Lifetime(SPEC.with_changes(models=named, refunds=how)).fit(table) for how in ("apart", "net"))
    assert not apart.refunds_
    ours, plain = (each.predict(table).drop("fingerprint") for each in (apart, net))
    assert_frame_equal(ours, plain, check_exact=True)
    choice = compare(only_task(table, TASK), spec=TASK.with_changes(models=("two_stage", "two_stage_apart", "repeat")))
    assert set(choice.scores.models) == {"two_stage", "repeat"}


def test_nothing_after_the_end_says_that_there_are_refunds(tmp_path):
    rows = purchases_and_returns(2, users=60, days=110, returned=False)
    late = pl.DataFrame({"user": [rows["user"][0]], "day": [108], "amount": [-5.0]})
    warehouse = filled(tmp_path / "w", pl.concat([rows, late], how="vertical_relaxed"))
    early = training_table(warehouse, spec=SPEC, end=FIRST + timedelta(days=108))
    assert "spend_refunded_all" not in early.columns
    assert "spend_refunded_all" in training_table(warehouse, spec=SPEC).columns


def test_predictions_tell_gross_and_refunds_apart_and_gross_rises(model, today):
    found = model.predict(today)
    assert found.columns == model.columns()
    assert found.columns[2:7] == ["ltv_14", "ltv_14_low", "ltv_14_high", "gross_14", "refunds_14"]
    for days in (14, 30):
        value, gross, back = (found[f"{name}_{days}"].to_numpy() for name in ("ltv", "gross", "refunds"))
        np.testing.assert_allclose(value, gross - back, atol=1e-9)
        assert (gross >= 0).all()
        assert (back >= 0).all()
        assert back.sum() > 0
        assert (found[f"ltv_{days}_low"] <= found[f"ltv_{days}"]).all()
        assert (found[f"ltv_{days}"] <= found[f"ltv_{days}_high"]).all()
    assert (found["gross_14"] <= found["gross_30"]).all()


def test_forecasts_of_both_parts_come_close_to_what_happened(learned):
    last = learned.filter(pl.col("label_spend_30d").is_not_null())["as_of"].max()
    train = learned.filter(pl.col("as_of") <= last - timedelta(days=30))
    test = learned.filter(pl.col("as_of") == last)
    both = ApartValue(ApartValueSpec(**TASK.model_dump())).fit(train).parts(test)
    gross, back = (test[f"label_spend_{part}_30d"].sum() for part in ("gross", "refunded"))
    assert both["gross_30"].sum() == pytest.approx(gross, rel=0.2)
    assert both["refunds_30"].sum() == pytest.approx(back, rel=0.3)
    # Everybody alike is the dumb rule.
    truth = test["label_spend_refunded_30d"].to_numpy()
    assert np.mean((both["refunds_30"].to_numpy() - truth) ** 2) < np.mean((truth.mean() - truth) ** 2)


def test_the_bench_compares_parts_with_the_difference(learned):
    models = ("two_stage", "two_stage_apart", "median_scaled", "median_scaled_apart", "zero")
    found = compare(only_task(learned, TASK), spec=TASK.with_changes(models=models))
    assert set(found.scores.models) == set(models)
    assert value_of(found.scores, "two_stage_apart", "mae") < value_of(found.scores, "zero", "mae")
    assert "refunds apart" in model_label("two_stage_apart", spec=TASK)


def test_trees_take_over_where_they_know_better():
    rng, users = np.random.default_rng(0), 900
    paid, fussy = rng.gamma(2, 20, users), rng.random(users) < 0.3
    table = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in range(users)],
            "as_of": [FIRST] * users,
            "spend_gross_30d": paid,
            "spend_gross_all": paid,
            "spend_refunded_all": np.zeros(users),
            "spend_refunded_30d": np.zeros(users),
            "tenure_days": np.full(users, 30),
            # What the share of past refunds cannot know.
            "fussy": fussy,
            "label_spend_30d": paid * np.where(fussy, 0.2, 1.0),
            "label_spend_gross_30d": paid,
            "label_spend_refunded_30d": paid * np.where(fussy, 0.8, 0.0),
        }
    )
    forecast = RefundForecast(TASK).fit(table)
    assert forecast.rule_ == "trees"
    back = forecast.predict(table)["refunds_30"].to_numpy()
    assert back[fussy].mean() > 5 * back[~fussy].mean()
    few = RefundForecast(TASK).fit(table.with_columns(label_spend_refunded_30d=pl.lit(0.0)))
    assert few.rule_ == "share"
    assert few.predict(table)["refunds_30"].to_list() == [0.0] * users


def test_saved_forecasts_say_the_same(model, today, tmp_path):
    model.save(tmp_path)
    again = Lifetime.load(tmp_path)
    assert_frame_equal(again.predict(today), model.predict(today), check_exact=True)
    assert again.columns() == model.columns()


def test_scoring_through_the_warehouse_gives_the_same(returning, tmp_path):
    spec = SPEC.with_changes(horizons_days=(14,), models={"ltv_14": "two_stage_apart", "churn_30": "churn_trees"})
    fitted = fit_models(returning, spec=spec, out=tmp_path / "models")
    info = score_users(returning, model=fitted)
    in_memory = predict_users(returning, model=fitted, out=tmp_path).predictions.sort("user_id")
    stored = returning.frame("predictions", only=[info.partition]).sort("user_id")
    assert_frame_equal(stored.select(in_memory.columns), in_memory, check_dtypes=False)
    day = log_days(returning)[1] - timedelta(days=14)
    judged = judged_table(returning, spec=spec, as_of=day, flows=True)
    assert "spend_refunded_all" in judged.columns


def test_a_value_that_is_no_sum_has_no_parts(returning):
    table = training_table(returning, spec=SPEC.with_changes(value="purchases", models={}))
    assert not [name for name in table.columns if "refunded" in name]


def test_a_table_without_the_parts_is_refused(learned):
    with pytest.raises(MissingColumn, match="'spend_gross_all'"):
        RefundForecast(TASK).fit(learned.drop("spend_gross_all"))
    with pytest.raises(MissingColumn, match="'label_spend_refunded_30d'"):
        ApartValue(ApartValueSpec(**TASK.model_dump())).fit(learned.drop("label_spend_refunded_30d"))


def long_gone(rows: pl.DataFrame) -> pl.DataFrame:
    """The same log, with twenty users who paid much in its first weeks, got half of it back, and did nothing since."""
    gone = np.arange(1000, 1020)
    bought = pl.DataFrame({"user": gone, "day": gone % 20, "amount": 400.0 + gone % 7})
    back = bought.with_columns(day=pl.col("day") + 10, amount=-pl.col("amount") / 2)
    return pl.concat([rows, bought, back], how="vertical_relaxed")


@pytest.fixture(scope="module")
def abandoned(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return filled(tmp_path_factory.mktemp("abandoned") / "w", long_gone(rows))


@pytest.mark.parametrize("name", ["median_scaled_apart", "two_stage_apart"])
def test_who_has_long_been_gone_is_not_expected_to_send_anything_back(name, abandoned):
    """What was returned long ago once made their value negative, with nothing left that they could return."""
    warehouse = abandoned
    spec = SPEC.with_changes(models={**SPEC.models, "ltv_14": name, "ltv_30": name})
    found = (
        Lifetime(spec)
        .fit(training_table(warehouse, spec=spec))
        .predict(scoring_table(warehouse, spec=spec, flows=True))
    )
    gone = found.filter(pl.col("user_id").str.slice(1).cast(pl.Int64) >= 1000)
    assert gone.height == 20
    for days in (14, 30):
        assert (gone[f"ltv_{days}"] >= 0).all()
        assert (gone[f"refunds_{days}"] <= gone[f"gross_{days}"]).all()


def test_what_the_limit_cuts_off_is_made_up_by_the_others(learned):
    model = ApartValue(ApartValueSpec(**TASK.model_dump(), paid_by="median_scaled")).fit(learned)
    held, known = model.held_out_, learned.filter(pl.col("label_spend_30d").is_not_null())
    assert model.made_up_ >= 1
    gross = model.gross_.held_out_["ltv_30"]
    assert (gross - held["ltv_30"]).sum() == pytest.approx(known["label_spend_refunded_30d"].sum(), rel=1e-6)


amounts = st.floats(0, 1e6, allow_nan=False)
forecasts = st.lists(st.tuples(*[amounts] * 4, st.floats(-1e6, 1e6), *[amounts] * 4), min_size=1, max_size=20)


@given(forecasts)
@settings(max_examples=60, deadline=None)
def test_whatever_models_say_nobody_gets_back_more_than_was_paid(said):
    gross_14, back_14, gross_30, back_30, value, *so_far = (np.array(each) for each in zip(*said, strict=True))
    paid, back, paid_late, back_late = so_far
    tasks = (ValueSpec(horizon_days=14), ValueSpec(horizon_days=30))
    columns = {"gross_14": gross_14, "refunds_14": back_14, "gross_30": gross_30, "refunds_30": back_30}
    ends = {f"ltv_{days}{end}": value for days in (14, 30) for end in ("", "_low", "_high")}
    whole = {"spend_gross_all": paid, "spend_refunded_all": back}
    features = pl.DataFrame({**whole, "spend_gross_90d": paid_late, "spend_refunded_90d": back_late})
    found = reconciled(pl.DataFrame({**columns, **ends}), tasks=tasks, features=features)
    kept = np.minimum(np.maximum(paid - back, 0), np.maximum(paid_late - back_late, 0))
    for days in (14, 30):
        net = found[f"ltv_{days}"].to_numpy()
        assert (net >= -kept - 1e-6).all()
        np.testing.assert_allclose(net, (found[f"gross_{days}"] - found[f"refunds_{days}"]).to_numpy())
        assert (found[f"ltv_{days}_low"].to_numpy() <= net).all()
        assert (found[f"ltv_{days}_high"].to_numpy() >= net).all()
    assert (found["gross_14"].to_numpy() <= found["gross_30"].to_numpy() + 1e-6).all()
    assert (found["refunds_14"].to_numpy() <= found["refunds_30"].to_numpy() + 1e-6).all()


SMALL = BoostSpec(rounds=15, groups=2, min_leaf_rows=5)
NAMES = (
    "two_stage",
    "median_scaled",
    "tweedie",
    "two_stage_apart",
    "median_scaled_apart",
    "pareto_nbd",
    "pace",
    "repeat",
)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e6]))
@settings(max_examples=4, deadline=None)
def test_a_negative_history_makes_nothing_explode(name, seed, scale):
    table = in_debt(seed, scale)
    model = make_model(name, spec=TASK.with_changes(boost=SMALL)).fit(table)
    found = model.predict(table.drop(pl.selectors.starts_with("label_")))["ltv_30"].to_numpy()
    kept = np.minimum.reduce(
        [
            np.maximum(table[f"spend_gross_{window}"].to_numpy() - table[f"spend_refunded_{window}"].to_numpy(), 0)
            for window in ("all", "90d")
        ]
    )
    most = float(table.select(pl.max_horizontal("label_spend_30d", "spend_gross_all")).to_series().to_numpy().max())
    assert np.isfinite(found).all()
    assert (found >= (-kept if name.endswith("apart") else 0) - 1e-6 * scale).all()
    assert (found <= 30 * most).all()


def in_debt(seed: int, scale: float) -> pl.DataFrame:
    """A shop in which a third of the users got back more than they paid, and some have just that and nothing else."""
    table, rng = shop_table(seed, users=120), np.random.default_rng(seed)
    user = table["user_id"].str.slice(1).cast(pl.Int64).to_numpy()
    back = np.where(user % 3 == 0, rng.uniform(1, 3), rng.uniform(0, 0.3))
    sums = [name for name in table.columns if name.startswith(("spend_", "label_spend_"))]
    parts = [
        part
        for name in sums
        for part in (
            (pl.col(name) * scale).alias(name.replace("spend_", "spend_gross_")),
            (pl.col(name) * back * scale).alias(name.replace("spend_", "spend_refunded_")),
            (pl.col(name) * (1 - back) * scale).alias(name),
        )
    ]
    return table.with_columns(parts)
