"""A day's work comes in declared; its tables, models, predictions and reports come out."""

from sojourn.operate._derived import Change
from sojourn.operate.demo import DEMO_SPEC, Demo, run_demo
from sojourn.operate.forget import ForgetReport, Merged, forget, merge
from sojourn.operate.verify import Verification, verify

__all__ = [
    "DEMO_SPEC",
    "Change",
    "Demo",
    "ForgetReport",
    "Merged",
    "Verification",
    "forget",
    "merge",
    "run_demo",
    "verify",
]
