"""How far a model's total is off, and how far it would be without the one user who makes most of it."""

import polars as pl

TRUTH = "truth"


def total_bias(table: pl.DataFrame, *, said: str) -> float:
    """The total of a column over that of `truth`, less 1; 0 where nothing was spent.

    >>> total_bias(pl.DataFrame({"truth": [4.0, 4.0], "m": [5.0, 5.0]}), said="m")
    0.25
    """
    total = float(table[TRUTH].sum())
    return float(table[said].sum()) / total - 1 if total else 0.0


def bias_but_one(table: pl.DataFrame, *, said: str) -> float:
    """The bias without all rows of the one user whose own gap goes furthest the way the total is off.

    What is left of a bias that one great spender makes is small; what is left of one that all make is the same.

    >>> rows = pl.DataFrame({"user_id": ["a", "b", "c"], "truth": [10.0, 10.0, 100.0], "m": [10.0, 11.0, 20.0]})
    >>> bias_but_one(rows, said="m")
    0.05
    """
    # Sums in one order: where a total is right but for rounding, rounding alone would say which way it is off.
    rows = table.sort("user_id", TRUTH, said)
    users = rows.group_by("user_id", maintain_order=True).agg(pl.col(TRUTH).sum(), pl.col(said).sum())
    gap = pl.col(said) - pl.col(TRUTH)
    sign = 1 if float(users[said].sum()) >= float(users[TRUTH].sum()) else -1
    # Of equals the first by name, so that the order of rows does not matter.
    rest = users.sort((sign * gap), "user_id", descending=[True, False])[1:]
    return round(total_bias(rest, said=said), 12)
