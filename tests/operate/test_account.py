"""Whatever goes wrong in a step or in the account itself, the day is told: what was done, what was not, and why."""

import shutil
import subprocess
from datetime import date, timedelta

import polars as pl
import pytest
import tomli_w

from sojourn.core import BadInput, EngineError, TooManyRejected
from sojourn.operate import Registry, run_day, run_days
from sojourn.operate._told import patterns, without
from sojourn.operate.account import sentence_of
from sojourn.operate.run import _one_step
from sojourn.operate.steps import Done, Morning, Step
from sojourn.warehouse import DuckDBEngine
from tests.operate.shops import AT, LAST, SETTINGS, declared_in, opened, ran, settings_of, told, verdicts, write_orders
from tests.operate.test_run import command

END = LAST + timedelta(days=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A shop in which the last day was run."""
    folder = tmp_path_factory.mktemp("shop")
    write_orders(folder / "orders")
    assert ran(folder / "w", declared_in(folder / "orders")).exit_status == 0
    return folder


@pytest.fixture
def root(shop, tmp_path):
    shutil.copytree(shop / "w", tmp_path / "w")
    return tmp_path / "w"


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"ltv": 3'])
def test_damaged_reference_figures_fail_their_step_and_nothing_else(shop, root, text):
    registry = Registry(opened(root), "ltv")
    version = registry.versions()[0].version
    (registry.folder / version / "reference.json").write_text(text)
    shutil.rmtree(root / "drift")
    report = ran(root, declared_in(shop / "orders"))
    assert report.exit_status == 2
    assert {name for name, verdict in verdicts(report).items() if verdict == "failed"} == {"watch ltv"}
    assert "reference.json is damaged" in told(report, "watch ltv")
    assert verdicts(report)["check counted"] == "passed"
    last = opened(root).frame("runs").filter(pl.col("attempt") == pl.col("attempt").max())
    assert last.filter(pl.col("verdict") == "failed")["step"].to_list() == ["watch ltv"]


@pytest.mark.parametrize("name", ["about.json", "../standing.json"])
@pytest.mark.parametrize("text", ["", "[]", "{}}", '{"kind": 3}'])
def test_damaged_files_of_the_registry_are_told(shop, root, name, text):
    registry = Registry(opened(root), "ltv")
    (registry.folder / registry.versions()[0].version / name).write_text(text)
    report = ran(root, declared_in(shop / "orders"))
    assert report.exit_status == 2
    assert "is damaged" in told(report, "model ltv") + told(report, "watch ltv")
    assert verdicts(report)["check counted"] == "passed"


def test_a_fault_that_nobody_foresaw_fails_its_step_and_is_told_in_a_sentence(shop, root):
    morning = Morning(opened(root), declared_in(shop / "orders"), LAST, AT)

    def divide(morning: Morning) -> Done:
        return Done("done", str(1 / len(morning.alerts)))

    outcome = _one_step(Step("divide", "watch", frozenset(), divide), morning)
    assert (outcome.verdict, outcome.is_mistake) == ("failed", True)
    assert outcome.told.startswith("An unforeseen ZeroDivisionError (division by zero; test_account.py, line ")
    assert [each.name for each in morning.alerts] == ["divide"]


def test_a_damaged_account_hides_nothing(shop, root, tmp_path):
    path = next((root / "runs").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:40])
    report = ran(root, declared_in(shop / "orders"))
    assert verdicts(report)["check counted"] == "passed"
    assert verdicts(report)["account"] == "failed"
    assert "A file cannot be read" in told(report, "account")
    assert report.exit_status == 2
    config = tmp_path / "sojourn.toml"
    config.write_text(tomli_w.dumps(settings_of(shop / "orders")))
    done = subprocess.run(command(config, root), capture_output=True, text=True)
    assert done.returncode == 2
    assert "check counted" in done.stdout
    assert "Traceback" not in done.stderr


def test_damaged_alerts_are_written_anew(shop, root):
    path = next((root / "alerts").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:40])
    assert ran(root, declared_in(shop / "orders")).exit_status == 0
    assert opened(root).frame("alerts").is_empty()


def test_each_of_several_days_is_told_as_it_ends(shop, root):
    heard = []
    run_days(
        opened(root),
        declared_in(shop / "orders"),
        start=LAST,
        end=LAST + timedelta(days=2),
        at=AT,
        tell=lambda line: heard.append(line.split()[0]),
        ended=lambda report: heard.append(f"ended {report.day}"),
    )
    days = list(dict.fromkeys(heard))
    assert days == [str(LAST), f"ended {LAST}", str(END), f"ended {END}"]


@pytest.mark.parametrize("day", [date.max, date.min, date(2200, 1, 1)])
def test_days_that_no_log_has_are_refused(shop, root, day):
    with pytest.raises(BadInput, match="lies outside the years 1900 to 2199"):
        run_day(opened(root), declared_in(shop / "orders"), day=day, at=AT)


# What is kept names nobody.


def test_rows_that_are_refused_are_not_quoted_in_the_account(shop, root, tmp_path):
    shutil.copytree(shop / "orders", tmp_path / "orders")
    (tmp_path / "orders" / "orders-2024-12-01.csv").write_text(
        "customer_id,order_date,revenue\n" + "secret-person-1,whenever,5\n" * 900
    )
    report = ran(root, declared_in(tmp_path / "orders"))
    said = told(report, "ingest events")
    assert "900 of " in said
    assert "first in line 2" in said
    assert "secret-person-1" not in str(opened(root).frame("runs").rows()) + str(opened(root).frame("alerts").rows())


def test_engine_faults_keep_no_value():
    with pytest.raises(EngineError) as fault:
        DuckDBEngine().rows("SELECT CAST(x AS INT) FROM (VALUES ('secret-person-1')) AS t(x)")
    assert "secret-person-1" in str(fault.value)
    assert "secret-person-1" not in sentence_of(fault.value)
    assert sentence_of(TooManyRejected("with secret-person-1", plain="without")) == "without"


def test_values_of_users_are_not_named_by_a_check(shop, root):
    text = SETTINGS + '\n[checks.who]\nkind = "allowed"\ncolumn = "user_id"\nvalues = ["nobody"]\n'
    report = ran(root, declared_in(shop / "orders", text))
    assert verdicts(report)["check who"] == "failed"
    assert "c0" not in told(report, "check who")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("channel is 'c017' (2), 'c0175' (1)", "channel is '(forgotten)' (2), 'c0175' (1)"),
        ("c017 of 3c017", "c017 of 3c017"),
        ("c017", "(forgotten)"),
        ("met long-one-42, long-one-421 and xlong-one-42", "met (forgotten), long-one-421 and xlong-one-42"),
        ("a.b+c(d) 'axb+c(d)'", "(forgotten) 'axb+c(d)'"),
    ],
)
def test_ids_go_from_a_sentence_and_what_looks_like_them_stays(text, after):
    assert without(text, list(patterns(["c017", "long-one-42", "a.b+c(d)"]))) == after


@pytest.mark.parametrize(
    "kind", ['kind = "null_share"\ncolumn = "ltv_14"', 'kind = "drop"\nmax_drop = 0.5', 'kind = "rows"']
)
def test_a_check_of_a_mistyped_table_fails_and_says_what_was_meant(shop, root, kind):
    text = f'{SETTINGS}\n[checks.typo]\ntable = "predictons"\n{kind}\n'
    report = ran(root, declared_in(shop / "orders", text))
    assert (verdicts(report)["check typo"], report.exit_status) == ("failed", 2)
    assert told(report, "check typo").endswith("is not there and no section makes. Did you mean 'predictions'?")


def test_a_check_of_a_table_that_is_not_made_yet_is_skipped(shop, tmp_path):
    text = f'{SETTINGS}\n[checks.later]\ntable = "predictions"\nkind = "null_share"\ncolumn = "ltv_14"\n'
    report = ran(tmp_path / "young", declared_in(shop / "orders", text), date(2024, 9, 12))
    assert verdicts(report)["check later"] == "skipped"
