"""Every function over every kind of window: what was built, slid and kept for later passes; a spoilt rest does not."""

from collections.abc import Mapping
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.rollups import Check, VerifySpec, advance, verify_files, verify_rollup, verify_source
from sojourn.rollups.findings import MOST_TOLD, told
from sojourn.rollups.recomputed import is_equal
from sojourn.warehouse import Warehouse
from tests.rollups.logs import put_events, rollup
from tests.rollups.mornings import MORNINGS, known_rollup
from tests.rollups.test_partials import log

ALL = VerifySpec(partitions=None, sample=30)


@pytest.mark.parametrize("part", range(3))
def test_a_log_lived_through_morning_by_morning_passes(lived, part):
    spec, warehouse = known_rollup(part), lived(part).warehouse
    for morning in MORNINGS[3:]:
        advance(warehouse, spec, day=morning - (MORNINGS[1] - MORNINGS[0]))
    files, unreliable = verify_files(warehouse, warehouse.tables())
    checks = [*files, *verify_source(warehouse, "events"), *verify_rollup(warehouse, spec, spec=ALL)]
    assert unreliable == set()
    assert [each.row() for each in checks if each.verdict == "wrong"] == []
    looked = {(each.check, each.of): each.looked for each in checks}
    assert looked["recomputed", "windows_every"] > 1000
    assert looked["made anew", "windows_every"] >= 3
    if part == 1:  # the part that has `least` and so something to fall back on
        spoil_rests(warehouse)
        wrong = [each.of for each in verify_rollup(warehouse, spec, spec=ALL) if each.verdict == "wrong"]
        assert wrong == ["rests_every"]


def spoil_rests(warehouse: Warehouse) -> None:
    [info, *_] = warehouse.partitions("rests_every")
    relation = warehouse.relation("rests_every", only=[info.partition])
    rows = warehouse.engine.frame(f"SELECT * EXCLUDE (start) FROM {relation}")
    with warehouse.writing("rests_every") as writer:
        writer.put(info.partition, rows[1:], order_by=["day", "user_id"], fingerprint=info.fingerprint)


@given(st.floats(allow_nan=True, allow_infinity=False), st.floats(1e-11, 1))
def test_doubles_are_equal_to_a_millionth_of_a_millionth_and_no_more(value, share):
    assert is_equal(value, value)
    off = value + share * max(abs(value), 1.0)
    assert is_equal(off, value) == (off != off)
    assert is_equal([{"key": "a", "value": value}], [{"key": "a", "value": value}])
    assert is_equal([{"key": "a", "value": off}], [{"key": "a", "value": value}]) == (off != off)


@pytest.mark.parametrize(("got", "wanted"), [(None, 0), (0, None), ([1], [1, 2]), ({"a": 1}, {"b": 1}), ("1", 1)])
def test_what_is_no_double_is_equal_exactly(got, wanted):
    assert not is_equal(got, wanted)


def test_very_many_faults_are_counted_and_not_all_told():
    faults = told([str(number) for number in range(100)])
    assert faults[MOST_TOLD:] == ("80 more of the kind",)
    check = Check("rows", "t", looked=1, unit="partials", wrong=faults)
    assert check.row() == ("rows", "t", "1 partial", "wrong", "0 (and 20 more)")
    as_dict: Mapping[str, object] = check.as_dict()
    assert as_dict["verdict"] == "wrong"


@pytest.mark.slow
def test_spark_verifies_what_duckdb_wrote(warehouse, spark):
    spec = rollup(windows_days=(1, 7))
    put_events(warehouse, log())
    advance(warehouse, spec, day=date(2024, 5, 12))
    other = Warehouse.open(warehouse.root, engine=spark)
    checks = [*verify_source(other, "events"), *verify_rollup(other, spec, spec=ALL)]
    assert [each.row() for each in checks if each.verdict == "wrong"] == []
    assert {"made anew", "recomputed", "keys"} <= {each.check for each in checks if each.looked > 0}
