"""The road of a stranger: a file as the shop exported it, `ingest` and `ltv compare`, and not one option more."""

import json
from pathlib import Path

import polars as pl
import pytest

from sojourn.warehouse import Warehouse
from tests.events.odd_logs import LOGS, WRITTEN, sums


def test_a_log_without_amounts_is_told_at_once_and_how_to_mend_it(program):
    rows = [(f"u{n % 40}", f"2025-{1 + n // 400:02d}-{1 + n % 28:02d}", "play", n % 7) for n in range(2_000)]
    pl.DataFrame(rows, schema=["user", "date", "event", "cost"], orient="row").write_csv("plays.csv")
    status, _, err = program("ingest", "plays.csv")
    assert status == 0
    assert "No column is named like an amount of money" in err
    status, out, err = program("ltv", "compare")
    assert (status, out) == (2, "")
    assert "no event has an amount above 0" in err
    assert '--map amount="COLUMN"' in err
    assert err.rstrip().endswith("The log has: event, item_id, amount, cost.")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", LOGS)
def test_every_odd_log_goes_from_file_to_figures_without_an_option(program, name):
    log = LOGS[name](customers=90)
    log.write(Path("log.csv"), **WRITTEN.get(name, {}))
    assert program("ingest", "log.csv")[0] == 0
    found = sums(Warehouse.open(Path("warehouse")).frame("events"))
    assert round(sum(found.values()), 2) == round(sum(log.by_user().values()), 2)
    status, out, err = program("ltv", "compare")
    assert status == 0, err
    assert "the earlier folds picked" in out
    tasks = json.loads(Path("ltv/metrics.json").read_text())
    assert "ltv_30" in json.dumps(tasks)
    assert Path("ltv/report.html").stat().st_size > 100_000
