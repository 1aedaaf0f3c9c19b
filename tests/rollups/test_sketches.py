"""Approximate answers stay within their stated bounds, and every engine makes the same sketch."""

import math
import random
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from sojourn.rollups import aggregate
from sojourn.rollups.dialect import DuckDBSql, dialect_of
from sojourn.rollups.sketches import ApproxCountDistinct
from sojourn.warehouse import DuckDBEngine, Engine, EngineSpec
from sojourn.warehouse.spark import SparkEngine
from tests.rollups.algebras import Case, values_sql

DUCKDB = DuckDBEngine(EngineSpec(threads=1))
STANDARD_ERROR = 0.023
SAMPLES: dict[str, Callable[[random.Random], float]] = {
    "lognormal": lambda rng: rng.lognormvariate(0, 3),
    "uniform": lambda rng: rng.uniform(0, 100),
    "negative": lambda rng: -rng.paretovariate(1.5),
    "around zero": lambda rng: rng.choice([0.0, -0.0, rng.gauss(0, 1)]),
    "tiny": lambda rng: rng.lognormvariate(-500, 50),
    "huge": lambda rng: rng.choice([-1, 1]) * rng.lognormvariate(500, 50),
}
POWERS = [sign * 2.0**power * near for power in range(-996, 1023) for near in (1.0, 1 - 2**-53) for sign in (1, -1)]


@pytest.mark.parametrize("size", [1, 10, 100, 1_000, 5_000, 20_000, 100_000, 1_000_000])
def test_approximate_distinct_errs_by_four_standard_errors_at_most(size):
    algebra = ApproxCountDistinct(kind="VARCHAR").sql(DuckDBSql())
    for seed in range(3):
        lifted = (
            f"SELECT {algebra.element.format(value='value')} AS element, "
            f"{algebra.lift['rank'].format(value='value')} AS rank "
            f"FROM (SELECT 'user {seed} ' || n AS value FROM range({size}) AS numbers(n)) GROUP BY element"
        )
        finish = algebra.finish.format(rank="rank", present="true")
        [(found,)] = DUCKDB.rows(f"SELECT {finish} FROM ({lifted})")
        assert abs(found - size) <= max(4 * STANDARD_ERROR * size, 0.5), f"{found} for {size} with seed {seed}"


@pytest.mark.parametrize("q", [0.0, 0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_quantile_of_doubles_errs_by_a_128th_of_itself_at_most(sample, q):
    rng = random.Random(f"{sample} {q}")
    values = [SAMPLES[sample](rng) for _ in range(997)]
    assert_near(quantile(values, "DOUBLE", q), exact(values, q))


@pytest.mark.parametrize("kind", ["DECIMAL(18,4)", "DECIMAL(38,4)", "BIGINT"])
@pytest.mark.parametrize("largest", [100, 10**6, 9 * 10**13])
def test_a_quantile_of_exact_numbers_errs_by_a_128th_of_itself_at_most(kind, largest):
    rng = random.Random(largest)
    values = [rng.randrange(-largest // 10, largest) for _ in range(501)]
    for q in (0.05, 0.5, 0.95):
        assert_near(quantile(values, kind, q), exact(values, q))


def test_whole_numbers_up_to_127_are_exact():
    for value in range(-127, 128):
        assert quantile([value], "BIGINT", 0.5) == value
        assert quantile([value], "DECIMAL(18,0)", 0.5) == value


def test_the_largest_numbers_there_are_keep_their_bound():
    for whole in (2**63 - 1, -(2**63)):
        assert_near(quantile([whole], "BIGINT", 0.5), whole)
    for value in (math.inf, math.nan, 1.7e308):
        assert_near(quantile([value], "DOUBLE", 0.5), 1.7e308)
    assert_near(quantile([-math.inf], "DOUBLE", 0.5), -1.7e308)
    assert quantile([1e-310, -1e-310, 0.0], "DOUBLE", 0.5) == 0


def test_buckets_at_powers_of_two_are_the_same_on_duckdb_as_in_python():
    assert_same_buckets(DUCKDB)


@pytest.mark.slow
def test_buckets_at_powers_of_two_are_the_same_on_spark_as_in_python(spark):
    assert_same_buckets(SparkEngine(spark))


def assert_same_buckets(engine: Engine) -> None:
    """Where logarithms are most likely to err, the quantile of one value is what Python makes of it, to the bit."""
    case = Case("quantile", "double", settings={"q": 0.5})
    frame = pl.DataFrame({"value": POWERS}).with_row_index("log").with_columns(pl.col("log").cast(pl.Int64))
    with engine.table(frame) as rows:
        day = "CAST(0 AS BIGINT) AS part, DATE '2024-02-26' AS day"
        query = values_sql(case, dialect_of(engine), f"(SELECT log, value, {day} FROM {rows}) AS _logs")
        found = engine.frame(f"SELECT log, whole FROM ({query}) AS _found ORDER BY log")
    assert found["whole"].to_list() == [quantile([value], "DOUBLE", 0.5) for value in POWERS]


def quantile(values: list[Any], kind: str, q: float) -> float:
    """The quantile by the sketch, in Python."""
    each = aggregate("quantile")(kind=kind, q=q)
    found = each.finish(each.lift([{"value": value} for value in values]))
    assert isinstance(found, float)
    return found


def exact(values: list[Any], q: float) -> float:
    """The smallest value that at least a share q of all does not exceed."""
    found: float = sorted(values)[max(math.ceil(q * len(values)), 1) - 1]
    return found


def assert_near(found: float, wanted: float) -> None:
    assert abs(found - wanted) <= abs(wanted) / 128, f"{found!r} for {wanted!r}"
