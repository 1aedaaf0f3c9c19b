"""Progress never soils stdout, and is silent when nobody watches."""

from sojourn.core import progress, say


def test_progress_writes_nothing_when_stderr_is_no_terminal(capfd):
    with progress("days", total=2) as advance:
        advance(1)
        advance(1)
    assert capfd.readouterr() == ("", "")


def test_what_is_said_goes_to_stderr_as_it_is(capfd):
    say("[bold] 3 rows were kept in /data/[x]")
    assert capfd.readouterr() == ("", "[bold] 3 rows were kept in /data/[x]\n")
