"""Where tables are published to: the sections `[publish.<name>]` of `sojourn.toml`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, field_validator, model_validator

from sojourn.core import BadSpec, Spec

SCHEMES = {"clickhouse": ("http", "https", "chdb"), "redis": ("redis", "rediss", "unix")}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class PublishSpec(Spec):
    """One place where tables are published.

    `to` says what it is, `url` where:

    - `parquet`: a folder of Hive-partitioned Parquet; `duckdb`: one DuckDB file;
    - `clickhouse`: `http://user@host:8123`, `https://...`, or `chdb:FOLDER` for the embedded ClickHouse;
    - `redis`: `redis://host:6379/0`, `rediss://...` or `unix://...`.

    `tables` are those of the warehouse that go there. `space` is the database in ClickHouse and the first part of every
    key in Redis. `password_env` names the environment variable with the server's password: it never stands in a file.
    """

    name: str = "publish"
    to: Literal["parquet", "duckdb", "clickhouse", "redis"]
    url: str = Field(min_length=1)
    tables: tuple[str, ...] = Field(default=("features", "predictions"), min_length=1)
    space: str = "sojourn"
    password_env: str | None = None

    @field_validator("name", "space")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("use letters, digits and _ and begin with a letter")
        return name

    @field_validator("tables")
    @classmethod
    def _once(cls, tables: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tables)) < len(tables):
            raise ValueError("a table is named twice")
        return tables

    @model_validator(mode="after")
    def _fits(self) -> Self:
        schemes = SCHEMES.get(self.to)
        parts = urlsplit(self.url)
        if schemes is not None and parts.scheme not in schemes:
            raise ValueError(
                f"{self.to} needs a url that begins with one of {', '.join(f'{each}:' for each in schemes)}"
            )
        if schemes is None and "://" in self.url:
            raise ValueError(f"{self.to} needs the path of a {'folder' if self.to == 'parquet' else 'file'} as its url")
        if parts.password is not None and schemes is not None:
            raise ValueError("the url holds a password; put it into a variable and name that with password_env")
        return self

    @property
    def path(self) -> Path:
        """The folder or file that `url` names, where it names one."""
        return Path(self.url.removeprefix("chdb:")).expanduser().absolute()

    @property
    def is_embedded(self) -> bool:
        """Whether it is the ClickHouse that runs within this process."""
        return self.url.startswith("chdb:")

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(self.path) if self.to in {"parquet", "duckdb"} or self.is_embedded else self.url

    def with_password(self) -> str:
        """The url with the password of `password_env` in it. Raises `BadSpec` when the variable is not set."""
        if self.password_env is None:
            return self.url
        password = os.environ.get(self.password_env)
        if password is None:
            raise BadSpec(
                f"[publish.{self.name}] takes its password from the variable {self.password_env}, which is not set. "
                f"Set it: export {self.password_env}=..."
            )
        from urllib.parse import quote

        parts = urlsplit(self.url)
        user, _, host = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def publishers_from(settings: Mapping[str, Any]) -> list[PublishSpec]:
    """The places that the tables `[publish.<name>]` of `sojourn.toml` declare; none when there is no such table."""
    tables = settings.get("publish", {})
    unnamed = [name for name, table in tables.items() if not isinstance(table, Mapping)]
    if unnamed:
        raise BadSpec(f"[publish] has {unnamed[0]!r}, which is no table. Declare a place as [publish.{unnamed[0]}].")
    return [PublishSpec(**{**table, "name": name}) for name, table in tables.items()]
