"""The door of every value model: the training rows checked, in order, with matrix, pace and groups of users."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sojourn.core import BadInput
from sojourn.lifetime._boost import Floats, Ints, Rows, user_groups
from sojourn.lifetime._design import KEYS, PACE_FLOOR_SHARE, Design, Pace, labelled
from sojourn.lifetime._outliers import held_in
from sojourn.lifetime.spec import ValueSpec

LEAST_USERS, LEAST_SPENDERS = 20, 10


@dataclass(frozen=True)
class Lesson:
    """What one `fit` of a value model works on; every array has one entry per training row.

    `truth` is what was spent, as far as one user may count (`held_in`); `pace` ends at the greatest of it.
    """

    keys: pl.DataFrame
    design: Design
    matrix: Floats
    group: Ints
    pace: Pace
    floor: float
    base: Floats
    truth: Floats
    name: str

    def rows(self, target: Floats, *, weight: Floats | None = None, start: Floats | None = None) -> Rows:
        """Rows for the trees with this target."""
        return Rows(self.matrix, target, self.group, self.design.categorical, weight, start)

    def held_out(self, spend: Floats) -> pl.DataFrame:
        """`user_id, as_of, truth` and this held-out prediction."""
        return self.keys.with_columns(truth=pl.Series(self.truth), **{self.name: pl.Series(spend)})


def learn(table: pl.DataFrame, *, spec: ValueSpec, where: str) -> Lesson:
    """Check the training table of a value model and make what it learns from.

    Raises `MissingColumn`, `EmptyInput`, and `BadInput` for too few users or windows in which nobody spent.
    """
    known = labelled(table, spec=spec, where=where)
    need_users(known, where=where)
    need_spend(known, spec=spec, where=where)
    need_spenders(known, spec=spec, where=where)
    design = Design.learn(known, spec=spec, where=where)
    pace = Pace.learn(known, spec=spec, where=where)
    truth = held_in(known[spec.label].cast(pl.Float64).to_numpy(), as_of=known["as_of"])
    pace = replace(pace, most=float(truth.max()))
    before = pace.of(known)
    floor = PACE_FLOOR_SHARE * float(max(before.mean(), truth.mean()))
    return Lesson(
        keys=known.select(KEYS),
        design=design,
        matrix=design.matrix(known, where=where),
        group=user_groups(known["user_id"], boost=spec.boost),
        pace=pace,
        floor=floor,
        base=before + floor,
        truth=truth,
        name=spec.name,
    )


def need_users(table: pl.DataFrame, *, where: str) -> None:
    """Raise `BadInput` when there are too few users to learn from."""
    users = table["user_id"].n_unique()
    if users < LEAST_USERS:
        raise BadInput(
            f"{where} needs at least {LEAST_USERS} users to learn from and got {users}. "
            "Bring more users, or more history."
        )


def need_spend(table: pl.DataFrame, *, spec: ValueSpec, where: str) -> None:
    """Raise `BadInput` when nobody spent anything in the label windows."""
    if not table.select((pl.col(spec.label) > 0).any()).item():
        first, last = table["as_of"].min(), table["as_of"].max()
        raise BadInput(
            f"{where}: no user spent anything within {spec.horizon_days} days after the as-of dates {first!s} to "
            f"{last!s} ({spec.label!r} is never above 0). "
            "Check the mapping of the amount column, or use other as-of dates."
        )


def need_spenders(table: pl.DataFrame, *, spec: ValueSpec, where: str) -> None:
    """Raise `BadInput` when so few users spent that trees would learn them by heart."""
    spenders = table.filter(pl.col(spec.label) > 0)["user_id"].n_unique()
    if spenders < LEAST_SPENDERS:
        raise BadInput(
            f"{where} needs at least {LEAST_SPENDERS} users who spent something within {spec.horizon_days} days after "
            f"an as-of date and got {spenders}. Bring more users or more history, or take a longer horizon."
        )


def keyed(table: pl.DataFrame, prediction: Floats, *, name: str) -> pl.DataFrame:
    """The keys of the table with a prediction beside them."""
    keys = [key for key in KEYS if key in table.columns]
    return table.select(keys).with_columns(pl.Series(name, np.asarray(prediction, dtype=np.float64)))
