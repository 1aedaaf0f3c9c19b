"""A metric table and two of its periods come in; the segments that moved it, and by how much, come out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
from pydantic import Field, field_validator, model_validator

from sojourn.core import BadInput, MissingTable, Spec, missing_columns
from sojourn.evaluate.scores import write_whole
from sojourn.metrics._counted import default_board
from sojourn.metrics._partitions import refuse_other
from sojourn.metrics.acquisition import ACQUISITION_METRICS
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.catalogue import Grain, metrics_of
from sojourn.metrics.spec import BoardSpec
from sojourn.metrics.supply_demand import MARKET_METRICS, SupplyDemandSpec
from sojourn.metrics.tables import metric_relation
from sojourn.warehouse import Warehouse

FIGURES = frozenset(
    {"value", "numerator", "denominator", "mature", "board", "grain", "start", "cohort", "age"}
    | {"forecast", "forecast_low", "forecast_high"}
)
OWN_TABLES = frozenset(f"metric_{name}" for name in (*ACQUISITION_METRICS, *MARKET_METRICS))
# Columns that part a metric into series of which a sum means nothing.
SERIES = ("state", "bracket", "step", "step_name")
Segment = tuple[str, ...]
Sides = tuple[Fraction, Fraction]


class WhySpec(Spec):
    """Which change to explain: of metric `name` on `board`, from the period that starts on `start` to that on `end`.

    `by` are the dimensions that segments are told apart by; `age` picks one age of a cohort metric, whose `start` and
    `end` are then cohorts. `where` holds to one text each of other columns, such as `state` of the lifecycle.

    >>> WhySpec(name="cpi", start="2025-01-01", end="2025-02-01", grain="month", by=("channel",)).board
    'users'
    """

    name: str
    start: date
    end: date
    by: tuple[str, ...]
    grain: Grain = "week"
    board: str = "users"
    age: int | None = None
    where: dict[str, str] = Field(default_factory=dict)

    @field_validator("by")
    @classmethod
    def _some(cls, by: tuple[str, ...]) -> tuple[str, ...]:
        if not by or len(set(by)) < len(by):
            raise ValueError("name each dimension to tell segments apart by once, such as channel,country")
        return by

    @model_validator(mode="after")
    def _apart(self) -> "WhySpec":
        if self.start == self.end:
            raise ValueError(f"both periods start on {self.start}; name two")
        return self


@dataclass(frozen=True)
class Part:
    """What one segment did to the change. All numbers are exact; sides are (numerator, denominator) or (sum, 0)."""

    segment: Segment
    before: Sides
    after: Sides
    rate: Fraction
    mix: Fraction

    @property
    def effect(self) -> Fraction:
        """The segment's whole part in the change."""
        return self.rate + self.mix


@dataclass(frozen=True)
class Why:
    """A change and its parts, largest first: `before` + the sum of all `effect`s = `after`, exactly.

    `is_ratio`: the effect is a rate and a mix effect. `immature`: those of the two periods that are not over, or that
    the log does not hold whole.
    """

    spec: WhySpec
    before: Fraction
    after: Fraction
    parts: tuple[Part, ...]
    is_ratio: bool
    immature: tuple[date, ...] = ()

    @property
    def mature(self) -> bool:
        """Whether both periods are whole."""
        return not self.immature

    @property
    def change(self) -> Fraction:
        """What is explained."""
        return self.after - self.before

    def table(self) -> pl.DataFrame:
        """One row per segment, as floats: the dimensions, `value_before`, `value_after` (null for a segment that was
        not there), `weight_before`, `weight_after` (shares of the denominator; of a sum: of the sum), `rate_effect`,
        `mix_effect`, `effect` and `share` (of the change); `mature_before`, `mature_after`: is the period whole?
        """
        total = self._total("before"), self._total("after")
        rows = [
            {
                **dict(zip(self.spec.by, part.segment, strict=True)),
                "value_before": self._value(part.before),
                "value_after": self._value(part.after),
                "weight_before": self._weight(part.before, total[0]),
                "weight_after": self._weight(part.after, total[1]),
                "rate_effect": float(part.rate),
                "mix_effect": float(part.mix),
                "effect": float(part.effect),
                "share": float(part.effect / self.change) if self.change else None,
            }
            for part in self.parts
        ]
        figures = [name for name in rows[0] if name not in self.spec.by]
        schema = {**dict.fromkeys(self.spec.by, pl.String), **dict.fromkeys(figures, pl.Float64)}
        return pl.DataFrame(rows, schema=schema).with_columns(
            mature_before=pl.lit(self.spec.start not in self.immature),
            mature_after=pl.lit(self.spec.end not in self.immature),
        )

    def told(self) -> str:
        """The change in a sentence, with the segments that moved it most, and which period is not whole."""
        return f"{self.headline()} {self.caution()}".rstrip()

    def headline(self) -> str:
        """The change in a sentence, with the segments that moved it most."""
        name, unit = self.spec.name, self.spec.grain
        change = f"{float(self.before):,.4g} → {float(self.after):,.4g} ({float(self.change):+,.4g})"
        moved = [part for part in self.parts if part.effect][:3]
        names = "; ".join(f"{' · '.join(part.segment)} {float(part.effect):+,.4g}" for part in moved)
        return f"{name}, {unit} of {self.spec.start} → {unit} of {self.spec.end}: {change}. {names or 'Nothing moved'}."

    def caution(self) -> str:
        """The sentence that says which of the periods are not whole; empty where both are."""
        if not self.immature:
            return ""
        unit = self.spec.grain
        which = " and ".join(f"the {unit} of {day}" for day in self.immature)
        are = "is" if len(self.immature) == 1 else "are"
        return (
            f"Careful: {which} {are} not mature (not over yet, or begun before the log): the figure may still change."
        )

    def _value(self, sides: Sides) -> float | None:
        if not self.is_ratio:
            return float(sides[0])
        return float(sides[0] / sides[1]) if sides[1] else None

    def _weight(self, sides: Sides, total: Fraction) -> float | None:
        return float(sides[1 if self.is_ratio else 0] / total) if total else None

    def _total(self, side: str) -> Fraction:
        at = 1 if self.is_ratio else 0
        return sum((getattr(part, side)[at] for part in self.parts), Fraction(0))


def why_moved(
    warehouse: Warehouse,
    spec: WhySpec,
    *,
    board: BoardSpec | None = None,
    declared: AcquisitionSpec | SupplyDemandSpec | None = None,
) -> Why:
    """Why a metric changed between two periods, from its table. Works for every additive and ratio metric.

    Metrics of the catalogue are those of `board` (default: the board that is assumed without settings); all others are
    read from the table `metric_<name>`, which is refused when `declared` is given and something else made it. Raises
    `MissingTable` for a metric without a table, `MissingColumn` for a dimension that it does not have, and `BadInput`
    for a period without data, a cohort metric without an age, series that do not add up (states, brackets, steps) taken
    together, a ratio without a denominator, a table that holds no such figures, and another board than there is.
    """
    before, after = (_rows(warehouse, spec, day, board=board, declared=declared) for day in (spec.start, spec.end))
    _refuse_pooled(spec, before, after)
    is_ratio = before["denominator"].null_count() < before.height
    both = [_sides(rows, spec.by, is_ratio=is_ratio) for rows in (before, after)]
    for rows, day in zip(both, (spec.start, spec.end), strict=True):
        if is_ratio and sum(bottom for _, bottom in rows.values()) == 0:
            raise BadInput(f"why: {spec.name} is undefined on {day}: its denominator is zero. Name another period.")
    total = [_total(rows, is_ratio=is_ratio) for rows in both]
    parts = ratio_parts(*both) if is_ratio else sum_parts(*both)
    sides = zip((before, after), (spec.start, spec.end), strict=True)
    immature = tuple(day for rows, day in sides if not rows["mature"].all())
    return Why(spec, total[0], total[1], tuple(parts), is_ratio, immature)


def write_why(why: Why, path: Path) -> None:
    """Write the table of a change as CSV. Raises `UnreadableSource` when the file cannot be written."""
    write_whole(path, why.table().write_csv())


def ratio_parts(before: Mapping[Segment, Sides], after: Mapping[Segment, Sides]) -> list[Part]:
    """Rate and mix effect of each segment, largest first; together they are the change of the whole ratio, exactly.

    With w a segment's share of the denominator and r its ratio, the rate effect is the mean of its two weights times
    the change of r, the mix effect the change of w times (mean r - mean R of the whole). A segment that is not there in
    one period has no r of its own to change: its effect is mix alone, with the r of the other period. A numerator over
    nothing (costs that brought nobody) is no rate: what it adds to the whole is the segment's rate effect as it is.
    """
    whole = [sum((s[1] for s in side.values()), Fraction(0)) for side in (before, after)]
    level = sum((s[0] for s in before.values()), Fraction(0)) / whole[0]
    level = (level + sum((s[0] for s in after.values()), Fraction(0)) / whole[1]) / 2
    nothing = (Fraction(0), Fraction(0))
    parts = []
    for segment in {**before, **after}:
        sides = before.get(segment, nothing), after.get(segment, nothing)
        weights = [bottom / all_ for (_, bottom), all_ in zip(sides, whole, strict=True)]
        if any(top and not bottom for top, bottom in sides):
            moved = sides[1][0] / whole[1] - sides[0][0] / whole[0]
            parts.append(Part(segment, *sides, rate=moved, mix=(weights[0] - weights[1]) * level))
            continue
        ratios = [top / bottom if bottom else None for top, bottom in sides]
        known = [ratio for ratio in ratios if ratio is not None]
        mean = sum(known, Fraction(0)) / len(known) if known else level
        rate = (weights[0] + weights[1]) / 2 * (ratios[1] - ratios[0]) if len(known) == 2 else Fraction(0)  # type: ignore[operator]
        parts.append(Part(segment, *sides, rate=rate, mix=(weights[1] - weights[0]) * (mean - level)))
    return _largest_first(parts)


def sum_parts(before: Mapping[Segment, Sides], after: Mapping[Segment, Sides]) -> list[Part]:
    """The change of each segment of a sum, largest first."""
    nothing = (Fraction(0), Fraction(0))
    parts = []
    for segment in {**before, **after}:
        old, new = before.get(segment, nothing), after.get(segment, nothing)
        parts.append(Part(segment, old, new, rate=new[0] - old[0], mix=Fraction(0)))
    return _largest_first(parts)


def _largest_first(parts: Sequence[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: (-abs(part.effect), part.segment))


def _refuse_pooled(spec: WhySpec, before: pl.DataFrame, after: pl.DataFrame) -> None:
    """Raise `BadInput` when rows of several series, such as states, would be summed into one figure."""
    names = [name for name in SERIES if name in before.columns]
    if set(names) & set(spec.by):
        return
    for name in names:
        texts = sorted({str(text) for rows in (before, after) for text in rows[name].unique()})
        if len(texts) > 1:
            raise BadInput(
                f"why: {spec.name} is told by {name} ({', '.join(texts)}), and their sum means nothing. Pick one: "
                f"--where {name}={texts[0]}; or tell them apart: --by {','.join((*spec.by, name))}"
            )


def _rows(
    warehouse: Warehouse,
    spec: WhySpec,
    day: date,
    *,
    board: BoardSpec | None,
    declared: AcquisitionSpec | SupplyDemandSpec | None,
) -> pl.DataFrame:
    """The metric's rows of one period, at the age and the other texts asked for."""
    if warehouse.has(f"metric_{spec.name}"):
        found = _of_table(warehouse, spec, day, declared=declared)
    else:
        found = _of_board(warehouse, spec, day, board=board)
    beside = [name for name in found.columns if name not in FIGURES]
    if missing := [name for name in (*spec.by, *spec.where) if name not in beside]:
        raise missing_columns(f"why: metric {spec.name!r}", missing=missing, found=beside)
    for name, text in spec.where.items():
        found = found.filter(pl.col(name).cast(pl.String) == text)
    if "age" in found.columns:
        if spec.age is None:
            raise BadInput(f"why: {spec.name} is told by cohort and age. Say which age: --age 7")
        found = found.filter(pl.col("age") == spec.age)
    if found.is_empty():
        at = f" at age {spec.age}" if spec.age is not None else ""
        raise BadInput(
            f"why: {spec.name} of board {spec.board!r} has nothing to compare in the {spec.grain} of {day}{at}. "
            "Name a period that has data."
        )
    return found


def _of_table(
    warehouse: Warehouse, spec: WhySpec, day: date, *, declared: AcquisitionSpec | SupplyDemandSpec | None
) -> pl.DataFrame:
    """A metric that has a table of its own, partitioned by board, grain and start."""
    table = f"metric_{spec.name}"
    place = {"board": spec.board, "grain": spec.grain, "start": str(day)}
    places = warehouse.places(table)
    if places and set(places[0]) != set(place):
        raise BadInput(
            f"why: table {table!r} holds no metric: it has no partitions by board, grain and start. "
            f"{_known(warehouse, board=None)}"
        )
    if place not in places:
        starts = [each["start"] for each in places if (each["board"], each["grain"]) == (spec.board, spec.grain)]
        told = f"it has {len(starts)} of them, {min(starts)} to {max(starts)}" if starts else "it has none"
        raise BadInput(
            f"why: {spec.name} of board {spec.board!r} has no {spec.grain} that starts on {day}; {told}. "
            "Name the first day of one that has data."
        )
    if declared is not None:
        verb = "supply" if isinstance(declared, SupplyDemandSpec) else "acquisition"
        refuse_other(warehouse, declared, table=table, places=[place], verb=verb)
    rows = warehouse.frame(table, only=[place])
    if missing := [name for name in ("numerator", "denominator", "mature") if name not in rows.columns]:
        raise BadInput(
            f"why: {spec.name} does not add up over segments: table {table!r} has no column {missing[0]!r}. "
            f"{_known(warehouse, board=None)}"
        )
    return rows


def _known(warehouse: Warehouse, *, board: BoardSpec | None) -> str:
    """Which metrics can be explained, as sentences."""
    own = sorted(name.removeprefix("metric_") for name in warehouse.tables() if name in OWN_TABLES)
    told = f"Tables of their own have {', '.join(own) or 'none'}."
    return told if board is None else f"Board {board.name!r} has {', '.join(metrics_of(board))}. {told}"


def _of_board(warehouse: Warehouse, spec: WhySpec, day: date, *, board: BoardSpec | None) -> pl.DataFrame:
    """A metric of a board's catalogue, wherever it lies."""
    chosen = board or default_board(warehouse)
    known = metrics_of(chosen)
    if chosen.name != spec.board:
        raise BadInput(
            f"why: {spec.name} is asked of board {spec.board!r}, and the board at hand is {chosen.name!r}. Declare "
            f"[metrics.boards.{spec.board}], or ask for --board {chosen.name}"
        )
    if spec.name not in known:
        raise MissingTable(
            f"why: there is no metric {spec.name!r} on board {chosen.name!r}, nor a table of it in {warehouse.root}. "
            f"{_known(warehouse, board=chosen)}"
        )
    if "cohort" in known[spec.name].beside:
        # A cohort's cell of an age belongs to the period in which it was observed, so all periods are looked through.
        rows = metric_relation(warehouse, chosen, spec.name, grain=spec.grain)
        return warehouse.engine.frame(f"SELECT * FROM {rows} AS r WHERE cohort = DATE '{day}'")
    rows = metric_relation(warehouse, chosen, spec.name, grain=spec.grain, start=day, end=day + timedelta(days=1))
    return warehouse.engine.frame(f"SELECT * FROM {rows} AS r")


def _sides(rows: pl.DataFrame, by: Sequence[str], *, is_ratio: bool) -> dict[Segment, Sides]:
    """Numerator and denominator of each segment, summed exactly."""
    summed = rows.group_by(by).agg(pl.col("numerator", "denominator").sum()).sort(by)
    found: dict[Segment, Sides] = {}
    for row in summed.iter_rows():
        *segment, top, bottom = row
        sides = Fraction(Decimal(top or 0)), Fraction(Decimal(bottom or 0)) if is_ratio else Fraction(0)
        found[tuple(map(str, segment))] = sides
    return found


def _total(rows: Mapping[Segment, Sides], *, is_ratio: bool) -> Fraction:
    top, bottom = (sum((sides[at] for sides in rows.values()), Fraction(0)) for at in (0, 1))
    return top / bottom if is_ratio else top
