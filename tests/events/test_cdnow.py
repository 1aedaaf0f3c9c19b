"""CDNOW, from the folder of public data sets."""

import pytest

from sojourn.core import UnreadableSource
from sojourn.events import ingest_cdnow


def test_every_purchase_is_kept(warehouse, real_data):
    report = ingest_cdnow(warehouse, folder=real_data / "cdnow")
    assert report.conservation == "read 69,659 = kept 69,659 + duplicate 0 + rejected 0"
    # Birth certificate: the file's own read_me and awk '{ d += $4 } END { print d }'.
    found = warehouse.engine.rows(
        "SELECT count(DISTINCT user_id), CAST(sum(amount) AS VARCHAR), CAST(min(day) AS VARCHAR), "
        f"CAST(max(day) AS VARCHAR) FROM {warehouse.relation('events')}"
    )
    assert found == [(23_570, "2500315.6300", "1997-01-01", "1998-06-30")]


def test_a_folder_without_the_file_is_told(warehouse, tmp_path):
    with pytest.raises(UnreadableSource, match=r"holds no CDNOW_master\.txt"):
        ingest_cdnow(warehouse, folder=tmp_path)
