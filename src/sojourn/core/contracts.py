"""The four contracts that every room keeps: Step, Spec, Estimator, Mergeable."""

import hashlib
import json
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import polars as pl
import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from sojourn.core.errors import BadSpec, NotFitted

Value = str | int | float | bool | None
State = TypeVar("State")


class Step(Protocol):
    """A pure function from table to table: same input, same output, input untouched.

    Time enters as `as_of` and randomness as `seed`, never from the wall clock or a global generator.
    """

    def __call__(self, table: pl.DataFrame, /) -> pl.DataFrame: ...


class Spec(BaseModel):
    """Plain, frozen settings that check themselves when built and say all that is needed to repeat a run.

    Raises `BadSpec` with the field, the value and the mend when a value is wrong or a field is unknown.

    >>> class Window(Spec):
    ...     days: int = 30
    >>> Window(days=7).days
    7
    >>> Window.from_toml(Window(days=7).to_toml()) == Window(days=7)
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        with _as_bad_spec(type(self).__name__, type(self).model_fields):
            super().__init__(**values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The spec with these values, lists and nested tables included."""
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The spec that `to_json` wrote. Raises `BadSpec` when the text is not JSON."""
        try:
            return cls(**json.loads(text))
        except json.JSONDecodeError as fault:
            raise BadSpec(f"{cls.__name__} cannot be read: the text is not JSON ({fault}).") from fault

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The spec that `to_toml` wrote. Raises `BadSpec` when the text is not TOML."""
        try:
            return cls(**tomllib.loads(text))
        except tomllib.TOMLDecodeError as fault:
            raise BadSpec(f"{cls.__name__} cannot be read: the text is not TOML ({fault}).") from fault

    def to_json(self) -> str:
        """The spec as JSON with sorted keys: equal specs give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    def to_toml(self) -> str:
        """The spec as TOML. Fields that are None are left out, which is what None means in TOML."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))

    def with_changes(self, **changes: Any) -> Self:
        """A copy with these fields changed and everything checked again."""
        return type(self)(**{**self.model_dump(), **changes})

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that equal specs share and others do not."""
        return fingerprint(type(self).__name__, self.to_json())


class Estimator(ABC):
    """A model built from a Spec: `fit` learns and returns itself, `predict` returns a table that carries its keys.

    Learned attributes end in an underscore and exist only after `fit`; a second `fit` forgets the first.
    `load(save(path))` is the identity. Nothing is ever pickled.
    """

    spec: Spec
    keys: ClassVar[tuple[str, ...]] = ("user_id",)

    @abstractmethod
    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from a table; returns itself. A second fit forgets the first."""

    @abstractmethod
    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """The table's keys with the predicted columns. Raises `NotFitted` before `fit`."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the fitted model into the folder `path` (made when missing)."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> Self:
        """The fitted model that `save` wrote into the folder `path`."""

    def check_fitted(self, attribute: str) -> None:
        """Raise `NotFitted` unless `fit` has set this attribute."""
        if attribute not in vars(self):
            name = type(self).__name__
            raise NotFitted(f"{name} is not fitted yet. Fit it first: {name}(spec).fit(table)")


class Mergeable(Protocol[State]):
    """How a value is aggregated so that it can be cut, stored and merged anywhere.

    The law, tested for every implementation: merging is associative and order-free, `empty()` changes nothing, and
    `finish(merge(lift(a), lift(b))) == finish(lift(a + b))`. Store the state, not the answer.
    """

    def empty(self) -> State:
        """The state of no rows."""

    def lift(self, rows: Iterable[Mapping[str, Any]], /) -> State:
        """The state of these rows."""

    def merge(self, left: State, right: State, /) -> State:
        """The state of both sets of rows together."""

    def finish(self, state: State, /) -> Any:
        """The value that the state stands for."""


def fingerprint(*parts: str) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of these parts, each preceded by its length.

    >>> fingerprint("ab", "c") == fingerprint("a", "bc")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(f"{len(encoded)}:".encode() + encoded)
    return digest.hexdigest()[:16]


@contextmanager
def _as_bad_spec(name: str, fields: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except ValidationError as fault:
        raise BadSpec(_sentence(name, fields, fault)) from fault


def _sentence(name: str, fields: Mapping[str, Any], fault: ValidationError) -> str:
    faults = []
    for error in fault.errors():
        where = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            faults.append(f"it has no field {where!r} (it has {', '.join(fields)})")
        elif error["type"] == "missing":
            faults.append(f"field {where!r} is missing")
        else:
            what = error["msg"].removeprefix("Value error, ")
            told = f"field {where!r} = {error['input']!r}: " if where else ""
            faults.append(f"{told}{what[:1].lower()}{what[1:]}")
    return f"{name} is wrong: {'; '.join(faults)}."


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
