"""What an ingest did: rows in, rows out, and every guess it made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class IngestReport:
    """The account of one ingest; `read = kept + duplicate + rejected + forgotten` always.

    `kept` rows were new to the table; of these, `corrections` gave a known id a further version. `duplicate` rows were
    there already. `forgotten` rows are of users with a tombstone and were dropped unseen; told only where there are
    any. `reasons` counts the rejected rows by reason. `columns` says what each column of ours was made from,
    and `notes` tells what was guessed or assumed. `written` and `unchanged` count the partitions touched.
    """

    table: str
    sources: tuple[str, ...]
    read: int
    kept: int
    duplicate: int
    rejected: int
    corrections: int = 0
    forgotten: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    written: int = 0
    unchanged: int = 0

    def __post_init__(self) -> None:
        # Not an assert: a lost row must be told under python -O too.
        if self.read != self.kept + self.duplicate + self.rejected + self.forgotten:
            raise RuntimeError(f"ingest lost rows; this is a fault of Sojourn, please report it: {self.conservation}")

    @property
    def conservation(self) -> str:
        """One line that adds up.

        >>> IngestReport("events", ("a.csv",), read=1200, kept=1190, duplicate=9, rejected=1).conservation
        'read 1,200 = kept 1,190 + duplicate 9 + rejected 1'
        """
        forgotten = f" + forgotten {self.forgotten:,}" if self.forgotten else ""
        return (
            f"read {self.read:,} = kept {self.kept:,} + duplicate {self.duplicate:,} + rejected {self.rejected:,}"
            f"{forgotten}"
        )

    def lines(self) -> list[tuple[str, int]]:
        """The account as lines of a small table: a name and a count each."""
        corrections = [("  of these corrections", self.corrections)] if self.corrections else []
        reasons = [(f"  {reason}", count) for reason, count in self.reasons.items()]
        forgotten = [("forgotten", self.forgotten)] if self.forgotten else []
        return [
            ("read", self.read),
            ("kept", self.kept),
            *corrections,
            ("duplicate", self.duplicate),
            ("rejected", self.rejected),
            *reasons,
            *forgotten,
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
