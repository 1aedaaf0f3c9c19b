"""Scores: only like is compared with like, and metrics.json gives back what was written."""

import json

import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec, UnreadableSource
from sojourn.evaluate import BootstrapSpec, Interval, Scores, Task, read_metrics, score_models, write_metrics
from sojourn.evaluate.scores import write_whole

TABLE = pl.DataFrame({"user_id": list("abc"), "spend": [0.0, 5.0, 9.0], "good": [0.0, 5.0, 8.0], "zero": [0.0] * 3})
TASK = Task(name="ltv_90", kind="value", truth="spend", models=("good", "zero"))
QUICK = BootstrapSpec(replicates=20)


def scores(split: str = "aaaa", **changes) -> Scores:
    return score_models(TABLE, task=TASK, split=split, bootstrap=QUICK).with_changes(**changes)


def renamed(scored: Scores) -> Scores:
    return scored.with_changes(models={f"other {name}": figures for name, figures in scored.models.items()})


def test_models_of_one_split_stand_side_by_side():
    both = scores().beside(renamed(scores()))
    assert list(both.models) == ["good", "zero", "other good", "other zero"]


@pytest.mark.parametrize("change", [{"split": "bbbb"}, {"task": "ltv_30"}, {"kind": "probability"}], ids=str)
def test_figures_of_another_split_task_or_kind_are_never_compared(change):
    with pytest.raises(
        BadInput, match=r"cannot be compared: they were not measured on the same rows and days\. Score both"
    ):
        scores().beside(renamed(scores(**change)))


def test_equal_names_on_both_sides_are_refused():
    with pytest.raises(BadInput, match=r"both sides have models named \['good', 'zero'\]"):
        scores().beside(scores())


def test_the_best_model_depends_on_where_the_good_end_is():
    assert scores().best("mae") == scores().best("gini") == scores().best("bias") == "good"


def test_the_best_of_an_unknown_or_undefined_metric_is_refused():
    with pytest.raises(BadInput, match=r"ltv_90 has no metric 'auc'; it has \['mae'"):
        scores().best("auc")
    nothing = TABLE.with_columns(spend=pl.lit(0.0))
    with pytest.raises(BadInput, match=r"gini is undefined for all models of ltv_90\. Pick another metric"):
        score_models(nothing, task=TASK, split="aaaa", bootstrap=QUICK).best("gini")


def test_a_chosen_model_must_be_one_of_the_models():
    with pytest.raises(BadSpec, match=r"the chosen model 'best' is none of \['good', 'zero'\]"):
        scores(chosen="best")


def test_the_table_has_a_row_per_model_and_metric():
    table = scores().table()
    assert table.columns == ["model", "metric", "value", "low", "high"]
    assert table.height == 2 * 9


def test_metrics_json_gives_back_what_was_written(tmp_path):
    first, second = scores(chosen="good"), scores(task="ltv_30")
    write_metrics(tmp_path / "deep" / "metrics.json", [first, second])
    assert read_metrics(tmp_path / "deep" / "metrics.json") == {"ltv_90": first, "ltv_30": second}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["metrics.json"]


def test_metrics_json_has_the_documented_shape(tmp_path):
    write_metrics(tmp_path / "metrics.json", [scores(chosen="good")])
    task = json.loads((tmp_path / "metrics.json").read_text())["tasks"]["ltv_90"]
    assert (task["split"], task["chosen"], task["kind"], task["rows"]) == ("aaaa", "good", "value", 3)
    assert set(task["models"]["good"]["mae"]) == {"value", "low", "high"}
    assert task["models"]["zero"]["spearman"]["value"] is None


def test_one_task_is_written_once(tmp_path):
    with pytest.raises(BadInput, match=r"got task 'ltv_90' twice\. Join them first: first\.beside\(second\)"):
        write_metrics(tmp_path / "metrics.json", [scores(), scores()])


@pytest.mark.parametrize("text", ["{", "[]", '{"tasks": {"x": 1}}', '{"tasks": {"x": {"kind": "value"}}}'])
def test_a_file_that_is_no_metrics_json_is_refused(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(UnreadableSource, match=r"is no metrics\.json of ours"):
        read_metrics(tmp_path / "metrics.json")


def test_a_write_that_fails_leaves_the_old_file_and_no_stray(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half of it \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interval_may_be_undefined():
    assert Interval.from_json(Interval(value=None, low=None, high=None).to_json()).value is None
