"""Whatever stands in sojourn.toml, in whichever place: it is read, or refused in one sentence."""

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.cli import ingest, retention
from sojourn.cli.settings import SECTIONS, create_warehouse, read_settings
from sojourn.core import BadSpec, SojournError
from sojourn.dashboard import dashboard_from
from sojourn.lifetime import NewcomerSpec
from sojourn.operate import ServeSpec, declared_from, elsewhere_from

AGGREGATES = {
    "events": {"function": "count"},
    "active_days": {"function": "active_days"},
    "spend": {"function": "sum", "expression": "amount"},
    "purchases": {"function": "count", "where": "amount > 0"},
    "purchase_days": {"function": "active_days", "where": "amount > 0"},
}
WHOLE: dict[str, Any] = {
    "warehouse": {"zone": "UTC", "week_start": "monday"},
    "engine": {"kind": "duckdb", "threads": 1},
    "ingest": {
        "files": ["a.csv"],
        "columns": {"user_id": "who"},
        "types": {"age": "INTEGER"},
        "users": {"files": ["u.csv"], "columns": {"country": "land"}},
    },
    "rollups": {"user": {"windows_days": [7], "aggregates": AGGREGATES}},
    "features": {"history_days": 30, "rollup": "user"},
    "lifetime": {"horizons_days": [14], "churn_days": 14, "models": {"ltv_14": "mean"}, "boost": {"rounds": 5}},
    "newcomers": {"ages_days": [1], "by_days": 30},
    "retention": {"horizon_days": 14, "plan": {"offsets": [1]}},
    "metrics": {"boards": {"users": {"event_dims": {"channel": "channel"}}}},
    "acquisition": {"boards": {"users": {"currency": "EUR"}}},
    "supply_demand": {"supply": "a = 1", "demand": "b = 1", "served": "c = 1"},
    "run": {"fit": True, "refit_days": 7},
    "checks": {"some": {"kind": "rows", "min_rows": 1}},
    "watch": {"max_psi": 0.5},
    "publish": {"cache": {"to": "redis", "url": "redis://h:1/0", "tables": ["features"]}},
    "serve": {"port": 8000, "tables": ["features"]},
    "forget": {"folders": []},
    "dashboard": {"unit": "$"},
}
LEAF = st.one_of(
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.booleans(),
    st.text(max_size=8),
    st.sampled_from(["Europe", "~nobody/x", "redis://h:99999", "http://[", "chdb:", "self", "..", "\n"]),
    st.dates(),
)
VALUE = st.recursive(
    LEAF,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=5,
)


def places_of(table, path=()):
    for name, each in table.items():
        yield (*path, name)
        if isinstance(each, dict):
            yield from places_of(each, (*path, name))


PLACES = sorted(places_of(WHOLE))


def put(place, value, *, name=None):
    """The settings with this value in that place, or beside it under another name."""
    changed = deepcopy(WHOLE)
    table = changed
    for part in place[:-1]:
        table = table[part]
    table[place[-1] if name is None else name] = value
    return changed


def readers(root):
    """What the verbs make of settings, each by itself."""
    none: dict[str, dict[str, Any]] = {"columns": {}, "types": {}, "texts": {}}
    flags = {"files": ("a.csv",)}
    return {
        "run": declared_from,
        "forget": elsewhere_from,
        "dashboard": dashboard_from,
        "serve": lambda found: ServeSpec(**found.get("serve", {})),
        "newcomers": lambda found: NewcomerSpec(**found.get("newcomers", {})),
        "plan": lambda found: retention._plan(found, None, None),
        "ingest": lambda found: ingest._spec(found.get("ingest", {}), flags, table=None, pairs=none),
        "ingest users": lambda found: ingest._spec(found.get("ingest", {}), flags, table="users", pairs=none),
        "warehouse": lambda found: create_warehouse(root / "w", found),
    }


def read_by_all(folder, changed):
    """Every reader on these settings; each refusal must be a sentence of ours."""
    path = folder / "sojourn.toml"
    path.write_text(tomli_w.dumps(changed), encoding="utf-8")
    refused = {}
    for name, reader in readers(folder).items():
        try:
            reader(read_settings(path))
        except SojournError as fault:
            refused[name] = str(fault)
    assert all(told.strip() for told in refused.values())
    return refused


def test_the_settings_are_right_as_they_are(tmp_path):
    assert set(WHOLE) | {"effects"} == set(SECTIONS)
    assert read_by_all(tmp_path, WHOLE) == {}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(place=st.sampled_from(PLACES), value=VALUE, name=st.one_of(st.none(), st.just("self"), st.text(max_size=5)))
def test_any_value_in_any_place_is_read_or_refused_in_a_sentence(tmp_path_factory, place, value, name):
    read_by_all(tmp_path_factory.mktemp("s"), put(place, value, name=name))


@pytest.mark.parametrize("value", [3, "x", [], [{}], True], ids=repr)
@pytest.mark.parametrize("section", sorted(WHOLE))
def test_a_section_that_is_none_is_refused_at_the_door(tmp_path, section, value):
    path = tmp_path / "sojourn.toml"
    path.write_text(tomli_w.dumps({section: value}))
    with pytest.raises(BadSpec, match=rf"has {section} = .*, which is no section. Write \[{section}\]"):
        read_settings(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ingest = 3", "ingest = 3, which is no section"),
        ("[ingest]\nusers = [1]", "Declare the source as [ingest.users]"),
        ("[ingest]\ntable = ['events']", "it is one of events, users"),
        ("[features]\nrollup = ['user']", "[features] has rollup = ['user']"),
        ("[acquisition.boards]\nusers = 1", "write [acquisition.boards.users]"),
    ],
)
def test_the_command_exits_2_with_one_sentence(tmp_path, text, words):
    (tmp_path / "sojourn.toml").write_text(text)
    done = run(tmp_path, "run", "--day", "2024-01-02")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "--day", "9999-12-31"), "lies outside the years 1900 to 2199"),
        (("run", "--day", "2024-01-02", "--warehouse", "/proc/x"), "/proc/x cannot be written"),
    ],
)
def test_days_and_folders_that_cannot_be_are_told(tmp_path, words, told):
    (tmp_path / "sojourn.toml").write_text('[checks.some]\nkind = "rows"\n')
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from sojourn.cli import main; main()", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
