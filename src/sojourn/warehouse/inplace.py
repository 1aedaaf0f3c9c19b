"""Hive-partitioned Parquet that a team already has: registered, then read where it lies."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from sojourn.core import MissingTable, Spec, UnreadableSource, fingerprint
from sojourn.warehouse.engine import Engine


class InPlace(Spec):
    """Where the files lie and how their columns read as ours.

    `folder` holds sub-folders `<partition>=YYYY-MM-DD` whose value is the business day. `columns` maps each of our
    columns to a SQL expression over theirs; `filename` and `file_row_number` may be used in it. Nothing is copied:
    a partition's fingerprint is made of its files' names, sizes and times of change.
    """

    folder: str
    partition: str = "day"
    columns: dict[str, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if "day" in self.columns:
            raise ValueError("'day' comes from the partition; leave it out of columns")
        return self

    def names(self) -> list[str]:
        """The days that have a folder, sorted."""
        return sorted(sub.name.partition("=")[2] for sub in Path(self.folder).glob(f"{self.partition}=*"))

    def days(self, keep: Callable[[str], bool] | None = None) -> dict[str, list[Path]]:
        """The data files of each day, sorted, or of the days to `keep`. Raises `UnreadableSource` without any day."""
        folder, names = Path(self.folder), self.names()
        kept = names if keep is None else filter(keep, names)
        days = {day: sorted(_data_files(folder / f"{self.partition}={day}")) for day in kept}
        found = {day: files for day, files in days.items() if files}
        if not found and (keep is None or not names):
            raise UnreadableSource(
                f"{folder} holds no Parquet file under '{self.partition}=YYYY-MM-DD'. "
                f"Give the folder above the partitions, and the partition's name as InPlace(partition=...)."
            )
        return found

    def files(self, days: list[str] | None) -> list[Path]:
        """The data files of these days (None: of all). Raises `MissingTable` for a day that is not there."""
        found = self.days(None if days is None else set(days).__contains__)
        missing = [day for day in days or () if day not in found]
        if missing:
            raise MissingTable(f"{self.folder} has no partition {self.partition}={missing[0]}.")
        return [file for day in (found if days is None else days) for file in found[day]]

    def relation(self, engine: Engine, days: list[str] | None) -> str:
        """SQL to stand after FROM: these days read through the declared columns.

        A column that the first or the last of all days has is NULL on days that lack it, and has the wider type where
        they differ.
        """
        files = self.files(days)
        columns = ", ".join(f"({expression}) AS {name}" for name, expression in self.columns.items())
        ends = [] if days is None else [file for file in self._ends() if file not in files]
        source = engine.scan([str(file) for file in (*files, *ends)], hive_types={self.partition: "DATE"}, located=True)
        # One file each of the first and the last day tells the columns; of its rows none is read.
        listed = ", ".join(f"DATE '{day}'" for day in days or ())
        kept = f" WHERE {self.partition} IN ({listed})" if ends else ""
        return f"(SELECT {columns}, {self.partition} AS day FROM {source}{kept})"

    def _ends(self) -> list[Path]:
        names = self.names()
        found = self.days({names[0], names[-1]}.__contains__) if names else {}
        return [files[0] for files in found.values()]


def files_fingerprint(files: list[Path]) -> str:
    """Sixteen hexadecimal digits of the files' names, sizes and times of change."""
    parts = []
    for file in files:
        stat = file.stat()
        parts.append(f"{file.name}:{stat.st_size}:{stat.st_mtime_ns}")
    return fingerprint(*parts)


def _data_files(folder: Path) -> Iterator[Path]:
    # Spark and Hive hide their own files behind a leading '_' or '.'.
    return (file for file in folder.rglob("*.parquet") if not file.name.startswith(("_", ".")))
