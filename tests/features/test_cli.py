"""`sojourn features` on the command line: a file or the warehouse's table, exit 2 and one sentence for a mistake."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sojourn.core import BadSpec
from sojourn.features import FeatureSpec, features_from
from sojourn.rollups import user_rollup
from sojourn.warehouse import Warehouse
from tests.features.worlds import frame_log, put_users
from tests.rollups.logs import put_events
from tests.rollups.mornings import Row, take_in, world
from tests.rollups.test_cli import run

__all__ = ["run"]

SETTINGS = """
[rollups.small]
windows_days = [1, 7]
[rollups.small.aggregates.spend]
function = "sum"
expression = "amount"
[features]
rollup = "small"
history_days = 7
[features.labels]
aggregates = ["spend"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Warehouse:
    (tmp_path / "sojourn.toml").write_text(SETTINGS)
    warehouse = Warehouse.create(tmp_path / "warehouse")
    put_events(warehouse, frame_log())
    put_users(warehouse, [("cat", datetime(1970, 1, 1, tzinfo=UTC), None, "NO", True)])
    return warehouse


def test_features_go_into_the_warehouse_or_into_a_file(run, shop):
    status, out, err = run("features", "--as-of", "2024-05-01", "--as-of", "2024-05-02")
    assert (status, out) == (0, f"4 rows: {shop.root / 'features'}\n")
    assert err == "Left out: 2 rows of test accounts (is_test in table 'users').\n"
    assert shop.frame("features").height == 4
    assert run("features", "--as-of", "2024-05-01", "--out", "f.parquet")[1] == "2 rows: f.parquet\n"
    assert pl.read_parquet("f.parquet")["spend_7d"].to_list() == [40.0, 0.0]


def test_labels_go_into_a_file(run, shop):
    assert run("features", "--as-of", "2024-05-01", "--labels", "1,3", "--out", "t.parquet")[0] == 0
    assert pl.read_parquet("t.parquet").columns[-2:] == ["label_spend_1d", "label_spend_3d"]


def test_features_are_of_what_had_arrived_so_many_hours_into_the_day(run, tmp_path):
    (tmp_path / "sojourn.toml").write_text(SETTINGS)
    log = world(5, "UTC")
    take_in(Warehouse.create(tmp_path / "warehouse"), log, tmp_path, since=None, until=log.events[-1][3])
    spend = []
    for hours in ("0", "6"):
        arguments = ("--as-of", "2024-04-30", "--known-after", hours, "--labels", "1", "--out", f"{hours}.parquet")
        assert run("features", *arguments)[0] == 0
        spend.append(pl.read_parquet(f"{hours}.parquet")["spend_7d"].sum())
    known = sum(row[5] for row in of_week(log.events, until=datetime(2024, 4, 30, tzinfo=UTC)))
    assert spend[0] == pytest.approx(float(known))
    assert spend[0] != spend[1]
    status, out, err = run("features", "--as-of", "2024-04-30", "--known-after", "-1")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "known_after_hours" in err


def of_week(events: list[Row], *, until: datetime) -> list[Row]:
    """Of each event the version that had arrived last, if its time lies in the 7 days before."""
    stood: dict[str, Row] = {}
    for row in sorted(events, key=lambda row: row[3]):
        if row[3] <= until:
            stood[row[0]] = row
    return [row for row in stood.values() if until - timedelta(days=7) <= row[2] < until and row[5] is not None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", "3"), "Labels go into a file, not into table 'features'. Say which: --out training.parquet"),
        (("--labels", "a", "--out", "x.parquet"), "--labels a is no list of whole days. Write it as --labels 30,90"),
        (("--labels", "30", "--out", "x.parquet"), "30 days from 2024-05-01 on are needed and there are 5"),
        (("--labels", "0", "--out", "x.parquet"), "a horizon of 0 days holds nothing; it is at least 1 day"),
        (("--config", "no.toml"), "no.toml cannot be read"),
    ],
)
def test_mistakes_exit_2_with_one_sentence(run, shop, arguments, message):
    status, out, err = run("features", "--as-of", "2024-05-01", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_features_name_their_rollup_and_default_to_the_user_s():
    assert features_from({}) == FeatureSpec()
    own = {"rollups": {"user": {"aggregates": {"spend": {"function": "sum", "expression": "price"}}}}}
    labelled = {**own, "features": {"labels": {"aggregates": ["spend"]}}}
    assert features_from(labelled).rollup.aggregates["spend"].expression == "price"
    assert features_from({"rollups": {"item": {"keys": ["item_id"], **own["rollups"]["user"]}}}).rollup == user_rollup()
    with pytest.raises(BadSpec, match=r"\[features\] has rollup = 'x'; declared are user\. Add \[rollups\.x\]\."):
        features_from({"features": {"rollup": "x"}})
