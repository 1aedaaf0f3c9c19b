import pytest

from sojourn.core import BadSpec
from sojourn.lifetime import ChurnSpec, LifetimeSpec, ValueSpec


def test_tasks_are_named_after_what_they_say_and_how_far_they_look():
    tasks = LifetimeSpec(horizons_days=(90, 30), churn_days=14).tasks()
    assert [task.name for task in tasks] == ["ltv_30", "ltv_90", "churn_14"]
    assert [task.label for task in tasks] == ["label_spend_30d", "label_spend_90d", "label_purchases_14d"]


def test_settings_reach_every_task():
    spec = LifetimeSpec(train_as_ofs=3, folds=2, value="margin", activity="events")
    assert {task.train_as_ofs for task in spec.tasks()} == {3}
    assert {task.folds for task in spec.tasks()} == {2}
    assert spec.value_tasks()[0].label == "label_margin_30d"
    assert spec.churn_task().label == "label_events_30d"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"horizons_days": (30, 30)}, "a horizon is named twice in [30, 30]"),
        ({"horizons_days": ()}, "field 'horizons_days'"),
        (
            {"models": {"ltv_7": "mean"}},
            "models names the task 'ltv_7'; the tasks are ['ltv_30', 'ltv_90', 'churn_30']",
        ),
        ({"models": {"churn_30": "mean"}}, "models names 'mean' for churn_30; it may be one of ['churn_trees', "),
        ({"level": 1.0}, "field 'level' = 1.0"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_mend(values, sentence):
    with pytest.raises(BadSpec) as refused:
        LifetimeSpec(**values)
    assert sentence in str(refused.value)


def test_a_task_takes_only_models_of_its_own():
    with pytest.raises(BadSpec, match=r"field 'models"):
        ValueSpec(models=("recency",))
    with pytest.raises(BadSpec, match=r"field 'models"):
        ChurnSpec(models=("mean",))
