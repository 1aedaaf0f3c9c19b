"""Models are kept whole or not at all, one is in force on any day, and only a better one takes its place."""

import shutil
import signal
import subprocess
import sys
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput, BadSpec, UnreadableSource
from sojourn.lifetime import Lifetime
from sojourn.operate import Registry, contest, declared_from, fit_candidate, promote
from tests.operate.shops import LAST, SETTINGS, declared_in, opened, ran, settings_of, write_orders

END = LAST + timedelta(days=1)
# Trees of 5 rounds, beside a model that says the same of everybody.
DUMB = SETTINGS.replace('ltv_14 = "mean"', 'ltv_14 = "zero"').replace(
    'churn_14 = "churn_trees"', 'churn_14 = "base_rate"'
)
GOOD = SETTINGS.replace('ltv_14 = "mean"', 'ltv_14 = "pace"').replace(
    'churn_14 = "churn_trees"', 'churn_14 = "recency"'
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A shop whose model in force is a dumb one of some weeks ago."""
    folder = tmp_path_factory.mktemp("shop")
    write_orders(folder / "orders", users=250)
    day = LAST - timedelta(days=35)
    ran(folder / "w", declared_in(folder / "orders", DUMB), day)
    return folder


@pytest.fixture
def store(shop, tmp_path):
    shutil.copytree(shop / "w", tmp_path / "w")
    return opened(tmp_path / "w")


def declared(shop, text):
    return declared_from(settings_of(shop / "orders", text))


def features(shop):
    return declared(shop, SETTINGS).features


def version_in_force(registry):
    found = registry.in_force(END)
    assert found is not None
    return found.version


def loaded_of(registry, version):
    model = registry.load(version)
    assert isinstance(model, Lifetime)
    return model


def candidate(store, shop, text, as_of=END - timedelta(days=14)):
    return fit_candidate(store, "ltv", declared(shop, text), as_of=as_of)


def test_a_better_model_takes_over_and_one_command_goes_back(store, shop):
    registry = Registry(store, "ltv")
    dumb = registry.in_force(END)
    about = candidate(store, shop, GOOD)
    assert registry.in_force(END) == dumb
    now, found = promote(store, registry, about.version[:6], as_of=END, features=features(shop))
    assert now.version == about.version
    assert found is not None
    name, difference = found.differences["ltv_14"]
    assert name == "mae"
    assert difference.high is not None
    assert difference.high < 0
    assert registry.in_force(END - timedelta(days=1)) == dumb, "what was in force earlier stays known"
    back = registry.roll_back(as_of=END)
    assert dumb is not None
    assert back.version == dumb.version
    assert back.how == f"rolled back from {about.version}"


def test_a_model_that_is_no_better_is_refused_with_the_figures(store, shop):
    registry = Registry(store, "ltv")
    promote(store, registry, candidate(store, shop, GOOD).version, as_of=END, features=features(shop))
    worse = candidate(store, shop, DUMB)
    with pytest.raises(BadInput, match=r"does not beat .*stays in force: MAE of ltv_14 \+\d.*Brier of churn_14 \+0\."):
        promote(store, registry, worse.version, as_of=END, features=features(shop))
    assert version_in_force(registry) != worse.version


def test_models_are_compared_on_days_that_neither_has_seen(store, shop):
    late = candidate(store, shop, GOOD, as_of=END)
    with pytest.raises(BadInput, match=rf"not known before {END + timedelta(days=14)}. Compare them then, or fit"):
        contest(store, Registry(store, "ltv"), late.version, end=END, features=features(shop))
    early = candidate(store, shop, GOOD)
    found = contest(store, Registry(store, "ltv"), early.version, end=END, features=features(shop))
    assert found.as_of == END - timedelta(days=14) >= early.known_until


def test_the_figures_are_those_of_the_paired_bootstrap_on_the_same_rows(store, shop):
    import polars as pl

    from sojourn.evaluate import BootstrapSpec, Task, paired_bootstrap
    from sojourn.lifetime import judged_table

    registry = Registry(store, "ltv")
    about = candidate(store, shop, GOOD)
    found = contest(store, registry, about.version, end=END, features=features(shop))
    one, two = loaded_of(registry, about.version), loaded_of(registry, version_in_force(registry))
    table = judged_table(store, spec=one.spec, as_of=found.as_of, features=features(shop))
    known = table.select(pl.exclude("^label_.*$"))
    both = pl.DataFrame(
        {
            "user_id": table["user_id"],
            "came": table["label_spend_14d"].cast(pl.Float64),
            "one": one.predict(known)["ltv_14"],
            "two": two.predict(known)["ltv_14"],
        }
    )
    task = Task(name="ltv_14", kind="value", truth="came", models=("one", "two"))
    expected = paired_bootstrap(both, task=task, first="one", second="two", bootstrap=BootstrapSpec(replicates=20))
    assert found.differences["ltv_14"][1] == expected["mae"]
    assert found.users == table.height


def test_the_same_model_is_kept_once_and_what_a_killed_run_left_is_cleared(store, shop):
    registry = Registry(store, "ltv")
    about = candidate(store, shop, GOOD)
    (registry.folder / ".left-by-a-kill").mkdir()
    again = candidate(store, shop, GOOD)
    assert again == about
    assert not list(registry.folder.glob(".*"))
    assert len(registry.versions()) == 2


def test_saved_and_loaded_it_predicts_the_same(store, shop):
    from sojourn.lifetime import scoring_table

    registry, users = Registry(store, "ltv"), scoring_table(store, features=features(shop))
    about = candidate(store, shop, SETTINGS)
    loaded = loaded_of(registry, about.version)
    assert loaded.fingerprint_ == about.version
    assert loaded.predict(users).equals(loaded_of(registry, about.version).predict(users))


def test_a_model_that_another_version_saved_is_told_in_a_sentence(store, shop):
    import json

    registry = Registry(store, "ltv")
    version = version_in_force(registry)
    path = registry.folder / version / "model.json"
    saved = json.loads(path.read_text())
    del saved["learned"]["refunds"]
    path.write_text(json.dumps(saved))
    assert loaded_of(registry, version).fingerprint_ == version, "what was saved before refunds were known still loads"
    del saved["learned"]["chosen"]
    path.write_text(json.dumps(saved))
    with pytest.raises(
        UnreadableSource, match=rf"Model {version} .* was saved by another version of Sojourn .*fit again"
    ):
        registry.load(version)


def test_unknown_versions_and_missing_sections_are_refused(store, shop):
    registry = Registry(store, "ltv")
    with pytest.raises(BadInput, match="There is no model 'ffff' of kind 'ltv'; stored are: "):
        registry.about("ffff")
    with pytest.raises(BadInput, match="is in force already"):
        promote(store, registry, version_in_force(registry), as_of=END)
    with pytest.raises(BadInput, match="so there is none to go back to"):
        registry.roll_back(as_of=END)
    with pytest.raises(BadInput, match="No model of kind 'retention' is in force"):
        contest(store, Registry(store, "retention"), "abc", end=END)
    with pytest.raises(BadSpec, match=r"has no section \[retention\]"):
        fit_candidate(store, "retention", declared(shop, SETTINGS), as_of=END)


def test_in_force_is_a_matter_of_the_day(tmp_path):
    registry = Registry(opened(tmp_path / "w"), "ltv")
    assert registry.in_force(date(2024, 1, 1)) is None
    registry.put_in_force("a", as_of=date(2024, 1, 5), how="first")
    registry.put_in_force("b", as_of=date(2024, 2, 5), how="beat a")
    registry.put_in_force("b", as_of=date(2024, 2, 5), how="beat a")
    days = {
        day: registry.in_force(day) for day in (date(2024, 1, 4), date(2024, 1, 5), date(2024, 2, 4), date(2024, 3, 1))
    }
    assert [each.version if each else None for each in days.values()] == [None, "a", "a", "b"]
    assert len(registry.standing().history) == 2


def test_a_rollback_walks_back_and_never_forward(tmp_path):
    registry, day = Registry(opened(tmp_path / "w"), "ltv"), date(2024, 3, 1)
    for nth, version in enumerate("abc"):
        registry.put_in_force(version, as_of=date(2024, 1, 5 + nth), how="first" if version == "a" else "beat it")
    assert [registry.roll_back(as_of=day + timedelta(days=nth)).version for nth in range(2)] == ["b", "a"]
    with pytest.raises(BadInput, match="so there is none to go back to"):
        registry.roll_back(as_of=day + timedelta(days=2))
    registry.put_in_force("d", as_of=day + timedelta(days=5), how="beat a")
    assert registry.roll_back(as_of=day + timedelta(days=6)).version == "a"
    registry.put_in_force("d", as_of=day + timedelta(days=7), how="beat a")
    registry.put_in_force("a", as_of=day + timedelta(days=8), how="beat d")
    assert registry.roll_back(as_of=day + timedelta(days=9)).version == "d", "one that came back by itself counts"


MOVES = st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=12)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_rollbacks_are_those_of_a_stack(moves, tmp_path_factory):
    registry = Registry(opened(tmp_path_factory.mktemp("w") / "w"), "ltv")
    stack: list[str] = []
    for nth, version in enumerate(moves):
        day = date(2024, 1, 1) + timedelta(days=nth)
        if version is not None:
            registry.put_in_force(version, as_of=day, how="beat")
            stack += [version] if stack[-1:] != [version] else []
        elif len(stack) > 1:
            stack.pop()
            assert registry.roll_back(as_of=day).version == stack[-1]
        else:
            with pytest.raises(BadInput, match="none to go back to"):
                registry.roll_back(as_of=day)


KILLER = """
import os, signal, sys
from sojourn.operate import registry
from tests.operate.shops import declared_in, ran
from pathlib import Path

left, write = int(sys.argv[3]), registry.write_text

def dies(path, text):
    global left
    write(path, text)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

registry.write_text = dies
ran(Path(sys.argv[1]), declared_in(Path(sys.argv[2])))
"""


def test_killed_after_each_write_of_its_standing_the_first_fit_ends_the_same(shop, tmp_path):
    whole = tmp_path / "whole"
    ran(whole, declared_in(shop / "orders"))
    expected = (whole / "_models" / "ltv" / "standing.json").read_text()
    for nth in (1, 2):
        words = [sys.executable, "-c", KILLER, str(tmp_path / f"w{nth}"), str(shop / "orders"), str(nth)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == (-signal.SIGKILL if nth == 1 else 0), done.stderr
        ran(tmp_path / f"w{nth}", declared_in(shop / "orders"))
        assert (tmp_path / f"w{nth}" / "_models" / "ltv" / "standing.json").read_text() == expected
