"""One test per contract, for every implementation there is. A new one fails here until it is added to its list.

The Mergeables have their law tested beside them, in Python and in SQL: tests/rollups/test_aggregates.py.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import sojourn
from sojourn.core import BadSpec, Estimator, NotFitted, Spec
from tests.examples import ESTIMATORS, SPECS, STEPS

MODULES = [import_module(module.name) for module in walk_packages(sojourn.__path__, "sojourn.")]


def concrete(base: type[Any]) -> Iterator[type[Any]]:
    """Every concrete class of ours below this base, wherever it is defined."""
    for module in MODULES:
        for _, each in inspect.getmembers(module, inspect.isclass):
            ours = each.__module__ == module.__name__ and issubclass(each, base) and each is not base
            if ours and not inspect.isabstract(each):
                yield each


def specs() -> list[type[Spec]]:
    return sorted(set(concrete(Spec)), key=lambda each: each.__name__)


def estimators() -> list[type[Estimator]]:
    return sorted(set(concrete(Estimator)), key=lambda each: each.__name__)


def example(spec: type[Spec]) -> Spec:
    """The listed example, or the defaults where every field has one."""
    return SPECS[spec] if spec in SPECS else spec()


@pytest.mark.parametrize("spec", specs(), ids=lambda each: each.__name__)
class TestSpec:
    def test_json_and_toml_round_trips_are_the_identity(self, spec):
        built = example(spec)
        assert spec.from_json(built.to_json()) == built
        assert spec.from_toml(built.to_toml()) == built
        assert spec.from_toml(built.to_toml()).fingerprint == built.fingerprint

    def test_it_is_frozen(self, spec):
        built = example(spec)
        for name in spec.model_fields:
            with pytest.raises(ValueError, match="frozen"):
                setattr(built, name, None)

    def test_an_unknown_field_is_refused_by_name(self, spec):
        with pytest.raises(BadSpec, match="it has no field 'no_such_field'"):
            spec(**{**example(spec).model_dump(), "no_such_field": 1})


@pytest.mark.parametrize("name", STEPS)
class TestStep:
    def test_the_same_table_gives_the_same_result_and_stays_untouched(self, name):
        step, make = STEPS[name]
        table = make(seed=1)
        before = table.clone()
        assert_frame_equal(step(table), step(before))
        assert_frame_equal(table, before)

    def test_the_order_of_rows_changes_nothing(self, name):
        step, make = STEPS[name]
        table = make(seed=1)
        assert_frame_equal(step(table), step(table.sample(fraction=1, shuffle=True, seed=5)))


@dataclass(frozen=True)
class Case:
    """An estimator fitted once for all its tests, two tables that teach different things, and what they were before."""

    build: Callable[[], Estimator]
    table: pl.DataFrame
    other: pl.DataFrame
    before: pl.DataFrame
    fitted: Estimator
    returned: Estimator


@cache
def taught(kind: type[Estimator]) -> Case:
    build, table = ESTIMATORS[kind]
    one, fitted = table(seed=1), build()
    return Case(build, one, table(seed=2), one.clone(), fitted, fitted.fit(one))


@pytest.fixture(params=estimators(), ids=lambda each: each.__name__)
def case(request: pytest.FixtureRequest) -> Case:
    assert request.param in ESTIMATORS, f"add {request.param.__name__} to ESTIMATORS in tests/examples.py"
    return taught(request.param)


class TestEstimator:
    def test_fit_returns_itself_and_leaves_the_table_alone(self, case):
        assert case.returned is case.fitted
        assert_frame_equal(case.table, case.before)

    def test_predictions_carry_the_keys_in_the_table_s_order(self, case):
        predicted = case.fitted.predict(case.other)
        keys = [key for key in ("user_id", "as_of") if key in case.other.columns]
        assert_frame_equal(predicted.select(keys), case.other.select(keys))
        assert set(predicted.columns) > set(keys)

    def test_fit_is_repeatable_and_a_second_fit_forgets_the_first(self, case):
        again = case.build().fit(case.other).fit(case.table)
        assert_frame_equal(again.predict(case.other), case.fitted.predict(case.other), check_exact=True)

    def test_predicting_before_fitting_is_refused_with_the_mend(self, case):
        with pytest.raises(NotFitted, match=r"is not fitted yet. Fit it first: \w+\(spec\).fit\(table\)"):
            case.build().predict(case.table)

    def test_learned_attributes_end_in_an_underscore_and_exist_only_after_fit(self, case):
        before = set(vars(case.build()))
        assert not {name for name in before if name.endswith("_") and not name.startswith("_")}
        learned = set(vars(case.fitted)) - before
        assert learned
        assert all(name.endswith("_") for name in learned)

    def test_saving_and_loading_is_the_identity_and_nothing_is_pickled(self, case, tmp_path):
        case.fitted.save(tmp_path / "model")
        again = type(case.fitted).load(tmp_path / "model")
        assert again.spec == case.fitted.spec
        assert_frame_equal(again.predict(case.other), case.fitted.predict(case.other), check_exact=True)
        assert all(_is_plain(file) for file in (tmp_path / "model").rglob("*") if file.is_file())

    def test_an_unfitted_model_cannot_be_saved(self, case, tmp_path):
        with pytest.raises(NotFitted):
            case.build().save(tmp_path / "model")


def _is_plain(file: Path) -> bool:
    return file.suffix in {".json", ".txt", ".toml", ".safetensors", ".parquet"} and file.read_bytes()[:1] != b"\x80"
