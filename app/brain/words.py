"""Words as recall compares them: without case and accents, with a skeleton that survives small misspellings. Pure."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_WORD = re.compile(r"[^\W_]+")
_WITHOUT_SPACES = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
_LONGEST_TEXT = 60_000
_MOST_WORDS = 6_000
_LONGEST_WORD_BYTES = 64
_TEXT_FIELDS = ("content", "text", "what", "task")
_SOUNDS_ALIKE = (("ph", "f"), ("ck", "k"), ("c", "k"), ("q", "k"), ("z", "s"), ("y", "i"))
_VOWELS = re.compile("[aeiou]")
_DOUBLED = re.compile(r"(.)\1+")
_SHORTEST_SKELETON = 3


def words_of(text: str) -> list[str]:
    """The different words of a text in their order; runs of scripts without spaces become pairs of characters."""
    found: dict[str, None] = {}
    for run in _WORD.findall(_plain(text[:_LONGEST_TEXT])):
        for word in _pieces(run):
            found[word] = None
        if len(found) >= _MOST_WORDS:
            break
    return [word for word in found if len(word.encode()) <= _LONGEST_WORD_BYTES][:_MOST_WORDS]


def _plain(text: str) -> str:
    """The text without case and accents."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in parts if not unicodedata.combining(letter)).casefold()
    return unicodedata.normalize("NFKC", bare)


# A few thousand words are most of what anybody says.
@lru_cache(maxsize=10_000)
def skeleton_of(word: str) -> str | None:
    """A lexeme that a word shares with its near-spellings, or None for words too short to be mistaken safely.

    After the first letter, which few mistake, vowels, doubled letters, letters that sound alike and a plural s do not
    count: `recieve` and `receive` meet, so do `kitten`, `kiten` and `kittens`.
    """
    if not word.isalpha() or not word.isascii():
        return None
    tail = word[1:]
    for sound, same in _SOUNDS_ALIKE:
        tail = tail.replace(sound, same)
    bones = _DOUBLED.sub(r"\1", word[:1] + _VOWELS.sub("", tail))
    bones = bones[:-1] if bones.endswith("s") else bones
    return f"~{bones}" if len(bones) >= _SHORTEST_SKELETON else None


def lexemes_of(words: list[str]) -> list[str]:
    """What is stored for these words beside their stems."""
    skeletons = (skeleton_of(word) for word in words)
    return [*words, *{skeleton for skeleton in skeletons if skeleton}]


def place_lexeme(tenant: str, namespace: str, universe: str) -> str:
    """A lexeme that only memories of one place hold."""
    place = json.dumps([tenant, namespace, universe]).encode()
    return "@" + hashlib.blake2b(place, digest_size=8).hexdigest()


def text_of(value: Mapping[str, Any]) -> str:
    """The words of a memory's value: its text fields, or every text in it where it has none of them."""
    said = [text for field in _TEXT_FIELDS for text in _texts(value.get(field))]
    return "\n".join(said or _texts(value))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _pieces(run: str) -> Iterator[str]:
    if not _WITHOUT_SPACES.search(run) or len(run) < 3:
        yield run
        return
    for start in range(len(run) - 1):
        yield run[start : start + 2]
