"""The one door through which heavy, optional libraries come in."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from sojourn.core.errors import MissingExtra


def need(module: str, *, extra: str, for_: str) -> ModuleType:
    """The imported module, or `MissingExtra` that names the feature and the line to install.

    A library that is installed but broken raises its own error: broken is not missing.

    >>> need("json", extra="demo", for_="the example").__name__
    'json'
    """
    if find_spec(module.split(".")[0]) is None:
        raise MissingExtra(
            f"{for_} needs the library {module.split('.')[0]!r}, which is not installed. "
            f"Install it: pip install 'sojourn[{extra}]'"
        )
    return import_module(module)
