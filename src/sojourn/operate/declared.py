"""The sections of a `sojourn.toml` come in; a day's work comes out as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import Field, model_validator

from sojourn.core import BadSpec, Spec
from sojourn.events import IngestSpec
from sojourn.features import FeatureSpec, features_from
from sojourn.lifetime import LifetimeSpec, NewcomerSpec, RetentionSpec
from sojourn.metrics import (
    AcquisitionSpec,
    BoardSpec,
    SupplyDemandSpec,
    acquisition_from,
    metrics_from,
    supply_demand_from,
)
from sojourn.operate.checks import CheckSpec, Severity
from sojourn.operate.publishing.spec import PublishSpec, publishers_from
from sojourn.rollups import RollupSpec, rollups_from

SOURCES = ("events", "users", "items", "costs")
READ_FEATURES = {"features", "lifetime", "retention", "newcomers"}


class SourceSpec(Spec):
    """Where a table's rows come from: files or a query to take in, or a folder of partitions read `in_place`."""

    spec: IngestSpec
    in_place: str | None = None
    partition: str = "day"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.in_place is not None and (self.spec.files or self.spec.query is not None):
            raise ValueError("in_place stands for files and query; leave those out")
        if self.in_place is not None and self.spec.table != "events":
            raise ValueError("only events are read in place; give files or a query for the other tables")
        return self

    @property
    def is_named(self) -> bool:
        """Whether it says where the rows are, and not just how they read."""
        return bool(self.spec.files) or self.spec.query is not None or self.in_place is not None


class RunSpec(Spec):
    """How the models of a daily run are looked after; the section `[run]` of `sojourn.toml`.

    - A model that is declared (`[lifetime]`, `[retention]`) and not there yet is fitted as soon as history suffices,
      unless `fit` is false.
    - Every `refit_days` a candidate is fitted on what was known before the shortest horizon, and takes over if it beats
      the model in force on the days since. None: never.
    """

    fit: bool = True
    refit_days: int | None = Field(default=None, ge=1)


class WatchSpec(Spec):
    """What is watched of predictions, and from where on it is an alert; the section `[watch]` of `sojourn.toml`.

    - `max_psi`: population stability of each feature against the model's training rows, but those in `ignore`: ages
      grow with any log.
    - `max_bias`: how far sums of predictions may be from what came, as a share; only where chance does not explain it.
    - `max_worse`: by how much the error may exceed what it was on the first days judged, as a share; likewise.
    - `max_age_days`: how old what a model knows may be.
    - `sample_users`: how many users drift and backtests look at, drawn by a hash of the id; `replicates` resamples.
    - Alerts of `severity` `fail` give exit status 1; they hold nothing back.
    """

    max_psi: float | None = Field(default=0.25, gt=0)
    max_bias: float | None = Field(default=0.25, gt=0)
    max_worse: float | None = Field(default=0.25, gt=0)
    max_age_days: int | None = Field(default=None, ge=1)
    ignore: tuple[str, ...] = ("tenure_days", "purchase_tenure_days")
    sample_users: int = Field(default=20_000, ge=100)
    replicates: int = Field(default=200, ge=10)
    severity: Severity = "fail"


@dataclass(frozen=True)
class Declared:
    """A day's work as declared; what is None or empty is not done. A board that is None is the usual one."""

    sources: tuple[SourceSpec, ...] = ()
    rollups: tuple[RollupSpec, ...] = ()
    features: FeatureSpec | None = None
    lifetime: LifetimeSpec | None = None
    retention: RetentionSpec | None = None
    newcomers: NewcomerSpec | None = None
    boards: tuple[BoardSpec | None, ...] = ()
    acquisitions: tuple[AcquisitionSpec, ...] = ()
    supply_demand: SupplyDemandSpec | None = None
    places: tuple[PublishSpec, ...] = ()
    checks: tuple[CheckSpec, ...] = ()
    run: RunSpec = field(default_factory=RunSpec)
    watch: WatchSpec | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def declared_from(settings: Mapping[str, Any]) -> Declared:
    """The day's work that the sections of `sojourn.toml` declare; a section that is not there is not done.

    Raises `BadSpec` for the first section that is wrong.

    >>> declared_from({"checks": {"some": {"kind": "rows"}}}).checks[0].name
    'some'
    """
    retention = {name: each for name, each in settings.get("retention", {}).items() if name != "plan"}
    return Declared(
        sources=_sources(settings.get("ingest")),
        rollups=tuple(rollups_from(settings)) if settings.get("rollups") else (),
        features=features_from(settings) if READ_FEATURES & set(settings) else None,
        lifetime=LifetimeSpec(**settings["lifetime"]) if "lifetime" in settings else None,
        retention=RetentionSpec(**retention) if "retention" in settings else None,
        newcomers=NewcomerSpec(**settings["newcomers"]) if "newcomers" in settings else None,
        boards=_boards(settings),
        acquisitions=tuple(acquisition_from(settings).values()) if "acquisition" in settings else (),
        supply_demand=supply_demand_from(settings) if "supply_demand" in settings else None,
        places=tuple(publishers_from(settings)),
        checks=tuple(_check(name, table) for name, table in settings.get("checks", {}).items()),
        run=RunSpec(**settings.get("run", {})),
        watch=WatchSpec(**settings["watch"]) if "watch" in settings else None,
        settings=settings,
    )


def source_of(section: Mapping[str, Any], *, table: str) -> SourceSpec:
    """The source that `[ingest]` or one of its sub-sections declares for a table."""
    if not isinstance(section, Mapping):
        raise BadSpec(f"[ingest] has {table} = {section!r}, which is no table. Declare the source as [ingest.{table}].")
    own = dict(section)
    place = {name: own.pop(name) for name in ("in_place", "partition") if name in own}
    return SourceSpec(spec=IngestSpec(**{"table": table, **own}), **place)


def _sources(section: Mapping[str, Any] | None) -> tuple[SourceSpec, ...]:
    if section is None:
        return ()
    general = {name: each for name, each in section.items() if name not in SOURCES}
    own = general.get("table", "events")
    if own not in SOURCES:
        raise BadSpec(f"[ingest] has table = {own!r}; it is one of {', '.join(SOURCES)}.")
    tables = {own: general} if general else {}
    tables |= {name: section[name] for name in SOURCES if name in section}
    found = {name: source_of(table, table=name) for name, table in tables.items()}
    return tuple(found[name] for name in SOURCES if name in found)


def _boards(settings: Mapping[str, Any]) -> tuple[BoardSpec | None, ...]:
    if "metrics" not in settings:
        return ()
    return tuple(metrics_from(settings).boards.values()) or (None,)


def _check(name: str, table: object) -> CheckSpec:
    if not isinstance(table, Mapping):
        raise BadSpec(f"[checks] has {name!r}, which is no table. Declare a check as [checks.{name}].")
    return CheckSpec(**{**table, "name": name})
