"""How a verb prints a table: columns side by side, as wide as they need."""

from collections.abc import Sequence


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
