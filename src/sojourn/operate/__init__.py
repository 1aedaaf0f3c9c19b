"""A day's work comes in declared; its tables, models, predictions and reports come out."""

from sojourn.operate.demo import DEMO_SPEC, Demo, run_demo

__all__ = ["DEMO_SPEC", "Demo", "run_demo"]
