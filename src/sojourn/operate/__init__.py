"""A day's work comes in declared; its tables, models, predictions and reports come out."""

from sojourn.operate._derived import Change
from sojourn.operate.account import Outcome, RunReport
from sojourn.operate.alerts import Alert, watch_alerts
from sojourn.operate.checks import CheckSpec, check_day
from sojourn.operate.contest import Contest, contest, fit_candidate, promote
from sojourn.operate.declared import Declared, RunSpec, SourceSpec, WatchSpec, declared_from, source_of
from sojourn.operate.demo import DEMO_SPEC, Demo, run_demo
from sojourn.operate.drift import reference_of, stability, write_drift
from sojourn.operate.elsewhere import Elsewhere, ForgetSpec, elsewhere_from
from sojourn.operate.forget import ForgetReport, Merged, forget, merge
from sojourn.operate.newcomers import write_newcomers
from sojourn.operate.prediction_log import backtest, log_predictions
from sojourn.operate.publishing.batch import Publisher, Sent
from sojourn.operate.publishing.spec import PublishSpec, publishers_from
from sojourn.operate.publishing.work import Published, publish
from sojourn.operate.registry import About, InForce, Registry, Standing, Watched
from sojourn.operate.run import run_day, run_days
from sojourn.operate.serving.app import make_app, run_app
from sojourn.operate.serving.spec import ServeSpec
from sojourn.operate.sources import Taken, take_in
from sojourn.operate.verify import Verification, verify

__all__ = [
    "DEMO_SPEC",
    "About",
    "Alert",
    "Change",
    "CheckSpec",
    "Contest",
    "Declared",
    "Demo",
    "Elsewhere",
    "ForgetReport",
    "ForgetSpec",
    "InForce",
    "Merged",
    "Outcome",
    "PublishSpec",
    "Published",
    "Publisher",
    "Registry",
    "RunReport",
    "RunSpec",
    "Sent",
    "ServeSpec",
    "SourceSpec",
    "Standing",
    "Taken",
    "Verification",
    "WatchSpec",
    "Watched",
    "backtest",
    "check_day",
    "contest",
    "declared_from",
    "elsewhere_from",
    "fit_candidate",
    "forget",
    "log_predictions",
    "make_app",
    "merge",
    "promote",
    "publish",
    "publishers_from",
    "reference_of",
    "run_app",
    "run_day",
    "run_days",
    "run_demo",
    "source_of",
    "stability",
    "take_in",
    "verify",
    "watch_alerts",
    "write_drift",
    "write_newcomers",
]
