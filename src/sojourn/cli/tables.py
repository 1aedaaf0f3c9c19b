"""How a verb prints a table: columns side by side, as wide as they need."""

from collections.abc import Sequence
from typing import Any

import typer


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """The rows under their heads, as lines of text; the columns named in `right` end at the same place.

    >>> print(aligned(["window", "rows"], [["7d", "1,204"], ["all", "9"]], right=["rows"]))
    window   rows
    7d      1,204
    all         9
    """
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    told = (
        "  ".join(
            text.rjust(width) if head in right else text.ljust(width)
            for head, text, width in zip(heads, line, widths, strict=True)
        )
        for line in lines
    )
    return "\n".join(line.rstrip() for line in told)


def show_frame(table: Any, last: str) -> None:
    """Print a table as aligned text, rounded to what can be read; what a task has no figure for stays empty."""
    import polars as pl

    figures = pl.selectors.float()
    shown = table.with_columns(figures.round(4).cast(pl.String).fill_null(""))
    plain = pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, tbl_formatting="NOTHING")
    with plain, pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        typer.echo(f"{shown}\n{last}")
