"""CDNOW: 69,659 purchases of 23,570 customers, 1997 to mid-1998 (Fader & Hardie 2001; see docs/data.md)."""

from datetime import UTC, datetime
from pathlib import Path

from sojourn.core import UnreadableSource
from sojourn.events.ingest import ingest
from sojourn.events.report import IngestReport
from sojourn.events.spec import IngestSpec
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import literal

LEARNED = datetime(1998, 7, 1, tzinfo=UTC)


def ingest_cdnow(warehouse: Warehouse, *, folder: Path) -> IngestReport:
    """Fill `events` from `CDNOW_master.txt` (or `.zst`) in the folder, usually `$SOJOURN_DATA/cdnow`.

    Every line is a `purchase` on a day (its time is midnight): `amount` in USD and `cds`, how many discs.
    Raises `UnreadableSource` when the folder holds no such file.
    """
    found = [file for file in (folder / "CDNOW_master.txt", folder / "CDNOW_master.txt.zst") if file.exists()]
    if not found:
        raise UnreadableSource(
            f"{folder} holds no CDNOW_master.txt or CDNOW_master.txt.zst. docs/data.md says where from."
        )
    lines = (
        f"SELECT string_split_regex(trim(line), ' +') AS field FROM read_csv({literal(str(found[0]))}, header = false, "
        "columns = {'line': 'VARCHAR'}, delim = '\\t', quote = '', escape = '')"
    )
    query = (
        "SELECT 'purchase' AS event, field[1] AS user_id, strptime(field[2], '%Y%m%d') AS ts, "
        f"field[4] AS amount, CAST(field[3] AS BIGINT) AS cds FROM ({lines})"
    )
    columns = {"event": "event", "ts": "ts", "amount": "amount"}
    return ingest(warehouse, IngestSpec(query=query, columns=columns), as_of=LEARNED)
