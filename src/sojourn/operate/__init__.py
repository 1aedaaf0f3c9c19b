"""A day's work comes in declared; its tables, models, predictions and reports come out."""

from sojourn.operate._derived import Change
from sojourn.operate.demo import DEMO_SPEC, Demo, run_demo
from sojourn.operate.elsewhere import Elsewhere, ForgetSpec, elsewhere_from
from sojourn.operate.forget import ForgetReport, Merged, forget, merge
from sojourn.operate.publishing.batch import Publisher, Sent
from sojourn.operate.publishing.spec import PublishSpec, publishers_from
from sojourn.operate.publishing.work import Published, publish
from sojourn.operate.serving.app import make_app, run_app
from sojourn.operate.serving.spec import ServeSpec
from sojourn.operate.verify import Verification, verify

__all__ = [
    "DEMO_SPEC",
    "Change",
    "Demo",
    "Elsewhere",
    "ForgetReport",
    "ForgetSpec",
    "Merged",
    "PublishSpec",
    "Published",
    "Publisher",
    "Sent",
    "ServeSpec",
    "Verification",
    "elsewhere_from",
    "forget",
    "make_app",
    "merge",
    "publish",
    "publishers_from",
    "run_app",
    "run_demo",
    "verify",
]
