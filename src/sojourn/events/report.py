"""What an ingest did: rows in, rows out, and every guess it made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class IngestReport:
    """The account of one ingest; `read = kept + duplicate + rejected` always.

    `kept` rows were new to the table; of these, `corrections` gave a known id a further version. `duplicate` rows were
    there already. `reasons` counts the rejected rows by reason. `columns` says what each column of ours was made from,
    and `notes` tells what was guessed or assumed. `written` and `unchanged` count the partitions touched.
    """

    table: str
    sources: tuple[str, ...]
    read: int
    kept: int
    duplicate: int
    rejected: int
    corrections: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    written: int = 0
    unchanged: int = 0

    def __post_init__(self) -> None:
        # Not an assert: a lost row must be told under python -O too.
        if self.read != self.kept + self.duplicate + self.rejected:
            raise RuntimeError(f"ingest lost rows; this is a fault of Sojourn, please report it: {self.conservation}")

    @property
    def conservation(self) -> str:
        """One line that adds up.

        >>> IngestReport("events", ("a.csv",), read=1200, kept=1190, duplicate=9, rejected=1).conservation
        'read 1,200 = kept 1,190 + duplicate 9 + rejected 1'
        """
        return f"read {self.read:,} = kept {self.kept:,} + duplicate {self.duplicate:,} + rejected {self.rejected:,}"

    def lines(self) -> list[tuple[str, int]]:
        """The account as lines of a small table: a name and a count each."""
        corrections = [("  of these corrections", self.corrections)] if self.corrections else []
        reasons = [(f"  {reason}", count) for reason, count in self.reasons.items()]
        return [
            ("read", self.read),
            ("kept", self.kept),
            *corrections,
            ("duplicate", self.duplicate),
            ("rejected", self.rejected),
            *reasons,
            ("partitions written", self.written),
            ("partitions unchanged", self.unchanged),
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            **vars(self),
            "sources": list(self.sources),
            "reasons": dict(self.reasons),
            "columns": dict(self.columns),
            "notes": list(self.notes),
        }
