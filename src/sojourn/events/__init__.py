"""Raw rows of any source come in; the event log comes out, with its users, items and costs beside it."""

from sojourn.events._market_spec import MarketSpec
from sojourn.events._resettle import Touched
from sojourn.events._world_belief import best_activity
from sojourn.events._world_spec import PushPlan, WorldSpec
from sojourn.events._world_truth import truth_warehouse
from sojourn.events._world_whatif import truth_activity, truth_days
from sojourn.events.cdnow import ingest_cdnow
from sojourn.events.complete_journey import COMPLETE_JOURNEY_ZONE, ingest_complete_journey
from sojourn.events.forget import days_of_users, erase_identities, erase_users, known_among, leave_tombstones
from sojourn.events.in_place import Registration, register_events
from sojourn.events.ingest import ingest
from sojourn.events.market import MarketReport, simulate_market
from sojourn.events.merge import MergeReport, aliases_of, merge_identities
from sojourn.events.portraits import users_as_of
from sojourn.events.report import IngestReport
from sojourn.events.search import Finding, Search, find_users
from sojourn.events.simulate import SimulationReport, simulate
from sojourn.events.spec import IngestSpec

__all__ = [
    "COMPLETE_JOURNEY_ZONE",
    "Finding",
    "IngestReport",
    "IngestSpec",
    "MarketReport",
    "MarketSpec",
    "MergeReport",
    "PushPlan",
    "Registration",
    "Search",
    "SimulationReport",
    "Touched",
    "WorldSpec",
    "aliases_of",
    "best_activity",
    "days_of_users",
    "erase_identities",
    "erase_users",
    "find_users",
    "ingest",
    "ingest_cdnow",
    "ingest_complete_journey",
    "known_among",
    "leave_tombstones",
    "merge_identities",
    "register_events",
    "simulate",
    "simulate_market",
    "truth_activity",
    "truth_days",
    "truth_warehouse",
    "users_as_of",
]
