"""How one column of ours is made of theirs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """How one column of ours is made: a column of theirs as it is, or a SQL expression over several.

    `needs` are those of `uses` without which there is no value; all of them when None.
    """

    sql: str
    uses: tuple[str, ...]
    plain: bool
    needs: tuple[str, ...] | None = None

    @property
    def shown(self) -> str:
        """The reading in the words of the spec."""
        return self.uses[0] if self.plain else self.sql

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns without which there is no value."""
        return self.uses if self.needs is None else self.needs
