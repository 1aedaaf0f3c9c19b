"""What an address asks for and there is not is told in a sentence, and left out of what is shown."""

import pytest

from sojourn.dashboard import Filters, dashboard_app
from sojourn.dashboard.choices import board_of, choices, known
from sojourn.dashboard.pages import VIEWS
from tests.dashboard.worlds import SPEC

PAGES = {view.name: view for view in VIEWS}


@pytest.mark.parametrize(
    ("query", "left", "said"),
    [
        ("channel=carrier", "", "asks for channel 'carrier', which nobody has; there are organic"),
        ("segment=country%3DXX&grain=day", "grain=day", "asks for country 'XX', which nobody has"),
        (
            "segment=planet%3DMars",
            "",
            "planet 'Mars', and there is no such dimension; there are channel, country",
        ),
        ("channel=organic&segment=planet%3DMars", "channel=organic", "no such dimension"),
    ],
)
def test_a_filter_that_there_is_not_is_told_and_left_out(reader, query, left, said):
    filters, told = known(reader, PAGES["overview"], Filters.from_query(query))
    assert filters.query() == left
    assert len(told) == 1
    assert said in told[0]
    assert told[0].endswith("Overview is shown without that filter.")


def test_every_choice_that_is_offered_is_known(reader):
    for view in PAGES.values():
        offered = choices(reader, view)
        for name in ("channel", "segment"):
            for value, _ in offered[name][1:]:
                assert known(reader, view, Filters(**{name: value})) == (Filters(**{name: value}), [])


def test_acquisition_is_told_by_channel_and_campaign_alone(reader):
    filters, [told] = known(reader, PAGES["acquisition"], Filters(segment="country=US"))
    assert filters.segment is None
    assert "there are channel, campaign" in told


def test_a_board_without_metrics_is_told(reader):
    found, filters, [told] = board_of(reader, PAGES["overview"], Filters(board="drivers"))
    assert (found.spec.board, filters.board) == ("users", None)
    assert "'drivers', which has no metrics; there are users" in told


def test_a_csv_of_a_filter_that_there_is_not_is_refused(app):
    answer = dashboard_app(app, SPEC).server.test_client().get("/csv/overview/revenue.csv?channel=carrier")
    assert answer.status_code == 404
    assert "which nobody has" in answer.get_data(as_text=True)
