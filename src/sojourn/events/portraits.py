"""The versions of users that were valid at an instant."""

from datetime import UTC, datetime

from sojourn.core import BadInput
from sojourn.warehouse import Warehouse


def users_as_of(warehouse: Warehouse, as_of: datetime) -> str:
    """SQL to stand after FROM: one row for each user whose portrait is known then, as it was then.

    A version is valid from `valid_from` (included) to `valid_to` (excluded; NULL while it lasts). Raises `MissingTable`
    when the warehouse has no users, and `BadInput` when `as_of` has no zone.
    """
    if as_of.tzinfo is None:
        raise BadInput(f"as_of = {as_of} has no zone. Give one: as_of.replace(tzinfo=UTC)")
    instant = f"TIMESTAMPTZ '{as_of.astimezone(UTC).isoformat()}'"
    valid = f"valid_from <= {instant} AND (valid_to IS NULL OR {instant} < valid_to)"
    return f"(SELECT * FROM {warehouse.relation('users')} WHERE {valid})"
