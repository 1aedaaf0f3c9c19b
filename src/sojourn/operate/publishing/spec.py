"""Where tables are published to: the sections `[publish.<name>]` of `sojourn.toml`."""

import os
import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit, urlunsplit

from pydantic import Field, field_validator, model_validator

from sojourn.core import BadSpec, Spec

SCHEMES = {"clickhouse": ("http", "https", "chdb"), "redis": ("redis", "rediss", "unix")}
PORTS = {"http": 8123, "https": 8443, "redis": 6379, "rediss": 6379}
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
        if any(ord(sign) < 32 for sign in self.url):
            raise ValueError("the url has a sign that is none; write it in one line")
        if self.is_server:
            _host(self.url)  # refuses a port that is none
        if parts.password is not None and schemes is not None:
            raise ValueError("the url holds a password; put it into a variable and name that with password_env")
        return self

    @property
    def path(self) -> Path:
        """The folder or file that `url` names, where it names one."""
        plain = self.url.removeprefix("chdb:")
        return Path(os.path.expanduser(plain)).absolute()  # noqa: PTH111 (leaves a ~ of nobody as it is)

    @property
    def is_server(self) -> bool:
        """Whether somebody must answer there: it is no file and no folder."""
        return self.to in SCHEMES and not self.is_embedded

    @property
    def is_embedded(self) -> bool:
        """Whether it is the ClickHouse that runs within this process."""
        return self.url.startswith("chdb:")

    @property
    def site(self) -> str:
        """What tells this place from others, however its url is written: two sections of one site share what is there.

        >>> PublishSpec(to="redis", url="redis://localhost").site
        'redis 127.0.0.1:6379/0 sojourn'
        """
        parts = urlsplit(self.url)
        if self.to not in SCHEMES or self.is_embedded:
            return f"{self.to} {self.path.resolve()}" + (f" {self.space}" if self.is_embedded else "")
        if self.to == "clickhouse":
            return f"{self.to} {_host(self.url)} {self.space}"
        path = parts.path.strip("/")
        number = parse_qs(parts.query).get("db", ["" if parts.scheme == "unix" else path])[0] or "0"
        return f"{self.to} {f'/{path}' if parts.scheme == 'unix' else _host(self.url)}/{number} {self.space}"

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
    """The places that the tables `[publish.<name>]` of `sojourn.toml` declare; none when there is no such table.

    Raises `BadSpec` for two sections that would replace each other's rows: two of one `space` of a Redis, where a
    version is of all tables, and one table twice at one place of another kind.
    """
    tables = settings.get("publish", {})
    unnamed = [name for name, table in tables.items() if not isinstance(table, Mapping)]
    if unnamed:
        raise BadSpec(f"[publish] has {unnamed[0]!r}, which is no table. Declare a place as [publish.{unnamed[0]}].")
    found = [PublishSpec(**{**table, "name": name}) for name, table in tables.items()]
    for one, other in combinations(found, 2):
        _refuse_the_same(one, other)
    return found


def _refuse_the_same(one: PublishSpec, other: PublishSpec) -> None:
    if one.site != other.site:
        return
    if one.to == "redis":
        raise BadSpec(
            f"[publish.{one.name}] and [publish.{other.name}] are the same space {one.space!r} of the Redis at "
            f"{one.place}, so each would remove what the other published. Put all tables into one section, or give one "
            f"of them another space."
        )
    both = [table for table in one.tables if table in other.tables]
    if both:
        raise BadSpec(
            f"[publish.{one.name}] and [publish.{other.name}] both publish table {both[0]!r} to {one.place}. Leave it "
            f"out of one of them, or give one another place."
        )


def _host(url: str) -> str:
    parts = urlsplit(url)
    name = parts.hostname or "localhost"
    name = "127.0.0.1" if name == "localhost" else name
    return f"{name}:{parts.port or PORTS[parts.scheme]}"
