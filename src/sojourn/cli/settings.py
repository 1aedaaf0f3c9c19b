"""What `sojourn.toml` declares, section by section, for the Spec of each verb."""

import tomllib
from pathlib import Path
from typing import Any

from sojourn.core import BadSpec, UnreadableSource
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec

DEFAULT = Path("sojourn.toml")
SECTIONS = (
    "warehouse",
    "engine",
    "ingest",
    "rollups",
    "metrics",
    "features",
    "lifetime",
    "newcomers",
    "retention",
    "effects",
    "run",
    "checks",
    "watch",
    "publish",
    "serve",
    "forget",
    "dashboard",
    "acquisition",
    "supply_demand",
)


def read_settings(path: Path | None) -> dict[str, Any]:
    """The sections of the settings file; of `./sojourn.toml` when None, and empty when that does not exist.

    Raises `UnreadableSource` for a file that is not there and `BadSpec` for one that is not TOML or has a section that
    no verb reads.
    """
    if path is None and not DEFAULT.exists():
        return {}
    path = path or DEFAULT
    try:
        settings = tomllib.loads(path.read_text())
    except OSError as fault:
        raise UnreadableSource(f"{path} cannot be read: {fault.strerror}. Give the settings with --config.") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise BadSpec(f"{path} is not TOML: {fault}. Mend that line.") from fault
    for name, section in settings.items():
        if name in SECTIONS and not isinstance(section, dict):
            raise BadSpec(
                f"{path} has {name} = {section!r}, which is no section. Write [{name}] and its settings below."
            )
    unknown = sorted(set(settings) - set(SECTIONS))
    if unknown:
        raise BadSpec(f"{path} has section [{unknown[0]}], which nothing reads. Sections are: {', '.join(SECTIONS)}.")
    return settings


def open_warehouse(root: Path, settings: dict[str, Any]) -> Warehouse:
    """The warehouse in this folder, with the settings' engine.

    Raises `NotAWarehouse`, and refuses settings that declare another zone or week start than the warehouse has.
    """
    if settings.get("warehouse") and (root / "_sojourn.json").exists():
        return create_warehouse(root, settings)
    return Warehouse.open(root, engine=_engine(settings))


def create_warehouse(root: Path, settings: dict[str, Any], *, zone: str | None = None) -> Warehouse:
    """The warehouse in this folder, made when missing with the settings' zone and week start, or with this zone.

    Without a declared zone an existing warehouse keeps its own and a new one takes UTC.
    """
    declared = dict(settings.get("warehouse", {}))
    if zone is not None:
        declared["zone"] = zone
    if not declared and (root / "_sojourn.json").exists():
        return Warehouse.open(root, engine=_engine(settings))
    return Warehouse.create(root, WarehouseSpec(**declared), engine=_engine(settings))


def _engine(settings: dict[str, Any]) -> EngineSpec:
    return EngineSpec(**settings.get("engine", {}))
