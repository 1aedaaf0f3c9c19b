"""Events come in and are counted into mergeable day partials; out come exact values over any rolling window."""

from sojourn.rollups.algebra import Aggregate, ElementSql, Sql
from sojourn.rollups.catalogue import AGGREGATES, aggregate
from sojourn.rollups.conserved import verify_source
from sojourn.rollups.daily import AdvanceReport, advance
from sojourn.rollups.definition import Definition, define
from sojourn.rollups.findings import Check, VerifySpec
from sojourn.rollups.grains import Cell
from sojourn.rollups.history import need_history
from sojourn.rollups.known import Known, known_at
from sojourn.rollups.ledger import Ledger, ledger
from sojourn.rollups.lifting import state_column
from sojourn.rollups.looks import windows_at
from sojourn.rollups.partials import BackfillReport, backfill, rebuild, refreshed
from sojourn.rollups.plan import Line, Load, Plan, plan
from sojourn.rollups.reading import window_query, window_table
from sojourn.rollups.spec import AggregateSpec, RollupSpec, rollups_from, user_rollup
from sojourn.rollups.verify import verify_files, verify_rollup
from sojourn.rollups.windows import Reading, Window, ahead, named, past, whole_past

__all__ = [
    "AGGREGATES",
    "AdvanceReport",
    "Aggregate",
    "AggregateSpec",
    "BackfillReport",
    "Cell",
    "Check",
    "Definition",
    "ElementSql",
    "Known",
    "Ledger",
    "Line",
    "Load",
    "Plan",
    "Reading",
    "RollupSpec",
    "Sql",
    "VerifySpec",
    "Window",
    "advance",
    "aggregate",
    "ahead",
    "backfill",
    "define",
    "known_at",
    "ledger",
    "named",
    "need_history",
    "past",
    "plan",
    "rebuild",
    "refreshed",
    "rollups_from",
    "state_column",
    "user_rollup",
    "verify_files",
    "verify_rollup",
    "verify_source",
    "whole_past",
    "window_query",
    "window_table",
    "windows_at",
]
