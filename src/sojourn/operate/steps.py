"""A declared day comes in; its steps come out in order, each a function that says what it did."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from sojourn.core import BadInput
from sojourn.evaluate import as_of_grid
from sojourn.features import write_features
from sojourn.lifetime import FittedRetention, Lifetime, LifetimeSpec, log_days, score_retention, score_users
from sojourn.lifetime.scoring import predictions_fingerprint
from sojourn.metrics import (
    AcquisitionSpec,
    BoardSpec,
    advance_board,
    default_board,
    write_acquisition,
    write_supply_demand,
)
from sojourn.operate._tables import need_table
from sojourn.operate.alerts import Alert, watch_alerts
from sojourn.operate.checks import CheckSpec, check_day
from sojourn.operate.contest import fit_candidate, promote, shortest_horizon
from sojourn.operate.declared import SOURCES, Declared, SourceSpec
from sojourn.operate.drift import write_drift
from sojourn.operate.newcomers import write_newcomers
from sojourn.operate.prediction_log import LOG, PREDICTIONS, backtest, log_predictions
from sojourn.operate.publishing.spec import PublishSpec
from sojourn.operate.publishing.work import publish
from sojourn.operate.registry import Kind, Registry
from sojourn.operate.sources import take_in
from sojourn.rollups import RollupSpec, advance, backfill, ledger, need_history, past
from sojourn.warehouse import Warehouse

Verdict = Literal["done", "current", "skipped", "passed", "warned", "failed", "held back"]
ONE_DAY = timedelta(days=1)
# Nothing is published from a day on which anything failed.
PARTS = ("sources", "rollups", "features", "ltv", "retention", "newcomers", "watch", "metrics", "results")


@dataclass(frozen=True)
class Done:
    """What a step says of itself: a verdict, a sentence, and how many rows it wrote."""

    verdict: Verdict
    told: str
    rows: int | None = None


@dataclass
class Morning:
    """One morning's work: the day that has closed, when rows are learned of, and the alerts gathered so far.

    `clock` tells the time for the account; without one it stands still at `at`.
    """

    warehouse: Warehouse
    declared: Declared
    day: date
    at: datetime
    alerts: list[Alert] = field(default_factory=list)
    clock: Callable[[], datetime] | None = None

    def now(self) -> datetime:
        """The time at which the account says that a step began."""
        return self.at if self.clock is None else self.clock()

    @property
    def as_of(self) -> date:
        """The day from which one looks: the first that is not known."""
        return self.day + ONE_DAY


@dataclass(frozen=True)
class Step:
    """A part of the day's work. It is held back once a step of one of the `needs` has failed; `part` is its own."""

    name: str
    part: str
    needs: frozenset[str]
    work: Callable[[Morning], Done]


def steps_of(declared: Declared) -> list[Step]:
    """The steps of a day, in order; those of sections that are not declared are not there."""
    return [
        *(_step(f"ingest {each.spec.table}", "sources", (), _ingest(each)) for each in declared.sources),
        *_checks(declared, of_sources=True),
        *(_step(f"rollup {each.name}", "rollups", ("sources",), _rollup(each)) for each in declared.rollups),
        *_features(declared),
        *_models(declared),
        *_newcomers(declared),
        *(_step(_board_name(each), "metrics", ("sources",), _board(each)) for each in declared.boards),
        *(_step(f"acquisition {each.name}", "metrics", ("sources",), _acquire(each)) for each in declared.acquisitions),
        *_supply_demand(declared),
        *_checks(declared, of_sources=False),
        *(_step(f"publish {each.name}", "publish", PARTS, _publish(each)) for each in declared.places),
    ]


def _step(name: str, part: str, needs: tuple[str, ...], work: Callable[[Morning], Done]) -> Step:
    return Step(name, part, frozenset(needs), work)


def _ingest(source: SourceSpec) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        if not source.is_named:
            return Done("skipped", "the section names neither files nor a query nor a folder in_place")
        taken = take_in(morning.warehouse, source, as_of=morning.at)
        if taken.doubled:
            told = _doubled(taken.doubled)
            morning.alerts.append(Alert("ingest", source.spec.table, "warn", told, float(len(taken.doubled))))
            return Done("warned", f"{taken.told}; {told}", taken.rows)
        return Done("done" if taken.files and taken.rows else "current", taken.told, taken.rows)

    return work


def _doubled(files: Sequence[str]) -> str:
    more = f" and {len(files) - 1:,} more files were" if len(files) > 1 else " was"
    return (
        f"{files[0]}{more} changed after having been taken in, and no column is their event_id: rows that were changed "
        f"there count beside the old ones. Map an id of theirs in [ingest], such as "
        f"columns = {{event_id = 'order_id'}}, and take the days in anew"
    )


def _checks(declared: Declared, *, of_sources: bool) -> Iterator[Step]:
    for spec in declared.checks:
        early = spec.table in SOURCES and spec.kind != "conservation"
        if early == of_sources:
            part, needs = ("sources", ()) if early else ("results", ("sources",))
            yield _step(f"check {spec.name}", part, needs, _check(spec))


def _check(spec: CheckSpec) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        need_table(morning.warehouse, morning.declared, spec)
        found = check_day(morning.warehouse, spec, day=morning.day, rollups=morning.declared.rollups)
        if found.holds is None:
            return Done("skipped", found.told)
        if found.holds:
            return Done("passed", found.told)
        alert = Alert("check", spec.name, spec.severity, found.told, found.figure, found.limit)
        morning.alerts.append(alert)
        return Done("failed" if spec.severity == "fail" else "warned", found.told)

    return work


def _rollup(spec: RollupSpec) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        warehouse = morning.warehouse
        # Late rows may lie further back than any window.
        built = len(backfill(warehouse, spec, end=morning.as_of).built)
        days = f"{built:,} day{'' if built == 1 else 's'} built"
        found = ledger(warehouse, spec, end=morning.as_of)
        try:
            need_history(found, [morning.as_of], found.definition.windows)
        except BadInput as young:
            return Done("done" if built else "skipped", f"{days}; no windows yet: {young}")
        report = advance(warehouse, spec, day=morning.day)
        told = f"{days}, {report.rows:,} rows as of {report.as_of}"
        return Done("done" if built or report.written else "current", told, report.rows)

    return work


def _features(declared: Declared) -> Iterator[Step]:
    if "features" in declared.settings or declared.lifetime is not None:
        yield _step("features", "features", ("sources",), _write_features)


def _write_features(morning: Morning) -> Done:
    spec, place = morning.declared.features, {"as_of": str(morning.as_of)}
    assert spec is not None
    found = ledger(morning.warehouse, spec.rollup, end=morning.as_of)
    try:
        need_history(found, [morning.as_of], [past(spec.history_days)])
    except BadInput as young:
        return Done("skipped", str(young))
    before = morning.warehouse.fingerprint_of("features", place)
    info = write_features(morning.warehouse, spec, morning.as_of)
    verdict: Verdict = "current" if info.fingerprint == before else "done"
    return Done(verdict, f"{info.rows:,} users as of {morning.as_of}", info.rows)


def _models(declared: Declared) -> Iterator[Step]:
    kinds: dict[Kind, object] = {"ltv": declared.lifetime, "retention": declared.retention}
    for kind, section in kinds.items():
        if section is not None:
            needs = ("sources", "features", kind)
            yield _step(f"model {kind}", kind, needs, _look_after(kind))
            yield _step(f"predict {kind}", kind, needs, _predict(kind))
            if declared.watch is not None:
                yield _step(f"watch {kind}", "watch", needs, _watch(kind))


def _look_after(kind: Kind) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        registry = Registry(morning.warehouse, kind)
        run, found = morning.declared.run, registry.in_force(morning.as_of)
        if not registry.standing().history:
            return (
                _first_fit(morning, registry) if run.fit else Done("skipped", f"no model yet: sojourn model fit {kind}")
            )
        if found is None:
            return Done("skipped", f"no model was in force as of {morning.as_of} yet")
        seen = registry.standing().considered or found.as_of
        if run.refit_days is None or (morning.as_of - seen).days < run.refit_days:
            return Done("current", f"{found.version} is in force since {found.as_of} ({found.how.partition(':')[0]})")
        return _refit(morning, registry)

    return work


def _first_fit(morning: Morning, registry: Registry) -> Done:
    try:
        _need_log(morning, registry.kind)
        about = fit_candidate(morning.warehouse, registry.kind, morning.declared, as_of=morning.as_of)
    except BadInput as young:
        return Done("skipped", f"no model can be fitted yet: {young}")
    promote(morning.warehouse, registry, about.version, as_of=morning.as_of)
    return Done("done", f"{about.version} fitted ({about.told}); the first, it is in force")


def _need_log(morning: Morning, kind: Kind) -> None:
    """Refuse a log too short for one label window before a long look is taken."""
    declared = morning.declared
    spec = declared.lifetime if kind == "ltv" else declared.retention
    assert spec is not None
    if isinstance(spec, LifetimeSpec):
        # Longer horizons may be extrapolated.
        horizon_days = (min if spec.long_horizons == "extrapolate" else max)(spec.horizons_days)
    else:
        horizon_days = spec.horizon_days
    first, _ = log_days(morning.warehouse)
    as_of_grid(first, end_day=morning.as_of, horizon_days=horizon_days, history_days=spec.history_days)


def _refit(morning: Morning, registry: Registry) -> Done:
    found = registry.in_force(morning.as_of)
    assert found is not None
    known = morning.as_of - timedelta(days=shortest_horizon(registry.load(found.version)))
    about = fit_candidate(morning.warehouse, registry.kind, morning.declared, as_of=known)
    if about.version == found.version:
        registry.consider(morning.as_of, note=f"{about.version} again")
        return Done("current", f"fitted again, the model is the same: {about.version}")
    try:
        _, result = promote(
            morning.warehouse, registry, about.version, as_of=morning.as_of, features=morning.declared.features
        )
    except BadInput as refused:
        registry.consider(morning.as_of, note=str(refused))
        return Done("done", str(refused))
    return Done("done", f"{about.version} beats {found.version} and is in force: {result.told if result else ''}")


def _predict(kind: Kind) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        registry = Registry(morning.warehouse, kind)
        found, place = registry.in_force(morning.as_of), {"as_of": str(morning.as_of)}
        if found is None:
            return Done("skipped", f"no model is in force as of {morning.as_of}")
        before = morning.warehouse.fingerprint_of(PREDICTIONS[kind], place)
        if before is not None and _is_predicted(morning, registry, found.version, made=before):
            # Told without loading the model, which takes seconds.
            return Done("current", f"users as of {morning.as_of} by {found.version}")
        model = registry.load(found.version)
        features = morning.declared.features
        if isinstance(model, FittedRetention):
            info = score_retention(morning.warehouse, fitted=model, features=features, as_of=morning.as_of)
        else:
            assert isinstance(model, Lifetime)
            info = score_users(morning.warehouse, model=model, features=features, as_of=morning.as_of)
        logged, there = log_predictions(morning.warehouse, registry, found.version, as_of=morning.as_of)
        is_current = info.fingerprint == before and (logged is None or there)
        told = f"{info.rows:,} users as of {morning.as_of} by {found.version}"
        return Done("current" if is_current else "done", told, info.rows)

    return work


def _is_predicted(morning: Morning, registry: Registry, version: str, *, made: str) -> bool:
    """Whether the stored predictions are those of this model and today's features, and are in the log."""
    place = {"as_of": str(morning.as_of)}
    features = morning.warehouse.fingerprint_of("features", place)
    logged = {"model": registry.kind, **place, "made": made}
    is_current = registry.kind == "ltv" and features and made == predictions_fingerprint(features, version)
    return bool(is_current) and morning.warehouse.partition(LOG, logged) is not None


def _watch(kind: Kind) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        declared, warehouse, as_of = morning.declared, morning.warehouse, morning.as_of
        watch, registry = declared.watch, Registry(warehouse, kind)
        found = registry.in_force(as_of)
        assert watch is not None
        if found is None:
            return Done("skipped", f"no model is in force as of {as_of}")
        judged = backtest(warehouse, registry, end=as_of, features=declared.features, watch=watch)
        drifted = warehouse.partition("features", {"as_of": str(as_of)}) is not None
        is_old = not drifted or write_drift(warehouse, registry, found.version, as_of=as_of, watch=watch)[1]
        alerts = watch_alerts(warehouse, registry, found.version, as_of=as_of, watch=watch)
        morning.alerts.extend(alerts)
        told = f"days judged: {len(judged.judged):,} now, {judged.current:,} before; " + (
            "; ".join(each.told for each in alerts) or "no alert"
        )
        if alerts:
            return Done("warned", told)
        return Done("current" if is_old and not judged.judged else "done", told)

    return work


def _newcomers(declared: Declared) -> Iterator[Step]:
    spec = declared.newcomers
    if spec is not None:

        def work(morning: Morning) -> Done:
            try:
                rows, there = write_newcomers(
                    morning.warehouse, spec, as_of=morning.as_of, features=declared.features, money=declared.lifetime
                )
            except BadInput as young:
                return Done("skipped", f"newcomers cannot be told yet: {young}")
            told = f"{rows:,} forecasts of newcomers as of {morning.as_of}"
            return Done("current" if there else "done", told, rows)

        yield _step("newcomers", "newcomers", ("sources",), work)


def _board_name(board: BoardSpec | None) -> str:
    return "metrics" if board is None else f"metrics {board.name}"


def _board(board: BoardSpec | None) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        asked = default_board(morning.warehouse) if board is None else board
        report = advance_board(morning.warehouse, asked, day=morning.day)
        told = f"days made: {len(report.made):,} now, {report.current:,} before"
        return Done("done" if report.made else "current", told)

    return work


def _acquire(spec: AcquisitionSpec) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        report = write_acquisition(morning.warehouse, spec, as_of=morning.as_of)
        return Done("done" if report.written or report.acquired.built else "current", report.told())

    return work


def _supply_demand(declared: Declared) -> Iterator[Step]:
    spec = declared.supply_demand
    if spec is not None:

        def work(morning: Morning) -> Done:
            report = write_supply_demand(morning.warehouse, spec, as_of=morning.as_of)
            told = (
                f"days counted: {len(report.days):,}; partitions: {report.written:,} written, {report.current:,} before"
            )
            return Done("done" if report.written else "current", told)

        yield _step("supply and demand", "metrics", ("sources",), work)


def _publish(place: PublishSpec) -> Callable[[Morning], Done]:
    def work(morning: Morning) -> Done:
        there = tuple(table for table in place.tables if morning.warehouse.has(table))
        if not there:
            return Done("skipped", f"none of its tables is there yet: {', '.join(place.tables)}")
        sent = publish(morning.warehouse, spec=place.with_changes(tables=there), day=morning.day)
        missing = [f"not there yet: {table}" for table in place.tables if table not in there]
        return Done("current" if sent.is_current else "done", "; ".join([*sent.lines(), *missing]), sent.rows)

    return work
