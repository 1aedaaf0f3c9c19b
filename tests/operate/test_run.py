"""A declared day is done once, only what is stale is done again, and a kill at any moment changes nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import tomli_w

from sojourn.core import BadInput, BadSpec, Locked
from sojourn.operate import declared_from, run_day, run_days
from sojourn.warehouse.locks import exclusive
from tests.operate.shops import (
    AT,
    LAST,
    SETTINGS,
    content,
    declared_in,
    opened,
    ran,
    settings_of,
    told,
    verdicts,
    write_day,
    write_orders,
)

BEFORE = LAST - timedelta(days=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> tuple[Path, Path]:
    """The folder of orders up to the last day but one, and a warehouse in which that day was run."""
    folder = tmp_path_factory.mktemp("shop")
    write_orders(folder / "orders")
    (folder / "orders" / f"orders-{LAST}.csv").rename(folder / "last.csv")
    report = ran(folder / "w", declared_in(folder / "orders"), BEFORE)
    assert report.exit_status == 0, report.outcomes
    return folder, folder / "w"


@pytest.fixture
def copied(shop, tmp_path) -> tuple[Path, Path]:
    """The shop's orders, those of the last day with them, and a copy of its warehouse."""
    folder, warehouse = shop
    shutil.copytree(folder / "orders", tmp_path / "orders")
    shutil.copytree(warehouse, tmp_path / "w")
    shutil.copy2(folder / "last.csv", tmp_path / "orders" / f"orders-{LAST}.csv")
    # The files of the first run lie elsewhere: they are named as they were.
    return tmp_path / "orders", tmp_path / "w"


def test_a_day_is_done_and_done_again_changes_no_byte(shop):
    folder, root = shop
    once = content(root)
    again = ran(root, declared_in(folder / "orders"), BEFORE)
    assert set(verdicts(again).values()) == {"current", "passed"}
    assert content(root) == once
    runs = opened(root).frame("runs")
    assert max(runs["attempt"].to_list()) >= 2
    assert {"ingest events", "features", "model ltv", "predict ltv"} <= set(runs["step"])


def test_only_files_that_are_new_are_read(copied):
    orders, root = copied
    ran(root, declared_in(orders))
    second = ran(root, declared_in(orders))
    assert told(second, "ingest events") == "none of 91 files is new"
    write_day(orders, LAST, ["c001,2024-11-30,5.00", "c002,2024-11-30,6.00"])
    third = ran(root, declared_in(orders))
    assert told(third, "ingest events").startswith("read 2 = kept")
    assert verdicts(third)["rollup user"] == "done"


def test_late_rows_end_as_if_they_had_been_there_at_once(shop, tmp_path):
    folder, at_once = shop
    shutil.copytree(folder / "orders", tmp_path / "orders")
    late = tmp_path / "orders" / f"orders-{BEFORE - timedelta(days=40)}.csv"
    late.rename(tmp_path / "late.csv")
    declared = declared_in(tmp_path / "orders")
    ran(tmp_path / "w", declared, BEFORE)
    (tmp_path / "late.csv").rename(late)
    report = ran(tmp_path / "w", declared, BEFORE)
    assert verdicts(report)["features"] == "done"
    for table in ("events", "rollup_user", "windows_user", "features"):
        ours, theirs = opened(tmp_path / "w"), opened(at_once)
        keys = ["user_id", "day"] if table == "events" else [*ours.frame(table).columns[:1], "as_of"]
        by = [key for key in keys if key in ours.frame(table).columns]
        assert ours.frame(table).sort(by).equals(theirs.frame(table).sort(by)), table


def test_a_failed_check_holds_back_what_needs_it_and_is_an_alert(copied):
    orders, root = copied
    strict = SETTINGS.replace('[checks.some]\nkind = "rows"', '[checks.some]\nkind = "rows"\nmin_rows = 100000')
    report = ran(root, declared_in(orders, strict))
    found = verdicts(report)
    assert found["check some"] == "failed"
    assert {found[name] for name in ("rollup user", "features", "predict ltv", "check counted")} == {"held back"}
    assert "since 'check some' failed" in told(report, "features")
    assert report.exit_status == 1
    alerts = opened(root).frame("alerts", only=[{"day": str(LAST)}])
    assert alerts.select("source", "name", "severity").rows() == [("check", "some", "fail")]
    mended = ran(root, declared_in(orders))
    assert mended.exit_status == 0
    assert opened(root).frame("alerts", only=[{"day": str(LAST)}]).is_empty()


def test_a_check_that_only_warns_holds_nothing_back(copied):
    orders, root = copied
    lenient = SETTINGS.replace('kind = "rows"', 'kind = "rows"\nmin_rows = 100000\nseverity = "warn"', 1)
    report = ran(root, declared_in(orders, lenient))
    assert verdicts(report)["check some"] == "warned"
    assert verdicts(report)["predict ltv"] == "done"
    assert report.exit_status == 0


def test_a_step_that_cannot_be_done_is_told_and_the_others_go_on(copied):
    orders, root = copied
    broken = SETTINGS.replace('expression = "amount"', 'expression = "price"', 1).replace("[features]", "")
    settings = {name: each for name, each in settings_of(orders, broken).items() if name not in {"lifetime", "watch"}}
    shutil.rmtree(root)
    report = ran(root, declared_from(settings))
    assert verdicts(report)["rollup user"] == "failed"
    assert "price" in told(report, "rollup user")
    assert verdicts(report)["check counted"] == "passed"
    assert report.exit_status == 2


def test_a_young_log_is_no_mistake(tmp_path):
    write_orders(tmp_path / "orders")
    for file in sorted((tmp_path / "orders").glob("*"))[12:]:
        file.unlink()
    declared = declared_in(tmp_path / "orders")
    report = ran(tmp_path / "w", declared, date(2024, 9, 12))
    assert report.exit_status == 0
    assert "no windows yet" in told(report, "rollup user")
    assert verdicts(report)["features"] == "skipped"
    assert "no model can be fitted yet" in told(report, "model ltv")
    assert verdicts(report)["predict ltv"] == "skipped"


def test_several_days_are_run_one_by_one(copied):
    orders, root = copied
    declared = declared_in(orders)
    reports = run_days(opened(root), declared, start=BEFORE, end=LAST + timedelta(days=1), at=AT)
    assert [report.day for report in reports] == [BEFORE, LAST]
    assert opened(root).places("features") == [{"as_of": str(day + timedelta(days=1))} for day in (BEFORE, LAST)]
    with pytest.raises(BadInput, match="No day lies from"):
        run_days(opened(root), declared, start=LAST, end=LAST, at=AT)


def test_nothing_declared_no_zone_and_a_second_run_are_refused(copied):
    orders, root = copied
    with pytest.raises(BadInput, match=r"declares nothing to do for a day. Add a section"):
        run_day(opened(root), declared_from({}), day=LAST, at=AT)
    with pytest.raises(BadInput, match=r"has no zone. Give one"):
        run_day(opened(root), declared_in(orders), day=LAST, at=AT.replace(tzinfo=None))
    with exclusive(root / "_locks" / "_run.lock", what="x"), pytest.raises(Locked, match="is being written by process"):
        run_day(opened(root), declared_in(orders), day=LAST, at=AT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checks": {"a": 3}}, r"Declare a check as \[checks.a\]"),
        ({"checks": {"a": {"kind": "drop"}}}, "needs max_drop"),
        ({"checks": {"a": {"kind": "rows", "column": "amount"}}}, "does not read 'column'"),
        ({"ingest": {"files": ["a.csv"], "in_place": "b"}}, "in_place stands for files and query"),
        ({"ingest": {"users": {"in_place": "b"}}}, "only events are read in place"),
        ({"run": {"refit_days": 0}}, "refit_days"),
        ({"watch": {"max_psy": 1}}, "it has no field 'max_psy'"),
    ],
)
def test_settings_that_are_wrong_are_refused_in_one_sentence(settings, message):
    with pytest.raises(BadSpec, match=message):
        declared_from(settings)


STEPS = [
    "ingest events",
    "check some",
    "rollup user",
    "features",
    "model ltv",
    "predict ltv",
    "watch ltv",
    "check counted",
    "account",
]


def killed_at(step: str, *, config: Path, root: Path, after_s: float) -> bool:
    """Run the last day, and kill it so many seconds after it has begun a step; whether it was killed in time."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command(config, root), stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.strip() == f"{LAST} {step}":
                time.sleep(after_s)
                run.send_signal(signal.SIGKILL)
                break
        run.wait()
    return run.returncode == -signal.SIGKILL


def command(config: Path, root: Path) -> list[str]:
    program = "from sojourn.cli import main; main()"
    arguments = ["run", "--day", str(LAST), "--at", "2024-12-01T05:00:00", "--warehouse", str(root)]
    return [sys.executable, "-c", program, *arguments, "--config", str(config)]


def kills(copied, tmp_path, *, steps, delays_s):
    """Kill at each step after each delay, run again, and compare every byte with a run that nobody killed."""
    orders, root = copied
    config = tmp_path / "sojourn.toml"
    # A candidate is due on that day, so that the registry is written too.
    settings = settings_of(orders, SETTINGS + "\n[run]\nrefit_days = 1\n")
    config.write_text(tomli_w.dumps(settings))
    shutil.copytree(root, tmp_path / "undisturbed")
    subprocess.run(command(config, tmp_path / "undisturbed"), check=True, capture_output=True)
    expected, killed = content(tmp_path / "undisturbed"), 0
    assert expected != content(root)
    for step in steps:
        for after_s in delays_s:
            disturbed = tmp_path / "disturbed"
            shutil.copytree(root, disturbed)
            killed += killed_at(step, config=config, root=disturbed, after_s=after_s)
            done = subprocess.run(command(config, disturbed), capture_output=True, text=True)
            assert done.returncode == 0, (step, done.stdout, done.stderr)
            assert content(disturbed) == expected, f"killed {after_s} s into {step!r}"
            shutil.rmtree(disturbed)
    return killed


def test_a_run_killed_in_the_middle_ends_the_same(copied, tmp_path):
    assert kills(copied, tmp_path, steps=["model ltv"], delays_s=[0.1]) == 1


@pytest.mark.slow
def test_a_run_killed_at_any_step_ends_the_same(copied, tmp_path):
    killed = kills(copied, tmp_path, steps=STEPS, delays_s=[0.0, 0.05, 0.3])
    assert killed >= 2 * len(STEPS)


def test_the_account_keeps_every_attempt(copied):
    orders, root = copied
    ran(root, declared_in(orders))
    ran(root, declared_in(orders))
    runs = opened(root).frame("runs", only=[{"day": str(LAST)}])
    assert runs["attempt"].unique().sort().to_list() == [1, 2]
    assert runs.filter(pl.col("attempt") == 2)["verdict"].is_in(["current", "passed"]).all()
    assert runs["started_at"].unique().to_list() == [AT], "without a clock"


def test_the_account_says_when_each_step_began_whatever_the_rows_arrival(copied):
    orders, root = copied
    ticks = (AT + timedelta(days=9, seconds=nth) for nth in range(100))
    run_day(opened(root), declared_in(orders), day=LAST, at=AT, clock=lambda: next(ticks))
    begun = opened(root).frame("runs", only=[{"day": str(LAST)}]).sort("step_number")["started_at"].to_list()
    assert begun == [AT + timedelta(days=9, seconds=nth) for nth in range(len(begun))]
