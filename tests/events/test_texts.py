"""A text becomes lists of its words, emoji and tags: what each holds, and that no event is another one for it."""

import re
import unicodedata
from itertools import groupby
from typing import Any

import emoji
import jieba
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import BadSpec, MissingColumn, MissingExtra
from sojourn.events import IngestSpec, _lists, register_events
from sojourn.events._stage import STAGE
from sojourn.events.spec import LISTS
from sojourn.warehouse import DuckDBEngine, Warehouse
from tests.events.logs import files_of, rows_of, stored, take, write_csv

ALL = {"note": ("words", "emoji", "tags")}
ENGINE = DuckDBEngine()


def notes(path, *texts, **more):
    """A CSV with one event for each text; an empty one is null."""
    rows = [{"user_id": f"u{n}", "ts": "2025-03-01", "event": "say", "note": text} for n, text in enumerate(texts)]
    return write_csv(path, [{**row, **more} for row in rows])


def lists(warehouse, table="events"):
    """The lists of each text that is stored."""
    found = rows_of(warehouse, "note, note_words, note_emoji, note_tags", table)
    return {text: tuple(each) for text, *each in found}


# Chinese words as jieba 0.42.1 cuts them with its own dictionary; every other list was written down by hand.
GOLDEN = {
    "Hello, World_1! It's 2 GREAT days": (["hello", "world_1", "it", "s", "2", "great", "days"], [], []),
    "好看 again again": (["好看", "again", "again"], [], []),
    "小猫喜欢晒太阳。周末去上海看演唱会": (["小猫", "喜欢", "晒太阳", "周末", "去", "上海", "看", "演唱会"], [], []),
    "机器学习iPhone15机器": (["机器", "学习", "iphone15", "机器"], [], []),
    "İSTANBUL ΣΟΦΟΣ Straße": (["istanbul", "σοφοσ", "straße"], [], []),
    "नमस्ते दुनिया, cafe\u0301": (["नमस्ते", "दुनिया", "cafe\u0301"], [], []),
    "안녕 세상 Привет": (["안녕", "세상", "привет"], [], []),
    "family 👨‍👩‍👧‍👦!": (["family"], ["👨‍👩‍👧‍👦"], []),
    "👨🏿‍👩🏻‍👧": ([], ["👨🏿‍👩🏻‍👧"], []),
    "🇫🇷🇩🇪🇯🇵": ([], ["🇫🇷", "🇩🇪", "🇯🇵"], []),
    "🏴󠁧󠁢󠁳󠁣󠁴󠁿 wins": (["wins"], ["🏴󠁧󠁢󠁳󠁣󠁴󠁿"], []),
    "👍👍🏽👍🏿ok": (["ok"], ["👍", "👍🏽", "👍🏿"], []),
    "1️⃣ first, 2 second, #️⃣": (["first", "2", "second"], ["1️⃣", "#️⃣"], []),
    "❤ and ❤️ and ❤\ufe0e": (["and", "and"], ["❤️", "❤️"], []),
    "Acme™ ©2025 → ℹ️": (["acme", "2025"], ["ℹ️"], []),
    "#Fun #İzmir: #été_25, #नमस्ते": (
        ["fun", "izmir", "été_25", "नमस्ते"],
        [],
        ["fun", "izmir", "été_25", "नमस्ते"],
    ),
    "#one#two#3d 😀#four": (["one", "two", "3d", "four"], ["😀"], ["one", "two", "3d", "four"]),
    "we're #1, C# x#y a/#b &#x27; # c": (["we", "re", "1", "c", "x", "y", "a", "b", "x27", "c"], [], []),
    "＃春天 #花#开": (["春天", "花", "开"], [], ["春天", "花"]),
    "今天#春节 快乐！#回家#BLACKPINK#新歌": (
        ["今天", "春节", "快乐", "回家", "blackpink", "新", "歌"],
        [],
        ["春节 快乐！", "blackpink"],
    ),
    "!!!": ([], [], []),
}


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    warehouse = Warehouse.create(folder / "warehouse")
    take(warehouse, notes(folder / "a.csv", *GOLDEN, None), texts=ALL)
    return lists(warehouse)


@pytest.mark.parametrize("text", GOLDEN)
def test_a_text_gives_its_words_its_emoji_and_its_tags(golden, text):
    assert golden[text] == GOLDEN[text]


def test_no_text_has_no_lists_and_a_text_without_any_has_empty_ones(golden):
    assert golden[None] == (None, None, None)
    assert golden["!!!"] == ([], [], [])


def made(texts):
    """The lists of each distinct text, without an ingest around."""
    with ENGINE.table(pl.DataFrame({"note": texts}, schema={"note": pl.String})) as name:
        ENGINE.run(f"CREATE OR REPLACE TEMP TABLE {STAGE} AS SELECT note, NULL AS _fault FROM {name}")
    _lists._make(ENGINE, "note", LISTS)
    return {text: tuple(found) for text, *found in ENGINE.rows(f"SELECT * FROM {_lists.MADE}")}


def words_one_by_one(text):
    """The slow twin: character by character, as the tables of Unicode class them."""
    text = re.sub("[0-9#*]\ufe0f?\u20e3|ℹ|[\ufe00-\ufe0f]", " ", text)
    words: list[str] = []
    begun = False
    for char in text.translate({ord("İ"): "i", ord("Σ"): "σ"}).lower():
        kind = unicodedata.category(char)[0]
        if begun and (kind in "LNM" or char == "_"):
            words[-1] += char
        elif kind in "LN" or char == "_":
            words.append(char)
            begun = True
        else:
            begun = False
    for word in words:
        for han, run in groupby(word, key=lambda char: "CJK UNIFIED" in unicodedata.name(char, "")):
            piece = "".join(run)
            yield from jieba.lcut(piece) if han else [piece]


def emoji_one_by_one(text):
    """The slow twin: the library on the whole text, and each emoji looked for among all of the same name."""
    for token in emoji.analyze(text, join_emoji=True):
        name = emoji.EMOJI_DATA.get(token.chars, {}).get("en")
        same = [each for each, known in emoji.EMOJI_DATA.items() if known["en"] == name]
        yield next(
            (each for each in same if emoji.EMOJI_DATA[each]["status"] == emoji.STATUS["fully_qualified"]), token.chars
        )


LETTERS = "aZé_0 9.,'İıΣςßЖカन्ि\u0301\u0e48²Ⅷ½\n小猫喜欢晒太阳学"
SIGNS = ["#", "😀", "👍", "🏽", "👩", "💻", "🇫", "🇷", "❤", "\ufe0f", "\u20e3", "\u200d", "ℹ", "→"]
texts = st.lists(st.sampled_from([*LETTERS, *SIGNS]), max_size=25).map("".join)


@settings(deadline=None)
@given(st.lists(texts, max_size=8))
def test_words_and_emoji_equal_their_slow_twins(several):
    found = made(several)
    assert set(found) == set(several)
    for text, (words, emojis, _) in found.items():
        assert words == list(words_one_by_one(text))
        assert emojis == list(emoji_one_by_one(text))


@settings(deadline=None)
@given(st.lists(texts, max_size=8))
def test_every_tag_stands_in_its_text_behind_a_sign(several):
    for text, (_, _, tags) in made(several).items():
        small = text.translate({ord("İ"): "i", ord("Σ"): "σ"}).lower()
        assert all(f"#{tag}" in small and "#" not in tag for tag in tags)
        assert len(tags) <= text.count("#")


def test_every_emoji_there_is_is_found_whole_and_is_no_word():
    status = emoji.STATUS["fully_qualified"]
    full = {each for each, known in emoji.EMOJI_DATA.items() if known["status"] == status}
    assert len(full) > 3_000
    found = made([f"on {each} on" for each in full])
    assert {text: (["on", "on"], [text.split(" ")[1]], []) for text in found} == found
    unqualified = set(emoji.EMOJI_DATA) - full - set("©®™")
    assert all(len(emojis) == 1 and words == [] for words, emojis, _ in made(list(unqualified)).values())


def test_the_size_of_a_batch_changes_nothing(monkeypatch):
    whole = made(list(GOLDEN))
    monkeypatch.setattr(_lists, "TEXTS_AT_ONCE", 3)
    assert made(list(GOLDEN)) == whole


def test_a_replay_is_a_duplicate_whether_it_asks_for_lists_or_not(warehouse, tmp_path):
    file = notes(tmp_path / "a.csv", *GOLDEN, None)
    take(warehouse, file, texts=ALL)
    before = files_of(warehouse)
    for asked in (ALL, {}, {"note": ("tags",)}):
        report = take(warehouse, file, texts=asked)
        assert (report.kept, report.corrections, report.written) == (0, 0, 0)
        assert files_of(warehouse) == before


def test_lists_asked_for_later_are_filled_in_and_leave_every_event_what_it_was(warehouse, tmp_path):
    file = notes(tmp_path / "a.csv", *GOLDEN, None)
    take(warehouse, file)
    before = stored(warehouse)
    report = take(warehouse, file, texts=ALL)
    assert (report.kept, report.duplicate, report.corrections, report.written) == (0, len(GOLDEN) + 1, 0, 1)
    assert stored(warehouse).select(before.columns).equals(before)
    assert not warehouse.has("superseded")
    other = Warehouse.create(tmp_path / "other")
    take(other, file, texts=ALL)
    assert stored(warehouse).equals(stored(other))


def versions(folder):
    """Three files in which ids come again, with the same text and with another."""
    told = [
        ("1", "one 😀", 2),
        ("2", "两 #a", 3),
        ("1", "one 😀", 4),
        ("1", "uno", 5),
        ("2", None, 6),
        ("3", "小猫", 3),
    ]
    rows = [
        {"event_id": event_id, "user_id": "a", "ts": "2025-03-01", "arrived_at": f"2025-03-0{day}", "note": note}
        for event_id, note, day in told
    ]
    return [write_csv(folder / f"{place}.csv", rows[place : place + 2]) for place in (0, 2, 4)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_any_order_and_any_split_give_the_same_tables(tmp_path, order):
    files = versions(tmp_path)
    whole, split = (Warehouse.create(tmp_path / name) for name in ("whole", "split"))
    take(whole, *files, texts=ALL)
    for place in order:
        take(split, files[place], texts=ALL)
    assert lists(split) == {"uno": (["uno"], [], []), None: (None, None, None), "小猫": (["小猫"], [], [])}
    assert lists(split, "superseded") == {"one 😀": (["one"], ["😀"], []), "两 #a": (["两", "a"], [], ["a"])}
    for table in ("events", "superseded"):
        assert stored(split, table).equals(stored(whole, table))
        assert split.fingerprint_of(table, {"day": "2025-03-01"}) == whole.fingerprint_of(table, {"day": "2025-03-01"})


def test_a_correction_that_asks_for_no_list_says_that_it_stays_empty(warehouse, tmp_path):
    first, second, third = versions(tmp_path)
    take(warehouse, first, texts={"note": ("words",)})
    report = take(warehouse, second, third)
    assert "note_words stays empty for new rows: no list of 'note' is asked for (--text note)." in report.notes
    assert rows_of(warehouse, "note, note_words") == [("uno", None), ("小猫", None), (None, None)]
    assert rows_of(warehouse, "note, note_words", "superseded") == [("one 😀", ["one"]), ("两 #a", ["两", "a"])]


def test_lists_are_plain_columns_that_any_engine_counts(warehouse, tmp_path, spark):
    take(warehouse, notes(tmp_path / "a.csv", "tea 😀😀", "tea cup 😀", None, "!"), texts=ALL)
    words = "SELECT word, count(*) FROM (SELECT {unnest}(note_words) AS word FROM {events}) GROUP BY 1 ORDER BY 1"
    on_spark = Warehouse.open(warehouse.root, engine=spark)
    for each, unnest in ((warehouse, "unnest"), (on_spark, "explode")):
        query = words.format(unnest=unnest, events=each.relation("events"))
        assert [tuple(row) for row in each.engine.rows(query)] == [("cup", 1), ("tea", 2)]
    assert warehouse.frame("events")["note_emoji"].dtype == pl.List(pl.String)


def test_two_texts_have_their_own_lists_and_rejected_rows_have_none(warehouse, tmp_path):
    file = notes(tmp_path / "a.csv", "one", "two 😀", title="#three")
    bad = write_csv(
        tmp_path / "b.csv", [{"user_id": None, "ts": "2025-03-01", "event": "x", "note": "猫", "title": ""}]
    )
    report = take(warehouse, file, bad, texts={"note": ("words", "emoji"), "title": ("tags",)}, max_anonymous_share=1)
    assert (report.kept, report.rejected) == (2, 1)
    assert report.columns["title_tags"] == "tags of title"
    expected = [(["one"], [], ["three"]), (["two"], ["😀"], ["three"])]
    assert rows_of(warehouse, "note_words, note_emoji, title_tags") == expected


def test_a_text_of_numbers_alone_is_a_text(warehouse, tmp_path):
    take(warehouse, notes(tmp_path / "a.csv", "666", "1.50"), texts=ALL)
    assert rows_of(warehouse, "note, note_words") == [("1.50", ["1", "50"]), ("666", ["666"])]


def test_a_column_of_theirs_under_the_name_of_a_list_is_kept_under_another(warehouse, tmp_path):
    report = take(warehouse, notes(tmp_path / "a.csv", "one", note_words="theirs"), texts=ALL)
    assert rows_of(warehouse, "note_words, source_note_words") == [(["one"], "theirs")]
    assert "Column 'note_words' is kept as 'source_note_words'; 'note_words' is taken." in report.notes


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "absent": ({"texts": {"nota": ("words",)}}, MissingColumn, r"texts names column 'nota', .* Did you mean 'note'\?"),
    "left out": ({"texts": ALL, "keep": ()}, MissingColumn, r"are \[\]\. Map it: --map note=THEIRS"),
    "canonical": ({"texts": {"event": ("words",)}}, MissingColumn, r"'event', which is none of the further columns"),
    "number": (
        {"texts": ALL, "types": {"note": "DOUBLE"}},
        BadSpec,
        r"'note', which is DOUBLE and no text. Declare it",
    ),
    "mapped": (
        {"texts": ALL, "columns": {"note_tags": "note"}},
        BadSpec,
        r"column 'note_tags' of table 'events' is made",
    ),
    "unknown list": ({"texts": {"note": ("verbs",)}}, BadSpec, r"'words', 'emoji' or 'tags'"),
    "no list": ({"texts": {"note": ()}}, BadSpec, r"name each list of 'note' once; there are words, emoji, tags"),
    "users": (
        {"texts": ALL, "table": "users"},
        BadSpec,
        r"of the texts of events alone; leave texts out for .* 'users'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_texts_that_cannot_be_read_are_refused_in_one_sentence(warehouse, tmp_path, case):
    asked, error, sentence = REFUSED[case]
    file = notes(tmp_path / "a.csv", "1")
    with pytest.raises(error, match=sentence):
        take(warehouse, file, **asked)
    assert warehouse.tables() == []


def test_a_list_does_not_take_the_place_of_another_column(warehouse, tmp_path):
    take(warehouse, notes(tmp_path / "a.csv", "one", note_tags="theirs"))
    with pytest.raises(BadSpec, match=r"'note_tags' of the table is VARCHAR, .*: --map message=note --text message"):
        take(warehouse, notes(tmp_path / "b.csv", "two"), texts=ALL)
    take(warehouse, notes(tmp_path / "b.csv", "#two"), columns={"message": "note"}, texts={"message": ("tags",)})
    assert rows_of(warehouse, "message_tags", "events") == [(["two"],), (None,)]


def test_a_source_in_place_gets_no_lists(warehouse, tmp_path):
    with pytest.raises(BadSpec, match=r"one read in place stays as it is\. .* sojourn ingest lake"):
        register_events(warehouse, IngestSpec(texts=ALL), folder="lake")


def test_without_a_library_only_the_texts_that_need_it_are_refused(warehouse, tmp_path, monkeypatch):
    monkeypatch.setattr("sojourn.core.optional.find_spec", lambda _: None)
    plain, chinese = (notes(tmp_path / f"{name}.csv", name) for name in ("tea #cup", "小猫"))
    with pytest.raises(MissingExtra, match=r"emoji of a text needs the library 'emoji', .* 'sojourn\[text\]'"):
        take(warehouse, plain, texts=ALL)
    with pytest.raises(MissingExtra, match=r"cutting Chinese texts into words needs the library 'jieba'"):
        take(warehouse, chinese, texts={"note": ("words",)})
    assert warehouse.tables() == []
    for file in (plain, chinese):
        take(warehouse, file, texts={"note": ("tags",)})
    take(warehouse, plain, texts={"note": ("words", "tags")})
    assert rows_of(warehouse, "note_words, note_tags") == [(["tea", "cup"], ["cup"]), (None, [])]


def test_a_spec_with_texts_is_itself_after_json_and_toml():
    spec = IngestSpec(files=("a.csv",), texts={"note": ("words", "tags"), "title": ("emoji",)})
    assert IngestSpec.from_json(spec.to_json()) == spec == IngestSpec.from_toml(spec.to_toml())
