"""Rates against a slow, obvious twin; words; and what is refused at the door."""

from datetime import date
from math import isnan

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.core import BadInput, EmptyInput, MissingColumn
from sojourn.lifetime import ValueSpec
from sojourn.lifetime._design import Design, Pace, labelled, value_windows

SPEC = ValueSpec(horizon_days=30)


def frame(**columns: list[object]) -> pl.DataFrame:
    n_rows = len(next(iter(columns.values())))
    return pl.DataFrame({"user_id": [f"u{n}" for n in range(n_rows)], "as_of": [date(2024, 5, 1)] * n_rows, **columns})


def learned(table: pl.DataFrame) -> Design:
    return Design.learn(table, spec=SPEC, where="here")


users = st.lists(
    st.tuples(st.integers(1, 400), st.floats(-50, 500, allow_nan=False), st.floats(0, 900, allow_nan=False)),
    min_size=1,
    max_size=8,
)


@given(users)
def test_a_window_s_rate_is_its_sum_over_the_days_the_user_was_there(rows):
    tenure, recent, ever = (list(part) for part in zip(*rows, strict=True))
    table = frame(spend_30d=recent, spend_all=ever, tenure_days=tenure)
    matrix = learned(table).matrix(table, where="here")
    for row, (days, in_30, total) in enumerate(rows):
        assert matrix[row, 0] == pytest.approx(in_30 / min(days, 30))
        assert matrix[row, 1] == pytest.approx(total / days)


@given(users)
def test_a_decayed_rate_is_the_sum_over_the_weights_of_the_days_the_user_was_there(rows):
    table = frame(spend_decayed_14d=[recent for _, recent, _ in rows], tenure_days=[days for days, *_ in rows])
    matrix = learned(table).matrix(table, where="here")
    for row, (days, recent, _) in enumerate(rows):
        steps = 2000  # the integral of 0.5 ** (age / 14) over the days there, by the midpoint rule
        weights = sum(0.5 ** ((n + 0.5) * days / steps / 14) for n in range(steps)) * days / steps
        assert matrix[row, 0] == pytest.approx(recent / weights, rel=1e-3, abs=1e-9)


@given(users)
def test_pace_is_the_mean_rate_times_the_horizon_and_never_negative(rows):
    tenure, recent, ever = (list(part) for part in zip(*rows, strict=True))
    table = frame(spend_30d=recent, spend_all=ever, tenure_days=tenure)
    pace = Pace.learn(table, spec=SPEC, where="here").of(table)
    for row, (days, in_30, total) in enumerate(rows):
        assert pace[row] == pytest.approx(max(30 * (in_30 / min(days, 30) + total / days) / 2, 0))


def test_columns_that_are_no_sums_and_short_windows_are_read_as_they_are():
    table = frame(mean_purchase_30d=[4.0], spend_1d=[2.0], is_member=[True], tenure_days=[10])
    assert learned(table).matrix(table, where="here").tolist() == [[4.0, 2.0, 1.0, 10.0]]


def test_a_sum_without_tenure_stays_a_sum():
    table = frame(spend_30d=[60.0])
    assert learned(table).matrix(table, where="here").tolist() == [[60.0]]


def test_the_same_rate_is_not_made_twice():
    table = frame(spend_all=[60.0], spend_per_day=[6.0], tenure_days=[10])
    assert learned(table).names == ("spend_per_day", "tenure_days")


def test_words_become_codes_and_unseen_words_missing_values():
    table = frame(country=["fr", "de", None])
    design = learned(table)
    assert design.words == {"country": ("de", "fr")}
    assert design.categorical == (0,)
    codes = design.matrix(frame(country=["de", "fr", "xx"]), where="here")[:, 0]
    assert codes[:2].tolist() == [0.0, 1.0]
    assert isnan(codes[2])


def test_a_design_survives_json():
    design = learned(frame(country=["fr"], spend_30d=[1.0], tenure_days=[3]))
    assert Design.from_dict(design.to_dict()) == design


def test_windows_are_found_shortest_first_and_all_last():
    columns = ["spend_90d", "spend_all", "spend_7d", "spend_7d_of_30d", "spend_decayed_14d", "other_30d"]
    assert value_windows(columns, value="spend") == ["spend_7d", "spend_90d", "spend_all"]


def test_missing_columns_are_named_with_the_nearest_ones():
    design = learned(frame(spend_30d=[1.0], visits=[2]))
    with pytest.raises(MissingColumn, match=r"here needs column 'spend_30d'.*rename\({'spend30d': 'spend_30d'}\)"):
        design.matrix(frame(spend30d=[1.0], visits=[2]), where="here")


def test_unknown_columns_are_refused_with_the_line_that_drops_them():
    design = learned(frame(spend_30d=[1.0]))
    with pytest.raises(BadInput) as refused:
        design.matrix(frame(spend_30d=[1.0], mood=[1]), where="here")
    assert str(refused.value) == (
        "here got columns that the model was not trained with: ['mood']. Drop them: table.drop(['mood']), "
        "or fit the model again."
    )


def test_words_where_numbers_were_are_refused():
    design = learned(frame(age=[30]))
    with pytest.raises(BadInput, match=r"columns \['age'\] held numbers when the model was trained and are String now"):
        design.matrix(frame(age=["30-39"]), where="here")


def test_columns_that_trees_cannot_read_are_named():
    with pytest.raises(BadInput, match=r"not 'born' \(Date\)\. Drop these columns or turn them into numbers"):
        learned(frame(born=[date(1990, 1, 1)]))
    with pytest.raises(BadInput, match=r"here got a table without feature columns"):
        learned(frame(label_spend_30d=[1.0]))


def test_a_table_without_a_label_is_refused_in_one_sentence():
    with pytest.raises(MissingColumn, match=r"here needs column 'label_spend_30d'"):
        labelled(frame(spend_30d=[1.0]), spec=SPEC, where="here")
    empty = frame(label_spend_30d=[1.0]).clear()
    with pytest.raises(EmptyInput, match=r"here got a table without rows"):
        labelled(empty, spec=SPEC, where="here")
    unknown = frame(label_spend_30d=pl.Series([None], dtype=pl.Float64).to_list())
    with pytest.raises(
        BadInput, match=r"'label_spend_30d' is empty in all 1 rows: no label window of 30 days had ended"
    ):
        labelled(unknown, spec=SPEC, where="here")


def test_a_value_without_windows_is_refused():
    with pytest.raises(MissingColumn, match=r"here needs column 'spend_30d'"):
        Pace.learn(frame(tenure_days=[3]), spec=SPEC, where="here")
