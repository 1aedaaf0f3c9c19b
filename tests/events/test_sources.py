"""The same rows in any format are the same events; a fault of the whole source is one sentence."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
import zstandard

from sojourn.core import BadInput, BadSpec, DiskFull, EmptyInput, UnreadableSource
from sojourn.events import IngestSpec, ingest
from sojourn.events._sources import expand
from sojourn.warehouse import Warehouse
from tests.events.logs import AS_OF, stored, take, write_csv

LOG: list[dict[str, str | None]] = [
    {
        "user_id": "0042",
        "ts": "2025-03-01 10:00:00",
        "event": "buy",
        "item_id": "a",
        "amount": "1.10",
        "note": 'a, "b"',
    },
    {
        "user_id": "0042",
        "ts": "2025-03-01 10:00:00",
        "event": "buy",
        "item_id": "a",
        "amount": "1.10",
        "note": 'a, "b"',
    },
    {
        "user_id": "7",
        "ts": "2025-03-02 23:59:59",
        "event": "view",
        "item_id": None,
        "amount": None,
        "note": "two\nlines",
    },
    {"user_id": "7", "ts": "2025-03-03 00:00:00", "event": "buy", "item_id": "é", "amount": "-2.5", "note": None},
]


def as_csv(folder: Path) -> Path:
    return Path(write_csv(folder / "log.csv", LOG))


def as_jsonl(folder: Path) -> Path:
    path = folder / "log.jsonl"
    path.write_text("\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in LOG) + "\n\n")
    return path


def as_parquet(folder: Path) -> Path:
    pl.DataFrame(LOG, infer_schema_length=None).write_parquet(folder / "log.parquet")
    return folder / "log.parquet"


def as_gzip(folder: Path) -> Path:
    path = folder / "log.csv.gz"
    path.write_bytes(gzip.compress(as_csv(folder).read_bytes()))
    return path


def as_zstd(folder: Path) -> Path:
    path = folder / "log.jsonl.zst"
    path.write_bytes(zstandard.compress(as_jsonl(folder).read_bytes()))
    return path


def as_semicolons(folder: Path) -> Path:
    path = folder / "log.txt"
    pl.DataFrame(LOG, infer_schema_length=None).write_csv(path, separator=";")
    return path


def as_windows(folder: Path) -> Path:
    path = folder / "log.csv"
    pl.DataFrame(LOG, infer_schema_length=None).write_csv(path, line_terminator="\r\n", include_bom=True)
    return path


def as_utf16(folder: Path) -> Path:
    path = folder / "log.csv"
    path.write_bytes(as_csv(folder).read_bytes().decode().encode("utf-16"))
    return path


FORMATS = [as_csv, as_jsonl, as_parquet, as_gzip, as_zstd, as_semicolons, as_windows, as_utf16]


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_every_format_gives_the_same_events(tmp_path, write):
    expected = Warehouse.create(tmp_path / "expected")
    take(expected, as_csv(tmp_path))
    found = Warehouse.create(tmp_path / "found")
    report = take(found, write(tmp_path))
    assert (report.read, report.kept) == (4, 4)
    assert stored(found).equals(stored(expected))
    assert set(stored(found)["user_id"]) == {"0042", "7"}, "a leading zero is part of an id"


def test_a_replay_in_another_format_is_a_replay(warehouse, tmp_path):
    take(warehouse, as_parquet(tmp_path))
    assert take(warehouse, as_jsonl(tmp_path)).duplicate == 4


def test_a_query_is_a_source(warehouse, tmp_path):
    path = as_csv(tmp_path)
    spec = IngestSpec(query=f"SELECT * FROM read_csv('{path}', all_varchar = true);")
    report = ingest(warehouse, spec, as_of=AS_OF)
    assert report.kept == 4
    assert report.sources[0].startswith("query ")
    assert take(warehouse, path).duplicate == 4


def test_folders_and_globs_name_files_once_and_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.csv", "b/1.csv.gz", "b/_hidden.csv", "b/.x/3.csv", "b/readme.md", "a.csv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("user_id,ts\n")
    assert [str(path) for path in expand(["b", "b/2.csv", "*.csv"])] == ["b/1.csv.gz", "b/2.csv", "a.csv"]


def test_files_with_other_columns_in_another_order_are_united_by_name(warehouse, tmp_path):
    one = write_csv(tmp_path / "1.csv", [{"user_id": "ann", "ts": "2025-03-01", "channel": "ads"}])
    two = write_csv(tmp_path / "2.csv", [{"ts": "2025-03-02", "screen": "home", "user_id": "bob"}])
    take(warehouse, one, two)
    found = stored(warehouse).select("user_id", "channel", "screen").sort("user_id")
    assert found.rows() == [("ann", "ads", None), ("bob", None, "home")]


def test_a_file_whose_name_has_a_wildcard_is_that_file(warehouse, tmp_path):
    write_csv(tmp_path / "log1.csv", [{"user_id": "bob", "ts": "2025-03-01"}])
    path = write_csv(tmp_path / "log[1].csv", [{"user_id": "ann", "ts": "2025-03-01"}])
    take(warehouse, path)
    assert stored(warehouse)["user_id"].to_list() == ["ann"]


def test_latin_1_is_recognised_at_the_start_and_further_down(tmp_path):
    for place, rows in (("start", 1), ("end", 40_000)):
        path = tmp_path / f"{place}.csv"
        lines = [f"u{n},2025-03-01,plain" for n in range(rows)]
        path.write_bytes("\n".join(["user_id,ts,note", *lines, "ann,2025-03-01,caf\xe9"]).encode("latin-1"))
        warehouse = Warehouse.create(tmp_path / f"w-{place}")
        report = take(warehouse, path)
        assert report.kept == rows + 1
        assert "The text is read as windows-1252: it is not UTF-8." in report.notes
        note = stored(warehouse).filter(pl.col("user_id") == "ann")["note"].to_list()
        assert note == ["café"]


def test_json_keeps_lists_and_nested_objects_as_text_and_numbers_as_numbers(warehouse, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"user_id": 7, "ts": 1740787200, "tags": ["a", "b"], "n": 2, "deep": {"x": 1}}) + "\n")
    take(warehouse, path)
    row = stored(warehouse).row(0, named=True)
    assert (row["user_id"], row["n"], row["tags"], row["deep"]) == ("7", 2, '["a","b"]', '{"x":1}')
    assert row["ts"].isoformat() == "2025-03-01T00:00:00+00:00"


def test_a_declared_type_is_kept(warehouse, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"user_id": "a", "ts": "2025-03-01", "tags": ["a", "b"], "zip": "123"}) + "\n")
    take(warehouse, path, types={"tags": "VARCHAR[]", "zip": "INTEGER"})
    row = stored(warehouse).row(0, named=True)
    assert (row["tags"], row["zip"]) == (["a", "b"], 123)


def test_parquet_types_that_spark_lacks_are_stored_as_types_it_has(warehouse, tmp_path):
    query = (
        "SELECT 7.0::DOUBLE AS user_id, TIMESTAMP '2025-03-01' AS ts, 5::HUGEINT AS huge, 6::UBIGINT AS big, "
        "uuid() AS id, 'x'::ENUM('x') AS kind, TIME '10:00' AS clock, [1, 2] AS list"
    )
    ingest(warehouse, IngestSpec(query=query), as_of=AS_OF)
    kinds = warehouse.engine.columns(
        f"SELECT user_id, huge, big, id, kind, clock, list FROM {warehouse.relation('events')}"
    )
    assert list(kinds.values()) == ["VARCHAR", "DECIMAL(38,0)", "DECIMAL(20,0)", *["VARCHAR"] * 3, "INTEGER[]"]
    assert stored(warehouse)["user_id"].to_list() == ["7"]


def write_garbage(path: Path) -> Path:
    path.write_bytes(b"\x00\x01garbage\xff" * 40)
    return path


def write_truncated(path: Path) -> Path:
    data = as_parquet(path.parent).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


BAD_FILES = [
    ("nothing.csv", lambda path: path.write_bytes(b""), EmptyInput, r"nothing.csv is empty. Leave it out"),
    ("header.csv", lambda path: path.write_text("user_id,ts\n"), EmptyInput, "holds no rows that can be read"),
    ("garbage.csv", write_garbage, UnreadableSource, r"garbage.csv is not text. Say its format"),
    ("garbage.csv.gz", write_garbage, UnreadableSource, r"garbage.csv.gz cannot be unpacked"),
    (
        "garbage.parquet",
        write_garbage,
        UnreadableSource,
        r"garbage.parquet cannot be read as parquet: .* Fetch it again",
    ),
    ("half.parquet", write_truncated, UnreadableSource, r"half.parquet cannot be read as parquet"),
    ("array.json", lambda path: path.write_text('[{"a": 1}]'), BadInput, r"one JSON array, .* jq -c"),
    ("words.jsonl", lambda path: path.write_text("a\nb\n"), BadInput, "has no line that is a JSON object"),
    ("log.xlsx", lambda path: path.write_text("a"), BadInput, r"no suffix that tells its format. Say it: --format csv"),
    ("twice.csv", lambda path: path.write_text("ts,user_id,TS\n1,2,3\n"), BadInput, "names column 'TS' twice"),
]


@pytest.mark.parametrize(("name", "write", "error", "sentence"), BAD_FILES, ids=[case[0] for case in BAD_FILES])
def test_a_fault_of_the_whole_file_is_one_sentence_and_writes_nothing(
    warehouse, tmp_path, name, write, error, sentence
):
    write(tmp_path / name)
    with pytest.raises(error, match=sentence):
        take(warehouse, tmp_path / name)
    assert warehouse.tables() == []


def test_a_missing_file_names_the_nearest(warehouse, tmp_path):
    as_csv(tmp_path)
    with pytest.raises(UnreadableSource, match=r"lag.csv does not exist. Did you mean .*log.csv\?"):
        take(warehouse, tmp_path / "lag.csv")
    with pytest.raises(UnreadableSource, match=r"\*.parquet does not exist. Check the path."):
        take(warehouse, "*.parquet")
    with pytest.raises(EmptyInput, match="holds no CSV, JSON lines or Parquet file"):
        take(warehouse, (tmp_path / "empty").mkdir() or tmp_path / "empty")


def test_a_file_without_rights_is_named(warehouse, tmp_path, monkeypatch):
    path = as_csv(tmp_path)
    really = Path.open

    def refused(self, *given, **named):
        if self.name == "log.csv":
            raise PermissionError(13, "Permission denied")
        return really(self, *given, **named)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UnreadableSource, match=r"log.csv cannot be read: Permission denied. Mend its rights"):
        take(warehouse, path)


def test_nothing_to_ingest_mixed_formats_and_a_bad_query_are_refused(warehouse, tmp_path):
    with pytest.raises(BadSpec, match="Nothing to ingest: give files, folders or globs, or a query"):
        take(warehouse)
    with pytest.raises(BadInput, match="several formats: csv, jsonl"):
        take(warehouse, as_csv(tmp_path), as_jsonl(tmp_path))
    with pytest.raises(BadInput, match=r"The query cannot be run: .*nowhere.* Try it in DuckDB first."):
        ingest(warehouse, IngestSpec(query="SELECT * FROM nowhere"), as_of=AS_OF)
    with pytest.raises(BadSpec, match="give files or a query, not both"):
        IngestSpec(files=["a.csv"], query="SELECT 1")


def test_a_full_disk_leaves_the_old_version(warehouse, tmp_path, monkeypatch):
    take(warehouse, as_csv(tmp_path))
    before = stored(warehouse)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    more = write_csv(tmp_path / "more.csv", [{"user_id": "z", "ts": "2025-03-01"}])
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull, match=r"No room left to write .* The old version still stands"):
        take(warehouse, more)
    monkeypatch.undo()
    assert stored(warehouse).equals(before)
