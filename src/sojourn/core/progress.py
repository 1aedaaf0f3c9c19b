"""Progress of long work: on stderr, gone when done, silent when nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Advance = Callable[[int], None]
_NOW: ContextVar[Callable[[str], None] | None] = ContextVar("now", default=None)


@contextmanager
def progress(what: str, *, total: int | None = None) -> Iterator[Advance]:
    """A function to call with the number of units just done; a bar on stderr shows them while the block runs.

    Draws nothing when stderr is not a terminal, so logs and tests stay clean.

    >>> with progress("days", total=3) as advance:
    ...     advance(3)
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, now="")
        outer = _NOW.set(lambda now: bar.update(task, now=now))
        try:
            yield lambda units: bar.advance(task, units)
        finally:
            _NOW.reset(outer)


def doing(what: str) -> None:
    """Show beside the innermost bar what is worked on now; does nothing where no bar is open.

    >>> with progress("models", total=2) as advance:
    ...     doing("ltv_30: two_stage")
    """
    show = _NOW.get()
    if show is not None:
        show(what)


def say(sentence: str) -> None:
    """Print one line for the person at the terminal, on stderr."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(sentence, markup=False)
