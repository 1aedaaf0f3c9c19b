"""Whether rows that were taken back are movements of their own: each with the earlier sale that it takes back."""

from collections.abc import Mapping

from sojourn.events._names import DOCUMENT, OWN_ID, matching
from sojourn.warehouse import Engine
from sojourn.warehouse.engine import identifier

# Rows that take back an earlier sale of the same user, item and amount in this share may be movements of their own.
PAIRED = 0.5
# A sale finds such a twin by chance, as subscriptions do: rows that were taken back must find one this much oftener.
OFTENER = 5


def takes_back(engine: Engine, relation: str, told: str, *, ts: str, columns: Mapping[str, str]) -> bool:
    """Whether most of these rows have a sale of the same user, item and amount before them, one for one.

    `told` makes the columns u, i, a and off (whether a row was taken back), `ts` the time. Where rows bear the number
    of an order, the sale must bear the same: a row with a number of its own is an order, not a movement. Where there is
    none, twins must be much rarer among sales.
    """
    own = matching((*DOCUMENT, *OWN_ID), dict(columns))
    for name in own:
        paired, _ = _shares(engine, relation, f"{told}, {identifier(name)} AS own", ts=ts)
        if paired >= PAIRED:
            return True
    if own:
        return False
    paired, by_chance = _shares(engine, relation, f"{told}, NULL AS own", ts=ts)
    return paired >= max(PAIRED, OFTENER * by_chance)


def _shares(engine: Engine, relation: str, told: str, *, ts: str) -> tuple[float, float]:
    """The share of the rows taken back, and of the sales of the same users, that have such a sale before them."""
    [(paired, by_chance)] = engine.rows(
        f"""
        WITH rows AS (SELECT {told}, {ts} AS t FROM {relation}),
        known AS (
            SELECT * FROM rows WHERE a > 0 AND t IS NOT NULL AND u IN (SELECT u FROM rows WHERE off AND a > 0)
        ),
        counted AS (
            SELECT off, row_number() OVER (PARTITION BY u, i, a, own, off ORDER BY t) AS place,
                count(*) FILTER (WHERE NOT off) OVER (PARTITION BY u, i, a, own ORDER BY t)
                - count(*) FILTER (WHERE NOT off) OVER (PARTITION BY u, i, a, own, t) AS sold_before
            FROM known
        )
        SELECT coalesce(avg(CAST(sold_before >= place AS INTEGER)) FILTER (WHERE off), 0),
               coalesce(avg(CAST(sold_before >= 1 AS INTEGER)) FILTER (WHERE NOT off), 0)
        FROM counted
        """
    )
    return float(paired), float(by_chance)
