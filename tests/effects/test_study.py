"""Studies: what is written can be read again, pages hold their figures, and files that are no tables are refused."""

import json

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import UnreadableSource
from sojourn.effects import (
    EffectSpec,
    PolicySpec,
    RankingSpec,
    Uplift,
    as_asked,
    read_campaign,
    study_effects,
    study_uplift,
    write_effects,
    write_uplift,
)
from tests.effects.logs import EFFECT, UPLIFT, campaign, three_arms

QUICK = RankingSpec(replicates=30, random_scores=10)


def test_a_study_of_effects_is_written_with_all_its_rows(tmp_path):
    table = campaign(1).with_columns(
        outcome_active_0=(pl.col("outcome_days") > 1).cast(pl.Float64),
        outcome_active_1=(pl.col("outcome_days") > 2).cast(pl.Float64),
    )
    study = study_effects(table, spec=EFFECT, cost=0.1)
    write_effects(study, out=tmp_path)
    assert pl.read_csv(tmp_path / "effects.csv").height == 4
    page = (tmp_path / "report.html").read_text()
    assert "<h1>Did it help? Days</h1>" in page
    assert "Cost of one more active day" in page
    assert "Recorded and realised chances" in page
    assert study.doubts == []
    assert study.ratio_p is not None
    assert study.ratio_p > 0.001


def test_a_log_that_cannot_be_believed_says_so_on_its_page(tmp_path):
    table = campaign(2, users=1500)
    lost = table.filter(~pl.col("treatment") | (pl.int_range(pl.len()) % 4 > 0))
    write_effects(study_effects(lost, spec=EFFECT.with_changes(covariates=())), out=tmp_path)
    assert "No figure here can be trusted" in (tmp_path / "report.html").read_text()


def test_a_study_of_uplift_is_written_and_its_model_read_again(tmp_path):
    table = campaign(3, users=400, spread=0.8)
    study = study_uplift(table, spec=UPLIFT, policy=PolicySpec(value=1, cost=0.1, budget=30.0), ranking=QUICK)
    write_uplift(study, out=tmp_path)
    assert_frame_equal(Uplift.load(tmp_path / "model").predict(table), study.model.predict(table), check_exact=True)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {row["figure"] for row in figures["figures"]} >= {"qini", "auuc", "qini_random", "qini_blind"}
    assert [row["policy"] for row in figures["policies"]] == ["uplift", "random", "all_treated", "nobody"]
    written = pl.read_parquet(tmp_path / "uplift.parquet")
    assert not [name for name in written.columns if name.startswith("score_")]
    assert "The order finds those whom treating helps" in (tmp_path / "report.html").read_text()


def test_several_arms_have_a_section_each(tmp_path):
    study = study_uplift(three_arms(4), spec=UPLIFT, ranking=QUICK)
    write_uplift(study, out=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert all(f"Uplift: {arm}" in page for arm in ("a", "b"))
    assert study.figures()["arm"].unique().sort().to_list() == ["a", "b"]


def test_csv_and_parquet_give_the_same_table(tmp_path):
    table = campaign(5, users=50)
    table.write_parquet(tmp_path / "log.parquet")
    table.with_columns(pl.col("treatment").cast(pl.Int8)).write_csv(tmp_path / "log.csv")
    from_csv, spec = as_asked(read_campaign(tmp_path / "log.csv"), spec=EFFECT)
    assert spec == EFFECT
    assert_frame_equal(from_csv, read_campaign(tmp_path / "log.parquet"))


def test_a_file_without_chances_is_taken_for_an_experiment():
    table = campaign(6).drop("propensity")
    assert as_asked(table, spec=EffectSpec())[1].propensity is None
    assert as_asked(three_arms(1), spec=EffectSpec())[1].propensity == "propensity"


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "log.parquet").write_text("no parquet")
    for path in (tmp_path / "log.parquet", tmp_path / "nothing.csv"):
        with pytest.raises(UnreadableSource, match=r"cannot be read as a table: .* Give a \.parquet or \.csv file"):
            read_campaign(path)
