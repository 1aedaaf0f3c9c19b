"""What a text holds: its words, its emoji, its tags, each in the order in which they stand."""

import logging
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from sojourn.core import need

EXTRA = "text"
SIGNS = "#＃"
# Every emoji holds one of these; so do some texts without any, such as an arrow.
_MAYBE_EMOJI = r"\x{A9}\x{AE}\x{203C}-\x{2BFF}\x{3030}\x{303D}\x{3297}\x{3299}\x{1F000}-\x{1FAFF}"
# What else stands within one: keycaps' digits, the joiner, variation selectors, the letters of flags of regions.
_WITHIN_EMOJI = r"0-9#*\x{200D}\x{FE0E}\x{FE0F}\x{E0020}-\x{E007F}"
# What would be a letter, a digit or a mark, were it no part of an emoji: keycaps, the sign ℹ, variation selectors.
_NO_WORD = r"[0-9#*]\x{FE0F}?\x{20E3}|\x{2139}|[\x{FE00}-\x{FE0F}]"
# Devanagari, Thai and others write parts of a word as marks, as decomposed accents are; none begins a word.
_WORD = r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]*"
# Marks of trade, which are emoji only when drawn as such, and whatever asks to be drawn as text.
_AS_TEXT = re.compile("[©®™](?!\ufe0f)|.\ufe0e")
_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"


def lowered(text: str) -> str:
    """SQL: the text in small letters, the same on every engine."""
    return f"lower(translate({text}, 'İΣ', 'iσ'))"


def pieces(text: str) -> str:
    """SQL: the words of a text, but Chinese in whole runs, as it has no spaces between words.

    A word is a run of letters with their marks, digits and `_`, in small letters; one that mixes Chinese with another
    script is cut between them.
    """
    plain = f"regexp_replace({text}, '{_NO_WORD}', ' ', 'g')"
    runs = f"regexp_extract_all({lowered(plain)}, '{_WORD}')"
    cut = rf"flatten(list_transform({runs}, lambda run: regexp_extract_all(run, '\p{{Han}}+|\P{{Han}}+')))"
    return f"CASE WHEN {holds_chinese(text)} THEN {cut} ELSE {runs} END"


def chinese(pieces: str) -> str:
    """SQL: those of the pieces that are Chinese."""
    return f"list_filter({pieces}, lambda piece: {holds_chinese('piece')})"


def holds_chinese(text: str) -> str:
    """SQL: whether the text holds a Chinese character."""
    return rf"regexp_matches({text}, '\p{{Han}}')"


def cut_chinese(runs: Iterable[str]) -> dict[str, list[str]]:
    """The words of each run of Chinese, which joined give the run again.

    Raises `MissingExtra` without jieba.

    >>> cut_chinese(["小猫喜欢晒太阳"])
    {'小猫喜欢晒太阳': ['小猫', '喜欢', '晒太阳']}
    """
    with warnings.catch_warnings():
        # jieba has escapes that Python 3.12 warns of, and asks for pkg_resources, which warns of itself.
        warnings.simplefilter("ignore")
        jieba = need("jieba", extra=EXTRA, for_="cutting Chinese texts into words")
    tokenizer = _tokenizer(jieba)
    return {run: tokenizer.lcut(run) for run in runs}


@cache
def _tokenizer(jieba: ModuleType) -> Any:
    # One of our own: words that a program adds to jieba's shared one would change what a replay gives.
    jieba.setLogLevel(logging.WARNING)
    return jieba.Tokenizer()


def emoji_library() -> ModuleType:
    """The library that knows every emoji. Raises `MissingExtra` where it is not installed."""
    return need("emoji", extra=EXTRA, for_="finding the emoji of a text")


def may_hold_emoji(text: str) -> str:
    """SQL: whether the text holds a character without which there is no emoji."""
    return f"regexp_matches({text}, '[{_MAYBE_EMOJI}]')"


def emoji_runs(text: str) -> str:
    """SQL: the runs of characters of a text that may be emoji."""
    runs = f"regexp_extract_all({text}, '[{_MAYBE_EMOJI}{_WITHIN_EMOJI}]+')"
    return f"list_filter({runs}, lambda run: {may_hold_emoji('run')})"


def find_emoji(runs: Iterable[str]) -> dict[str, list[str]]:
    r"""The emoji of each run: joined sequences, flags and skin tones whole, each in its fully qualified form.

    Raises `MissingExtra` without the library.

    >>> find_emoji(["❤👍🏽👨‍👩‍👧", "Acme™"])
    {'❤👍🏽👨\u200d👩\u200d👧': ['❤️', '👍🏽', '👨\u200d👩\u200d👧'], 'Acme™': []}
    """
    library = emoji_library()
    full = _fully_qualified(library)
    return {
        run: [full.get(token.chars, token.chars) for token in library.analyze(_AS_TEXT.sub(" ", run), join_emoji=True)]
        for run in runs
    }


@cache
def _fully_qualified(library: ModuleType) -> dict[str, str]:
    """Each emoji in the one form that is to be sent: texts have ❤ with and without its variation selector."""
    known = library.EMOJI_DATA
    named = {entry["en"]: each for each, entry in known.items() if entry["status"] == library.STATUS["fully_qualified"]}
    return {each: named.get(entry["en"], each) for each, entry in known.items()}


def tags_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """The tags of each lowered text, without their signs.

    A tag is `#word` with at least one letter, and not within a word or an address; a topic is closed by a second sign:
    `#话题#`, where text may follow at once, and spaces may lie within when it ends in Chinese.

    >>> list(tags_of(["#one#two, c# and #3", "今天#春节 快乐#去看＃电影＃"]))
    [['one', 'two'], ['春节 快乐', '电影']]
    """
    chain, tag = _tag_patterns()
    for text in texts:
        found = (each for run in chain.finditer(text) for each in tag.finditer(text, run.start(), run.end()))
        yield [each["topic"] or each["word"] for each in found]


@cache
def _tag_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds a run of tags, and what finds each tag of it."""
    # The non-joiner stands within Persian words.
    char = rf"[\w{_marks()}\u200c]"
    closed = rf"(?=[{SIGNS}](?:$|[^\w]|[{_HAN}]))"
    topic = rf"(?:{char}+|\w[^{SIGNS}\r\n]*[{_HAN}][!?！？]?){closed}"
    word = rf"{char}*[^\W\d_]{char}*"
    start = rf"(?<![^\W{_HAN}])(?<![&/])"
    chain = re.compile(rf"{start}(?:[{SIGNS}](?:{topic}[{SIGNS}]|{word}))+")
    return chain, re.compile(rf"[{SIGNS}](?:(?P<topic>{topic})[{SIGNS}]|(?P<word>{word}))")


def _marks() -> str:
    """The combining marks, but variation selectors and the keycap's frame, which belong to emoji."""
    several = (chr(code) for code in range(0x300, 0x20000) if code != 0x20E3 and not 0xFE00 <= code <= 0xFE0F)
    return "".join(each for each in several if unicodedata.category(each).startswith("M"))
