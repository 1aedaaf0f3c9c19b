"""Progress never soils stdout, and is silent when nobody watches."""

from rich.progress import Progress, TaskID

from sojourn.core import doing, progress, say


def test_progress_writes_nothing_when_stderr_is_no_terminal(capfd):
    with progress("days", total=2) as advance:
        advance(1)
        advance(1)
    assert capfd.readouterr() == ("", "")


def test_what_is_said_goes_to_stderr_as_it_is(capfd):
    say("[bold] 3 rows were kept in /data/[x]")
    assert capfd.readouterr() == ("", "[bold] 3 rows were kept in /data/[x]\n")


def test_what_is_worked_on_stands_beside_the_innermost_bar(monkeypatch):
    shown: list[tuple[str, str]] = []
    update = Progress.update

    def seen(bar: Progress, task: TaskID, *, now: str) -> None:
        shown.append((bar.tasks[0].description, now))
        update(bar, task, now=now)

    monkeypatch.setattr(Progress, "update", seen)
    doing("nobody watches")
    with progress("outer"):
        with progress("inner"):
            doing("first")
        doing("second")
    doing("nobody watches")
    assert shown == [("inner", "first"), ("outer", "second")]
