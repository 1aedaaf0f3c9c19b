"""Table `features` is held against its users and against what is made anew, on Spark too."""

from datetime import timedelta

import pytest

from sojourn.features import verify_features, write_features
from sojourn.rollups import VerifySpec
from sojourn.warehouse import Warehouse
from tests.features.worlds import AS_OF, frame_log, noon, put_users, small_spec
from tests.rollups.logs import put_events

ALL = VerifySpec(partitions=None)


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """Ann has a portrait, bob none, cat is a test account from the start; three days have features."""
    put_events(warehouse, frame_log())
    start = noon(20, month=4)
    put_users(warehouse, [("ann", start, None, "NO", False), ("cat", start, None, "IN", True)])
    for back in (2, 1, 0):
        write_features(warehouse, small_spec(), AS_OF - timedelta(days=back))
    return warehouse


def test_features_with_portraits_and_test_accounts_pass(shop):
    checks = verify_features(shop, small_spec(), spec=ALL)
    assert [each.row()[:4] for each in checks] == [
        ("fingerprints", "features", "3 days looked from", "ok"),
        ("keys", "features", "3 days looked from", "ok"),
        ("made anew", "features", "3 days looked from", "ok"),
    ]


def test_a_lost_user_is_found_and_other_portraits_are_noted(shop):
    day = {"as_of": str(AS_OF)}
    mark = shop.fingerprint_of("features", day)
    assert mark is not None
    rows = shop.engine.frame(f"SELECT * EXCLUDE (as_of) FROM {shop.relation('features', only=[day])}")
    with shop.writing("features") as writer:
        writer.put(day, rows[1:], order_by=["user_id"], fingerprint=mark)
    wrong = {each.check: each.wrong for each in verify_features(shop, small_spec(), spec=ALL) if each.wrong}
    told = "differs in 1 rows from what its input gives, the first of key ann"
    assert wrong == {
        "keys": (f"as_of={AS_OF}, users alone: {told}",),
        "made anew": (f"as_of={AS_OF} {told}",),
    }
    put_users(shop, [("ann", noon(20, month=4), None, "SE", False)])
    [fingerprints, *rest] = verify_features(shop, small_spec(), spec=ALL)
    assert fingerprints.verdict == "note"
    assert fingerprints.notes[0].startswith("3 were written from other rows, users or settings than there are now")
    assert [each.looked for each in rest] == [0, 0]


def test_without_features_there_is_nothing_to_check(warehouse):
    assert verify_features(warehouse, small_spec(), spec=ALL) == []


@pytest.mark.slow
def test_spark_verifies_features_that_duckdb_wrote(shop, spark):
    other = Warehouse.open(shop.root, engine=spark)
    checks = verify_features(other, small_spec(), spec=VerifySpec(partitions=1))
    assert [(each.check, each.verdict, each.wrong) for each in checks if each.check != "fingerprints"] == [
        ("keys", "ok", ()),
        ("made anew", "ok", ()),
    ]
    assert all(each.looked > 0 for each in checks)
