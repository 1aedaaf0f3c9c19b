"""Newcomers: tested on cohorts that no choice has seen, forecasts for those whose days run, one folder of results."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sojourn.cli.app import app
from sojourn.core import BadSpec
from sojourn.evaluate import read_metrics
from sojourn.events import WorldSpec, simulate
from sojourn.lifetime import Newcomers, NewcomerSpec, compare_newcomers
from sojourn.warehouse import Warehouse
from tests.lifetime.worlds import FAST, value_of

DAYS = 220
WORLD = WorldSpec(users=1_500, days=DAYS, start=date(2025, 1, 1), seed=4)
SPEC = NewcomerSpec(
    ages_days=(1, 7), by_days=45, folds=2, replicates=50, boost=FAST, models=("mean", "always_mean", "zero", "stack")
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newcomers")
    simulate(Warehouse.create(folder / "app"), WORLD)
    return folder


@pytest.fixture(scope="module")
def found(root: Path) -> tuple[Newcomers, ...]:
    return compare_newcomers(Warehouse.open(root / "app"), spec=SPEC, out=root / "out")


def test_it_leaves_figures_forecasts_and_a_page(root, found):
    assert [each.comparison.spec.name for each in found] == ["ltv_45_day_7", "ltv_45_day_1"]
    names = {path.name for path in (root / "out").iterdir()}
    assert names == {
        *("metrics.json", "comparison.csv", "segments.csv", "cohorts.csv", "report.html"),
        *("ltv_45_day_7.parquet", "ltv_45_day_1.parquet"),
    }
    assert list(read_metrics(root / "out" / "metrics.json")) == ["ltv_45_day_7", "ltv_45_day_1"]
    assert "Channel by channel" in (root / "out" / "report.html").read_text()


def test_only_those_whose_days_run_are_foretold(found):
    end = WORLD.start + timedelta(days=DAYS)
    for each in found:
        age, column = each.comparison.spec.age_days, each.comparison.spec.name
        table = each.predictions
        assert table.columns == ["user_id", "as_of", "first_day", column, f"{column}_low", f"{column}_high"]
        assert (table["as_of"] - timedelta(days=age) + timedelta(days=45) > end).all()
        assert table.select((pl.col(f"{column}_low") <= pl.col(column)).all()).item()


def test_cohorts_add_up_to_everyone(found):
    cohorts = found[0].cohorts
    everyone = cohorts.filter(pl.col("segment") == "everyone").sort("as_of")
    channels = cohorts.filter(pl.col("segment") == "channel").with_columns(money=pl.col("spent") * pl.col("users"))
    summed = channels.group_by("as_of").agg(pl.col("users", "money").sum()).sort("as_of")
    assert summed["users"].to_list() == everyone["users"].to_list()
    over = everyone["spent"].is_not_null()
    assert summed.filter(over)["money"].to_list() == pytest.approx(
        (everyone["spent"] * everyone["users"]).filter(over).to_list()
    )
    running = everyone.filter(pl.col("spent").is_null())
    assert running["forecast"].null_count() == 0


def test_first_days_tell_who_will_spend(found):
    for each in found:
        assert value_of(each.comparison.scores, "mean", "gini") > 0.2


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"ages_days": (1, 1)}, "named twice"), ({"ages_days": (7,), "by_days": 7}, "is not before day 7")],
)
def test_bad_settings_are_refused(changes, said):
    with pytest.raises(BadSpec, match=said):
        NewcomerSpec(**changes)


def test_a_log_that_is_too_short_is_one_sentence_and_status_2(root):
    found = CliRunner().invoke(
        app, ["ltv", "newcomers", "--warehouse", str(root / "app"), "--by-day", "150", "--out", str(root / "no")]
    )
    assert found.exit_code != 0
    assert "needs as-of dates that span 300 days" in str(found.exception)
    assert not (root / "no").exists()
