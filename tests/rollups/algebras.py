"""Every aggregate with types and settings that suit it, random logs for them, and their SQL from rows to values.

The SQL takes the longest way there is: a day's rows are cut in parts, the parts merged two by two, what a day keeps
merged into spans, and spans read over two windows.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from sojourn.core import MONEY, UTC_US
from sojourn.rollups import AGGREGATES, Aggregate, ElementSql, Sql, aggregate
from sojourn.rollups.definition import whole as as_lifted
from sojourn.rollups.dialect import Dialect, DuckDBSql

FIRST, SECOND, AS_OF = date(2024, 2, 26), date(2024, 3, 4), date(2024, 3, 12)
DAYS = (AS_OF - FIRST).days
Row = dict[str, Any]

WORDS = [
    "a",
    "B",
    "b",
    "ab",
    "é",
    "zz",
    "",
    " ",
    "it's",
    "0",
    "你好",
    "ﬁ",
    "\uffee",
    "\U0001f600",
    "\U0001f469\u200d\U0001f680",
]
WHOLE = [0, 1, -1, 2, 3, 63, 64, 127, 128, 129, -128, 1000, -999, 123_456, 2**31 - 1]
PLAIN = [0.0, 1.0, -1.0, 0.1, 0.2, 0.7, 1 / 3, -2 / 3, 127.0, 128.0, 129.5, 999.999, -1000.0, 1e-3, 1e-7]
DATES = [date(2024, 2, 29), date(1969, 12, 31), date(1970, 1, 1), date(2024, 3, 1), date(1900, 1, 1)]
# What a type is called here: its SQL type, its Polars type, and values that repeat and are awkward.
POOLS: dict[str, tuple[str, Any, list[Any]]] = {
    "money": ("DECIMAL(18,4)", MONEY, [Decimal(n).scaleb(-4) for n in (*WHOLE, 12_345, -10_000, 10**12, -(10**12))]),
    "fine": ("DECIMAL(18,9)", pl.Decimal(18, 9), [Decimal(n).scaleb(-9) for n in (*WHOLE, 10**17, -(10**17))]),
    "wide": ("DECIMAL(38,10)", pl.Decimal(38, 10), [Decimal(n).scaleb(-10) for n in (*WHOLE, 10**30, -(10**30))]),
    "integer": ("INTEGER", pl.Int32, WHOLE),
    "bigint": ("BIGINT", pl.Int64, [*WHOLE, 2**40, -(2**40), 2**55 + 1]),
    "double": ("DOUBLE", pl.Float64, PLAIN),
    "wild": ("DOUBLE", pl.Float64, [0.0, -0.0, math.inf, -math.inf, math.nan, 1e300, -1e300, 5e-324, 1e-300, 1.5]),
    "text": ("VARCHAR", pl.String, WORDS),
    "date": ("DATE", pl.Date, DATES),
    "truth": ("BOOLEAN", pl.Boolean, [True, False]),
    "instant": ("TIMESTAMP WITH TIME ZONE", UTC_US, [datetime(y, 3, 1, 2, 3, 4, 5, tzinfo=UTC) for y in (1969, 2024)]),
    "words": ("VARCHAR[]", pl.List(pl.String), [[], [None], ["a"], ["a", "b", "a"], ["é", None, "\U0001f600"], WORDS]),
    "numbers": ("BIGINT[]", pl.List(pl.Int64), [[], [None], [1], [1, 2, 1], [-5, None, 2**40]]),
}
NUMBERS = ["money", "fine", "wide", "integer", "bigint", "double", "wild"]
SUMMED = [kind for kind in NUMBERS if kind != "wild"]
EXACT = ["money", "fine", "integer", "bigint"]
SINGLE = ["money", "bigint", "double", "wild", "text", "date", "truth", "instant"]
TOGETHER = ["money", "fine", "bigint", "text", "date", "truth", "words", "numbers"]
IN_TIME = ["money", "double", "text", "date", "words"]
COUNTED = [*TOGETHER, "double", "wild", "instant"]
SUITS: dict[str, list[str]] = {
    # Doubles of wildly different size lose each other when they are added, in one order or another.
    **dict.fromkeys(("sum", "mean", "sum_by"), SUMMED),
    "quantile": NUMBERS,
    **dict.fromkeys(("variance", "std"), EXACT),
    **dict.fromkeys(("min", "max"), SINGLE),
    **dict.fromkeys(("first", "last", "last_n"), IN_TIME),
    **dict.fromkeys(("top_k", "count_distinct"), COUNTED),
    "approx_count_distinct": TOGETHER,
    "longest": ["text", "words"],
    "count_by": ["text", "bigint"],
}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "quantile": [{"q": q} for q in (0.0, 0.5, 0.9, 1.0)],
    "top_k": [{}, {"k": 3}],
    "last_n": [{"k": 1}, {"k": 3}],
    "hour_histogram": [{"zone": zone} for zone in ("UTC", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe")],
    "weekday_histogram": [{"week_start": day} for day in range(7)],
}
BY = {"count_by": ["text", "bigint", "date", "truth"], "sum_by": ["text"]}


@dataclass(frozen=True)
class Case:
    """An aggregate, the names of the types of its value and its category, and its settings."""

    function: str
    kind: str
    by: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = [
            self.function,
            self.kind,
            *([self.by] if self.by else []),
            *(f"{k}={v}" for k, v in self.settings.items()),
        ]
        return "-".join(told)

    def bound(self) -> Aggregate:
        """The aggregate for these types."""
        by = POOLS[self.by][0] if self.by else None
        return aggregate(self.function)(kind=POOLS[self.kind][0], by_kind=by, **self.settings)

    def schema(self) -> dict[str, Any]:
        """The columns of a table of logs."""
        fixed = {"log": pl.Int64, "part": pl.Int64, "ts": UTC_US, "day": pl.Date, "event_id": pl.String}
        return {**fixed, "value": POOLS[self.kind][1], "category": POOLS[self.by or "text"][1]}

    def logs(self, seed: str, count: int) -> list[list[Row]]:
        """Random logs of up to 20 rows: values repeat and are often null, instants repeat, ids are unique."""
        rng = random.Random(f"{self} {seed}")
        return [self.log(rng, rng.choice([0, 1, 2, 4, 8, 20])) for _ in range(count)]

    def log(self, rng: random.Random, size: int) -> list[Row]:
        """One random log; half of all logs hold two values only, so that there are ties."""
        values, categories = POOLS[self.kind][2], POOLS[self.by or "text"][2]
        some = rng.sample(values, 2) if rng.random() < 0.5 else values
        start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
        tag = rng.randrange(10**9)  # ids are unique, in logs that are merged too
        found = []
        for at in range(size):
            ts = start + timedelta(hours=6 * rng.randrange(4 * DAYS), minutes=rng.choice([0, 0, 29, 30]))
            value, by = rng.choice([None, *some, *some]), rng.choice([None, *categories, *categories])
            row = {
                "value": value,
                "by": by,
                "category": by,
                "ts": ts,
                "day": ts.date(),
                "event_id": f"e{7 * at % 23:02}é{tag}",
            }
            found.append({**row, "part": rng.randrange(4)})
        return found


CASES = [
    Case(name, kind, by, chosen)
    for name in AGGREGATES
    for kind in SUITS.get(name, ["bigint"])
    for by in BY.get(name, [None])
    for chosen in SETTINGS.get(name, [{}])
]


def truth(case: Case, log: list[Row]) -> tuple[Any, Any]:
    """The values over the days before `SECOND` and over all, in Python; what depends on an end sees the window's."""
    each = case.bound()
    early = [row for row in log if row["day"] < SECOND]
    end = SECOND if isinstance(each.sql(DuckDBSql()), ElementSql) else AS_OF
    return each.finish(each.lift(early), end), each.finish(each.lift(log), AS_OF)


def values_sql(case: Case, engine: Dialect, table: str, *, in_order: bool = True) -> str:
    """A query for `log` and its values over the days before `SECOND` and over all.

    With `in_order` false states are kept as for sources whose days overlap in time.
    """
    each = case.bound()
    algebra = each.sql(engine)
    if isinstance(algebra, Sql):
        algebra = algebra if in_order else as_lifted(algebra)
        return _query(_lifted(algebra, table) + _merged(algebra), _wide_value(algebra))
    element = algebra.element.format(value="item" if algebra.lists else "value", by="category")
    unnested = engine.items("value") if algebra.lists else ""
    rows = f"(SELECT *, {element} AS element FROM (SELECT * FROM {table}) AS _rows{unnested})"
    return _query([*_lifted(algebra, rows), *_merged(algebra), *_element_steps(algebra)], _element_value(algebra))


def _query(steps: list[tuple[str, str]], last: str) -> str:
    return f"WITH {', '.join(f'{name} AS ({query})' for name, query in steps)} {last}"


def _lifted(algebra: Sql | ElementSql, rows: str) -> list[tuple[str, str]]:
    value = "item" if isinstance(algebra, ElementSql) and algebra.lists else "value"
    parts = [f"{sql.format(value=value, by='category', only='')} AS s_{part}" for part, sql in algebra.lift.items()]
    where = "WHERE element IS NOT NULL" if isinstance(algebra, ElementSql) else ""
    keys = _keys(algebra, "log", "day", "part")
    return [("lifted", f"SELECT {', '.join([keys, *parts])} FROM {rows} {where} GROUP BY {keys}")]


def _keys(algebra: Sql | ElementSql, *keys: str) -> str:
    return ", ".join([*keys, "element"] if isinstance(algebra, ElementSql) else keys)


def _merged(algebra: Sql | ElementSql) -> list[tuple[str, str]]:
    """From parts of a day to halves, days and spans of a week."""
    span = f"CASE WHEN day < DATE '{SECOND}' THEN DATE '{FIRST}' ELSE DATE '{SECOND}' END"
    whole_day, day_keys = _merge(algebra.merge, "halves", _keys(algebra, "log", "day")), _keys(algebra, "log")
    made = {part: f"s_{part}" for part in algebra.lift}
    kept = algebra.reading() if isinstance(algebra, Sql) else {part: f"{{{part}}}" for part in algebra.lift}
    opened = ", ".join(
        [f"{span} AS span", day_keys, *(f"{sql.format(**made)} AS s_{part}" for part, sql in kept.items())]
    )
    return [
        (
            "halves",
            _merge(algebra.merge, "(SELECT *, part % 2 AS half FROM lifted)", _keys(algebra, "log", "day", "half")),
        ),
        ("days", f"SELECT {opened} FROM ({whole_day}) AS _days"),
        ("spans", _merge(_across(algebra), "days", _keys(algebra, "log", "span"))),
    ]


def _across(algebra: Sql | ElementSql) -> Mapping[str, str]:
    """The templates that merge states of different days."""
    return algebra.gathering() if isinstance(algebra, Sql) else algebra.merge


def _merge(templates: Mapping[str, str], relation: str, keys: str) -> str:
    stored = {part: f"s_{part}" for part in templates}
    parts = [f"{sql.format(**stored, only='')} AS s_{part}" for part, sql in templates.items()]
    return f"SELECT {', '.join([keys, *parts])} FROM {relation} GROUP BY {keys}"


def _inside(window: str, day: str) -> str:
    return f"FILTER (WHERE {day} < DATE '{SECOND if window == 'early' else AS_OF}')"


def _wide_value(algebra: Sql) -> str:
    stored = {part: f"s_{part}" for part in algebra.gathering()}
    values = []
    for window in ("early", "whole"):
        only = _inside(window, "span")
        gathered = {part: sql.format(**stored, only=only) for part, sql in algebra.gathering().items()}
        finished = algebra.finish.format(**gathered, as_of=f"DATE '{AS_OF}'")
        values.append(f"{finished} AS {window}")
    return f"SELECT {', '.join(['log', *values])} FROM spans GROUP BY log"


def _element_steps(algebra: ElementSql) -> list[tuple[str, str]]:
    stored = {part: f"s_{part}" for part in algebra.lift}
    seen = []
    for window in ("early", "whole"):
        only = _inside(window, "span")
        seen.append(f"count(*) {only} > 0 AS in_{window}")
        seen += [f"{sql.format(**stored, only=only)} AS {part}_{window}" for part, sql in algebra.merge.items()]
    steps = [("seen_0", f"SELECT {', '.join(['log', 'element', *seen])} FROM spans GROUP BY log, element")]
    for at, (step, template) in enumerate(algebra.steps):
        made = [f"{_in_window(template, algebra, window)} AS {step}_{window}" for window in ("early", "whole")]
        steps.append((f"seen_{at + 1}", f"SELECT *, {', '.join(made)} FROM seen_{at}"))
    return steps


def _element_value(algebra: ElementSql) -> str:
    values = [f"{_in_window(algebra.finish, algebra, window)} AS {window}" for window in ("early", "whole")]
    return f"SELECT {', '.join(['log', *values])} FROM seen_{len(algebra.steps)} GROUP BY log"


def _in_window(template: str, algebra: ElementSql, window: str) -> str:
    own = {part: f"{part}_{window}" for part in [*algebra.lift, *(step for step, _ in algebra.steps)]}
    end = f"DATE '{SECOND if window == 'early' else AS_OF}'"
    return template.format(**own, element="element", present=f"in_{window}", over="PARTITION BY log", end=end)
