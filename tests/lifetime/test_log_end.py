"""A few rows far behind all others move no end of the log, and that is told; everything else is the log's own end."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from shutil import copytree

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from sojourn.cli import app
from sojourn.lifetime import log_days, rfm_table, scoring_table, training_table
from sojourn.lifetime.log_end import known_end, stray_rows
from sojourn.warehouse import Warehouse
from tests.lifetime.test_study import DAYS, END, SPEC, filled
from tests.lifetime.worlds import FIRST


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return filled(tmp_path_factory.mktemp("clean") / "w", users=80)


def strayed(clean: Warehouse, root: Path, day: date) -> Warehouse:
    """The shop's log, and one more purchase on this day."""
    warehouse = Warehouse.open(Path(copytree(clean.root, root)))
    moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    row = pl.DataFrame(
        {
            "event_id": [f"stray-{day}"],
            "user_id": ["u1"],
            "ts": [moment],
            "event": ["purchase"],
            "amount": pl.Series(["9.99"]).cast(pl.Decimal(18, 4)),
            "arrived_at": [moment],
        }
    )
    with warehouse.writing("events") as writer:
        writer.put({"day": str(day)}, row, order_by=["event_id"], fingerprint=str(day))
    return warehouse


@pytest.mark.parametrize("stray", [date(2099, 1, 1), END + timedelta(days=200), END + timedelta(days=12)])
def test_one_late_row_moves_no_end_and_is_told(clean, stray, tmp_path, capsys):
    late = strayed(clean, tmp_path / "late", stray)
    assert log_days(late) == log_days(clean) == (min(log_days(clean)), END)
    assert known_end(late, None) == END
    told = capsys.readouterr().err
    assert f"The log's last busy day is {END - timedelta(days=1)}." in told
    assert f"--as-of {stray + timedelta(days=1)}" in told
    assert known_end(late, stray) == stray
    assert known_end(clean, None) == END
    assert capsys.readouterr().err == ""


def test_what_is_learned_is_that_of_the_log_without_the_row(clean, tmp_path):
    late = strayed(clean, tmp_path / "late", date(2099, 1, 1))
    assert training_table(late, spec=SPEC).equals(training_table(clean, spec=SPEC))
    assert scoring_table(late)["as_of"].unique().to_list() == [END]
    assert_frame_equal(rfm_table(late), rfm_table(clean))


def test_the_verb_says_so_once_and_a_day_that_is_given_counts(clean, tmp_path):
    stray = END + timedelta(days=200)
    warehouse = strayed(clean, tmp_path / "w", stray)
    settings = tmp_path / "sojourn.toml"
    settings.write_text(
        "[lifetime]\nhorizons_days = [7]\nchurn_days = 7\nstep_days = 7\nreplicates = 20\ntrain_as_ofs = 2\n"
        'models = {ltv_7 = "pace", churn_7 = "recency"}\n[lifetime.boost]\nrounds = 20\ngroups = 2\n'
    )
    flags = ["--warehouse", str(warehouse.root), "--config", str(settings)]
    done = CliRunner().invoke(app, ["ltv", "fit", "--out", str(tmp_path / "models"), *flags], catch_exceptions=False)
    assert done.stderr.count("The log's last busy day is") == 1
    given = ["--models", str(tmp_path / "models"), "--out", str(tmp_path), "--as-of", str(stray + timedelta(days=1))]
    done = CliRunner().invoke(app, ["ltv", "predict", *given, *flags], catch_exceptions=False)
    assert done.stderr == ""
    assert pl.read_parquet(tmp_path / "predictions.parquet")["as_of"].unique().to_list() == [stray + timedelta(days=1)]


usual = st.lists(st.integers(60, 140), min_size=30, max_size=60)


def by_day(counts: list[int]) -> dict[date, int]:
    return {FIRST + timedelta(days=at): rows for at, rows in enumerate(counts) if rows}


@given(usual, st.lists(st.integers(60, 40_000), min_size=1, max_size=4, unique=True), st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_no_few_rows_far_behind_move_the_end(counts, gaps, rows):
    last = FIRST + timedelta(days=len(counts) - 1)
    stray = {last + timedelta(days=gap): rows for gap in gaps}
    found = stray_rows(by_day(counts) | stray)
    assert found is not None
    assert (found.busy, found.rows, found.last) == (last, rows * len(gaps), max(stray))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=120))
@settings(max_examples=80, deadline=None)
def test_a_log_without_a_week_of_silence_ends_where_it_ends(counts):
    rows = by_day(counts)
    days = sorted(rows)
    silent = max(((after - day).days - 1 for day, after in pairwise(days)), default=0)
    if silent < 7:
        assert stray_rows(rows) is None


@pytest.mark.parametrize(
    "tail",
    [
        [0] * 20 + [100],  # after a holiday, as busy as ever
        [0] * 100 + [100] * 5,  # a season later, and more than a hundredth of all rows
        [50, 20, 9, 4, 2, 1, 0, 0, 1, 0, 1],  # an app that fades
    ],
)
def test_a_log_that_goes_on_or_fades_is_no_stray(tail):
    assert stray_rows(by_day([100] * DAYS + tail)) is None


def test_a_small_log_is_never_cut():
    assert stray_rows(by_day([1] * 40 + [0] * 300 + [1])) is None
