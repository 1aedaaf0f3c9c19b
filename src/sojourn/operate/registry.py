"""Fitted models go into the warehouse's folder `_models`, each whole or not at all; one small file says which counts.

`_models/<kind>/<version>/` holds what the model saved, `about.json` and `reference.json`; `standing.json` in
`_models/<kind>/` tells which version came into force as of which day, and when a candidate was last considered.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import Field

from sojourn.core import BadInput, BadSpec, Spec, UnreadableSource
from sojourn.lifetime import FittedRetention, Lifetime
from sojourn.warehouse import Warehouse
from sojourn.warehouse.files import sync, write_text
from sojourn.warehouse.locks import exclusive

Kind = Literal["ltv", "retention"]
Model = Lifetime | FittedRetention
FOLDER, STANDING, ABOUT = "_models", "standing.json", "about.json"
ROLLED_BACK = "rolled back from"
# Reference figures of the training rows, see `sojourn.operate.drift`.
Reference = dict[str, Any]


class Watched(Spec):
    """One prediction per user that can be judged: its column, and what came in the `days` from its day on.

    `aggregate` is that of the rollup which tells; where `is_absence`, the truth is 1 where it was 0.
    """

    task: str
    column: str
    aggregate: str
    days: int
    kind: Literal["value", "probability"]
    is_absence: bool = False


class About(Spec):
    """What is known of a stored model: when it was fitted, the first day of which it has seen nothing, what it says."""

    kind: Kind
    version: str
    fitted_as_of: date
    known_until: date
    told: str = ""
    watched: tuple[Watched, ...] = ()


class InForce(Spec):
    """That a version is in force for days seen from `as_of` on, and how it came to be: first, promoted, rolled back."""

    version: str
    as_of: date
    how: str


class Standing(Spec):
    """Which versions were in force, oldest first, and the day as of which a candidate was last considered."""

    history: tuple[InForce, ...] = ()
    considered: date | None = None
    notes: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Registry:
    """The models of one kind in a warehouse."""

    warehouse: Warehouse
    kind: Kind

    @property
    def folder(self) -> Path:
        """Where the versions lie."""
        return self.warehouse.root / FOLDER / self.kind

    def add(self, model: Model, *, fitted_as_of: date, reference: Reference, told: str = "") -> About:
        """Keep a fitted model; nothing happens when exactly this one is there. What a killed run left is cleared."""
        about = About(
            kind=self.kind,
            version=version_of(model),
            fitted_as_of=fitted_as_of,
            known_until=known_until(model),
            told=told,
            watched=watched_of(model),
        )
        target, staged = self.folder / about.version, self.folder / f".{uuid4().hex}"
        with self._writing():
            for stray in self.folder.glob(".*"):
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
            if target.exists():
                return self.about(about.version)
            model.save(staged)
            (staged / "reference.json").write_text(json.dumps(reference, indent=1, sort_keys=True))
            (staged / ABOUT).write_text(about.to_json())
            for path in sorted(staged.rglob("*"), reverse=True):
                sync(path)
            staged.replace(target)
            sync(self.folder)
        return about

    def versions(self) -> list[About]:
        """Every stored model, in the order of the days as of which they were fitted."""
        found = [self.about(path.parent.name) for path in self.folder.glob(f"[!.]*/{ABOUT}")]
        return sorted(found, key=lambda each: (each.fitted_as_of, each.version))

    def about(self, version: str) -> About:
        """What is known of a version, which may be named by its first digits. Raises `BadInput` for an unknown one."""
        found = sorted(self.folder.glob(f"{version}*/{ABOUT}")) if version.isalnum() else []
        if len(found) != 1:
            there = ", ".join(sorted(path.name for path in self.folder.glob("[!.]*") if path.is_dir())) or "none"
            what = "several models" if found else "no model"
            raise BadInput(
                f"There is {what} {version!r} of kind {self.kind!r}; stored are: {there}. Name one: sojourn model list"
            )
        try:
            return About.from_json(_read(found[0]))
        except (BadSpec, TypeError) as fault:
            raise _damaged(found[0], fault) from fault

    def load(self, version: str) -> Model:
        """The model of a version. Raises `UnreadableSource` for damaged files, and for what another Sojourn saved."""
        path = self.folder / version
        try:
            return Lifetime.load(path) if self.kind == "ltv" else FittedRetention.load(path)
        except (KeyError, TypeError, BadSpec) as fault:
            raise UnreadableSource(
                f"Model {version} in {self.folder} was saved by another version of Sojourn ({fault!r}). "
                f"Go back to that version, or fit again and promote: sojourn model fit {self.kind}"
            ) from fault

    def reference(self, version: str) -> Reference:
        """The reference figures of the rows that the model learned from."""
        path = self.folder / version / "reference.json"
        try:
            found = json.loads(_read(path))
        except ValueError as fault:
            raise _damaged(path, fault) from fault
        if not isinstance(found, dict):
            raise _damaged(path, "it is no table of figures")
        return found

    def standing(self) -> Standing:
        """Which version is in force, and since when."""
        path = self.folder / STANDING
        try:
            return Standing.from_json(_read(path)) if path.exists() else Standing()
        except (BadSpec, TypeError) as fault:
            raise _damaged(path, fault) from fault

    def in_force(self, as_of: date) -> InForce | None:
        """The version in force for predictions as of a day: the last that came into force by then."""
        found = [each for each in self.standing().history if each.as_of <= as_of]
        return found[-1] if found else None

    def put_in_force(self, version: str, *, as_of: date, how: str) -> None:
        """Have a version in force from a day on. What was in force on earlier days stays known.

        It counts as the day's consideration of a candidate, in the same write: a kill between the two would have the
        next run consider again what is decided.
        """
        with self._writing():
            old = self.standing()
            kept = tuple(each for each in old.history if each.as_of < as_of or each.version != version)
            entry = InForce(version=version, as_of=as_of, how=how)
            history = sorted((*kept, entry), key=lambda each: each.as_of)
            self._write(_considered(old, as_of, f"{version} is in force: {how}").with_changes(history=history))

    def consider(self, as_of: date, *, note: str) -> None:
        """Write down that a candidate was considered as of a day, and what came of it."""
        with self._writing():
            self._write(_considered(self.standing(), as_of, note))

    def roll_back(self, *, as_of: date) -> InForce:
        """Put the version in force that was so before the present one. Raises `BadInput` when there was none.

        Again it goes further back, never to what was rolled back from.
        """
        standing = _ascent([each for each in self.standing().history if each.as_of <= as_of])
        if len(standing) < 2:
            raise BadInput(f"No other model of kind {self.kind!r} was in force before, so there is none to go back to.")
        now, before = standing[-1], standing[-2]
        self.put_in_force(before, as_of=as_of, how=f"{ROLLED_BACK} {now}")
        found = self.in_force(as_of)
        assert found is not None
        return found

    def _write(self, standing: Standing) -> None:
        write_text(self.folder / STANDING, standing.to_json())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.warehouse.root / "_locks" / f"_models_{self.kind}.lock"
        with exclusive(lock, what=f"The registry of models {self.kind!r} in {self.warehouse.root}"):
            yield


def _ascent(history: Sequence[InForce]) -> list[str]:
    """The versions that led to the one in force, each better than the one before; without those rolled back from."""
    found: list[str] = []
    for each in history:
        if each.how.startswith(ROLLED_BACK) and each.version in found:
            last = len(found) - found[::-1].index(each.version)
            del found[last:]
        elif not found or found[-1] != each.version:
            found.append(each.version)
    return found


def _considered(old: Standing, as_of: date, note: str) -> Standing:
    latest = as_of if old.considered is None else max(old.considered, as_of)
    return old.with_changes(considered=latest, notes={**old.notes, str(as_of): note})


def watched_of(model: Model) -> tuple[Watched, ...]:
    """What of a model's predictions can be judged once its days are over."""
    if isinstance(model, FittedRetention):
        days = model.spec.horizon_days
        asked = {"aggregate": "active_days", "days": days, "kind": "value"}
        return (Watched(task=f"active_days_{days}", column="expected_days", **asked),)
    values = [
        Watched(task=task.name, column=task.name, aggregate=task.value, days=task.horizon_days, kind="value")
        for task in model.spec.value_tasks()
    ]
    churn = model.spec.churn_task()
    asked = {"aggregate": churn.activity, "days": churn.horizon_days, "kind": "probability", "is_absence": True}
    return (*values, Watched(task=churn.name, column=f"churn_prob_{churn.horizon_days}", **asked))


def version_of(model: Model) -> str:
    """Sixteen digits for the settings and every byte of a model; predictions carry them as `fingerprint`."""
    return model.fingerprint_ if isinstance(model, Lifetime) else model.mark


def known_until(model: Model) -> date:
    """The first day of which the model has seen nothing."""
    if isinstance(model, Lifetime):
        return model.known_until
    from datetime import timedelta

    return max(model.trained_on) + timedelta(days=model.spec.horizon_days)


def _damaged(path: Path, fault: object) -> UnreadableSource:
    mend = "Restore it, or remove the folder of that model and fit it again"
    return UnreadableSource(f"{path} is damaged: {str(fault).rstrip('.')}. {mend}.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as fault:
        raise _damaged(path, fault) from fault
    except OSError as fault:
        raise UnreadableSource(
            f"{path} cannot be read: {fault.strerror}. Restore it, or remove the folder of that model."
        ) from fault
