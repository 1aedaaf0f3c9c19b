"""Progress of long work: on stderr, gone when done, silent when nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


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
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda units: bar.advance(task, units)


def say(sentence: str) -> None:
    """Print one line for the person at the terminal, on stderr."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(sentence, markup=False)
