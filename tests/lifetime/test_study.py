"""The whole work on a small warehouse, in Python and from the command line."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sojourn.cli import app
from sojourn.core import BadInput, MissingTable, SojournError
from sojourn.evaluate import read_metrics
from sojourn.lifetime import (
    Lifetime,
    LifetimeSpec,
    evaluate_models,
    fit_models,
    judged_table,
    log_days,
    predict_users,
    run_study,
    scoring_table,
    training_table,
)
from sojourn.warehouse import Warehouse, WarehouseSpec
from tests.lifetime.worlds import FAST, FIRST, shop

SPEC = LifetimeSpec(
    horizons_days=(7, 14), churn_days=14, step_days=7, train_as_ofs=2, replicates=20, boost=FAST, unit="$"
)
SETTINGS = """# sojourn.toml
[lifetime]
churn_days = 14
step_days = 7
train_as_ofs = 2
replicates = 20
[lifetime.boost]
rounds = 30
groups = 2
"""
DAYS = 90
END = FIRST + timedelta(days=DAYS)


def filled(root: Path, *, users: int = 120, days: int = DAYS) -> Warehouse:
    """A warehouse with the purchases of a shop, one row a user and day."""
    log = shop(4, users=users, days=days)
    user, day = np.nonzero(log.purchases)
    rows = pl.DataFrame({"user": user, "day": day, "amount": log.spend[user, day]}).select(
        event_id=pl.format("{}-{}", "user", "day"),
        user_id=pl.format("u{}", "user"),
        ts=pl.lit(datetime(2024, 1, 1, 12, tzinfo=UTC)) + pl.duration(days="day"),
        event=pl.lit("purchase"),
        amount=pl.col("amount").cast(pl.Decimal(18, 4)),
        day="day",
    )
    stamped = rows.with_columns(arrived_at="ts")
    warehouse = Warehouse.create(root, WarehouseSpec())
    with warehouse.writing("events") as writer:
        for (number,), part in stamped.partition_by("day", as_dict=True, include_key=False).items():
            partition = {"day": str(FIRST + timedelta(days=number))}
            writer.put(partition, part, order_by=["user_id", "ts", "event_id"], fingerprint=str(number))
    return warehouse


@dataclass(frozen=True)
class Place:
    """A filled warehouse and the folder of a finished study on it."""

    warehouse: Warehouse
    root: Path
    out: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("study")
    warehouse = filled(folder / "warehouse")
    study = run_study(warehouse, spec=SPEC, out=folder / "out")
    assert set(study.summary()["task"]) == {"ltv_7", "ltv_14", "churn_14"}
    return Place(warehouse, folder / "warehouse", folder / "out")


def test_a_study_leaves_every_file(place):
    assert sorted(path.name for path in place.out.iterdir()) == [
        *("cohorts.csv", "comparison.csv", "distributions.csv", "high_spenders_at_risk.csv"),
        *("likely_high_spenders.csv", "metrics.json", "models", "predictions.parquet", "report.html", "segments.csv"),
    ]
    metrics = read_metrics(place.out / "metrics.json")
    assert set(metrics) == {"ltv_7", "ltv_14", "churn_14"}
    assert metrics["ltv_14"].chosen in metrics["ltv_14"].models
    predictions = pl.read_parquet(place.out / "predictions.parquet")
    assert predictions["as_of"].unique().to_list() == [log_days(place.warehouse)[1]]
    assert predictions["fingerprint"].n_unique() == 1
    high = pl.read_csv(place.out / "likely_high_spenders.csv")
    assert high["expected_spend"].is_sorted(descending=True)


def test_a_rerun_gives_the_same_bytes(place, tmp_path):
    run_study(place.warehouse, spec=SPEC, out=tmp_path)
    for file in sorted(path for path in place.out.rglob("*") if path.is_file()):
        assert (tmp_path / file.relative_to(place.out)).read_bytes() == file.read_bytes(), file


def test_saved_models_predict_the_same(place, tmp_path):
    found = predict_users(place.warehouse, model=Lifetime.load(place.out / "models"), out=tmp_path)
    assert found.predictions.equals(pl.read_parquet(place.out / "predictions.parquet"))


def test_the_training_table_holds_labels_only_of_windows_that_ended(place):
    table = training_table(place.warehouse, spec=SPEC)
    end = log_days(place.warehouse)[1]
    for days in (7, 14):
        ended = pl.col("as_of") + pl.duration(days=days) <= end
        known = table.filter(pl.col(f"label_spend_{days}d").is_not_null())
        assert known.filter(~ended).is_empty()
        assert known.height > 0
    assert "label_purchases_7d" not in table.columns  # no task asks for it


def test_nothing_after_the_end_reaches_the_training_table(place, tmp_path):
    early = END - timedelta(days=20)
    short = filled(tmp_path / "short")
    with short.writing("events") as writer:
        for part in short.partitions("events"):
            if date.fromisoformat(part.partition["day"]) >= early:
                writer.drop(part.partition)
    whole, cut = (training_table(each, spec=SPEC, end=early) for each in (place.warehouse, short))
    assert whole.equals(cut)


def test_models_fitted_early_are_judged_on_what_came_after(place, tmp_path):
    day = log_days(place.warehouse)[1] - timedelta(days=14)
    model = fit_models(place.warehouse, spec=SPEC, out=tmp_path / "models", end=day)
    assert model.known_until <= day
    scores = evaluate_models(place.warehouse, model=model, out=tmp_path, as_of=day)
    assert set(scores) == {"ltv_7", "ltv_14", "churn_14"}
    assert read_metrics(tmp_path / "metrics.json") == scores
    with pytest.raises(BadInput, match=r"no label window that begins on .* had ended when the log ends"):
        judged_table(place.warehouse, spec=SPEC, as_of=log_days(place.warehouse)[1])


class TestBadInput:
    def test_no_events(self, warehouse):
        with pytest.raises(MissingTable, match=r"lifetime needs the table 'events'.*sojourn ingest"):
            scoring_table(warehouse)

    def test_history_shorter_than_the_horizon(self, tmp_path):
        short = filled(tmp_path / "short", days=40)
        with pytest.raises(BadInput, match=r"a horizon of 14 days after 30 of history needs 44"):
            training_table(short, spec=SPEC)

    def test_one_user_only(self, place):
        table = training_table(place.warehouse, spec=SPEC)
        lonely = table.filter(pl.col("user_id") == table["user_id"][0])
        with pytest.raises(BadInput, match=r"needs at least 20 users to learn from and got 1"):
            Lifetime(SPEC).fit(lonely)

    def test_no_purchase_in_the_label_window(self, place, tmp_path):
        table = training_table(place.warehouse, spec=SPEC)
        labels = [name for name in table.columns if name.startswith("label_spend")]
        nothing = table.with_columns(pl.when(pl.col(name).is_not_null()).then(0.0).alias(name) for name in labels)
        with pytest.raises(BadInput, match=r"no user spent anything within 7 days after the as-of dates"):
            Lifetime(SPEC).fit(nothing)


class TestCommandLine:
    def run(self, place: Place, *words: str) -> str:
        config = place.root.parent / "sojourn.toml"
        config.write_text(SETTINGS)
        flags = ["--warehouse", str(place.root), "--config", str(config)]
        done = CliRunner().invoke(app, ["ltv", *words, *flags], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    def test_compare_shows_every_model_and_writes_the_report(self, place, tmp_path):
        shown = self.run(place, "compare", "--horizon", "14", "--out", str(tmp_path))
        assert "two_stage" in shown
        assert "recency" in shown
        assert "crps" in shown
        assert f"report: {tmp_path / 'report.html'}" in shown
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "cohorts.csv",
            "comparison.csv",
            "distributions.csv",
            "metrics.json",
            "report.html",
            "segments.csv",
        ]
        assert "crps" in shown

    def test_fit_evaluate_and_predict_follow_each_other(self, place, tmp_path):
        models, day = str(tmp_path / "models"), str(log_days(place.warehouse)[1] - timedelta(days=14))
        fitted = self.run(place, "fit", "--horizon", "14", "--as-of", day, "--out", models)
        assert "ltv_14: " in fitted
        assert "churn_14: " in fitted
        judged = self.run(place, "evaluate", "--models", models, "--as-of", day, "--out", str(tmp_path))
        assert "repeat" in judged
        said = self.run(place, "predict", "--models", models, "--out", str(tmp_path))
        assert f"users: {tmp_path / 'predictions.parquet'}" in said

    def test_a_mistake_is_one_sentence(self, place, tmp_path):
        with pytest.raises(SojournError, match=r"holds no saved model .*Save one first"):
            self.run(place, "predict", "--models", str(tmp_path))
