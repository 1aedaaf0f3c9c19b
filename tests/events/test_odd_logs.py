"""Logs as shops export them come in without a single option, and every customer's money adds up."""

from decimal import Decimal

import pytest

from tests.events.logs import stored, take
from tests.events.odd_logs import LOGS, WRITTEN, sums


@pytest.mark.parametrize("name", LOGS)
def test_every_customer_s_money_adds_up_to_what_was_moved(warehouse, tmp_path, name):
    log = LOGS[name]()
    report = take(warehouse, log.write(tmp_path / "log.csv", **WRITTEN.get(name, {})))
    expected, found = log.by_user(), sums(stored(warehouse))
    assert found.keys() == expected.keys()
    assert max(abs(found[user] - expected[user]) for user in expected) <= Decimal("0.0001") * 100
    nameless = sum(user is None for user, _ in log.moved)
    assert (report.kept, report.rejected) == (len(log.rows) - nameless, nameless)
