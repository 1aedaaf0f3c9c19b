"""Every error of Sojourn, drawn as one tree.

A message has three parts: *what* was expected and what was found, *where*, and *how to mend* it. Each class also
inherits the built-in exception that a caller would guess, so `except ValueError` works as expected.
"""

from collections.abc import Sequence


class SojournError(Exception):
    """The one base: `except SojournError` catches every mistake that Sojourn reports."""

    def __str__(self) -> str:
        # KeyError and OSError print themselves in their own way; ours are always the sentence.
        return str(self.args[0]) if self.args else ""


class BadSpec(SojournError, ValueError):
    """A setting was refused when its Spec was built."""


class BadInput(SojournError, ValueError):
    """Data that cannot be used as asked: wrong type, too short, too few users, ..."""


class EmptyInput(BadInput):
    """There is nothing to work on: an empty file, an empty folder, a window without rows."""


class TooManyRejected(BadInput):
    """More rows were bad than the declared share allows; nothing was written.

    `plain` is the same sentence without any row's text, for what is kept: a row may name a user.
    """

    def __init__(self, sentence: str, *, plain: str | None = None) -> None:
        super().__init__(sentence)
        self.plain = plain or sentence


class MissingColumn(SojournError, KeyError):
    """A table lacks a column that a function needs."""


class UnreadableSource(SojournError, OSError):
    """A file or folder that could not be read."""


class NotAWarehouse(SojournError, FileNotFoundError):
    """The folder exists but holds no warehouse, or does not exist."""


class MissingTable(SojournError, LookupError):
    """The warehouse has no such table yet, or not the partition asked for."""


class Locked(SojournError, BlockingIOError):
    """Another writer holds the table."""


class DiskFull(SojournError, OSError):
    """There was no room to finish a write; the old version still stands."""


class EngineError(SojournError, RuntimeError):
    """The SQL engine refused a query; its own words follow ours, its exception is the cause."""


class Unreachable(SojournError, ConnectionError):
    """A server did not answer, or its answer was lost on the way."""


class NotFitted(SojournError, AttributeError):
    """An estimator was asked to predict before it was fitted."""


class MissingExtra(SojournError, ImportError):
    """An optional library is not installed."""


def missing_columns(where: str, *, missing: Sequence[str], found: Sequence[str]) -> MissingColumn:
    """The `MissingColumn` for these columns, with the nearest names found and a line to paste.

    >>> print(missing_columns("rollups.build", missing=["day"], found=["days"]))
    rollups.build needs column 'day'; the table has ['days']. Rename it first: table.rename({'days': 'day'})
    """
    from difflib import get_close_matches

    free = [name for name in found if name not in missing]
    near = {want: match[0] for want in missing if (match := get_close_matches(want, free, n=1, cutoff=0.5))}
    names = ", ".join(repr(name) for name in missing)
    mapping = ", ".join(f"{old!r}: {want!r}" for want, old in near.items())
    mend = f"Rename it first: table.rename({{{mapping}}})" if near else "Add it, or map another column to it."
    return MissingColumn(
        f"{where} needs column{'s' if len(missing) > 1 else ''} {names}; the table has {list(found)}. {mend}"
    )
