r"""The published split patterns by name, and the seams where a live text may be cut.

A *seam* is a place between two characters where the two sides may be encoded apart, whatever stood before and
whatever will follow. Two things make one: no alternative of the pattern can hold both characters in one piece, and
the left character is not white space (so a look-ahead such as `\s+(?!\S)` never looks across). A seam is therefore
known from two characters alone, and each pattern's seams are a table over six classes of character.

The classes come from Python's Unicode tables, which may be older than those of the engines: what Python has not
assigned yet is never part of a seam. For all that it has assigned, tables compared equal over every code point.
"""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache

GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
# tiktoken's own spellings of the same splits; possessive, so white space of any length costs no backtracking.
GPT2_FAST = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
CL100K = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"""
    r"""|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
)
LLAMA3 = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
    r"""|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
TEKKEN = (
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"""
    r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"""
    r"""|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)

PATTERNS: Mapping[str, str] = {
    "gpt2": GPT2_FAST,
    "cl100k": CL100K,
    "o200k": O200K,
    "llama3": LLAMA3,
    "qwen2": QWEN2,
    "tekken": TEKKEN,
}

# Character classes: letter, mark, number, apostrophe, other, white space within a line, line end (\r or \n).
LETTER, MARK, NUMBER, APOSTROPHE, OTHER, SPACE, LINE_END, UNKNOWN = "LMN'OSR?"

# For each left class, the right classes that make a seam.
_WORDS_WITH_PREFIX = {  # cl100k, Llama-3, Qwen2: a mark counts as other; any one character may lead a word
    LETTER: {MARK, NUMBER, APOSTROPHE, OTHER, SPACE, LINE_END},
    NUMBER: {LETTER, MARK, APOSTROPHE, OTHER, SPACE, LINE_END},
    MARK: {NUMBER, SPACE},
    APOSTROPHE: {NUMBER, SPACE},
    OTHER: {NUMBER, SPACE},
}
_GPT2 = {  # only a space leads a word, no piece takes line ends along, an apostrophe may lead `'s`
    LETTER: {MARK, NUMBER, APOSTROPHE, OTHER, SPACE, LINE_END},
    NUMBER: {LETTER, MARK, APOSTROPHE, OTHER, SPACE, LINE_END},
    MARK: {LETTER, NUMBER, SPACE, LINE_END},
    APOSTROPHE: {NUMBER, SPACE, LINE_END},
    OTHER: {LETTER, NUMBER, SPACE, LINE_END},
}
_O200K = {  # marks belong to words, and a contraction hangs on its word
    LETTER: {NUMBER, OTHER, SPACE, LINE_END},
    NUMBER: {LETTER, MARK, APOSTROPHE, OTHER, SPACE, LINE_END},
    MARK: {NUMBER, SPACE},
    APOSTROPHE: {NUMBER, SPACE},
    OTHER: {NUMBER, SPACE},
}

Seams = Mapping[str, set[str]]

_SEAMS: Mapping[str, Seams] = {
    GPT2: _GPT2,
    GPT2_FAST: _GPT2,
    CL100K: _WORDS_WITH_PREFIX,
    LLAMA3: _WORDS_WITH_PREFIX,
    QWEN2: _WORDS_WITH_PREFIX,
    O200K: _O200K,
    TEKKEN: _O200K,
}


def seams_of(pattern: str | None) -> Seams | None:
    """Return the seams of a known pattern, or None.

    >>> sorted(seams_of(GPT2)["L"])
    ["'", 'M', 'N', 'O', 'R', 'S']
    """
    return None if pattern is None else _SEAMS.get(pattern)


@lru_cache(maxsize=1 << 16)
def class_of(character: str) -> str:
    """Return the class of one character.

    >>> [class_of(c) for c in "é7'! "]
    ['L', 'N', "'", 'O', 'S']
    """
    if character == "'":
        return APOSTROPHE
    if character in "\r\n":
        return LINE_END
    if "\x1c" <= character <= "\x1f":  # Python calls these white space, Unicode and both engines do not
        return OTHER
    if character.isspace():
        return SPACE
    category = unicodedata.category(character)
    if category in ("Cn", "Cs"):
        return UNKNOWN
    return {"L": LETTER, "M": MARK, "N": NUMBER}.get(category[0], OTHER)


def _second_characters() -> frozenset[str]:
    """Return the characters that canonical composition may fuse with what stands before them."""
    seconds = set(map(chr, (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))))  # Hangul vowels and finals
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    return frozenset(seconds)


@lru_cache(maxsize=1)
def seconds() -> frozenset[str]:
    """Return `_second_characters`, computed at first use (0.2 s, and only vocabularies with NFC ask)."""
    return _second_characters()


@lru_cache(maxsize=1 << 16)
def inert(character: str) -> bool:
    """Return whether NFC leaves this character alone and lets nothing before it change it.

    >>> inert("a"), inert("你"), inert("\u0301"), inert("\u212b")
    (True, True, False, False)
    """
    if character.isascii():
        return True
    decomposition = unicodedata.decomposition(character)
    return (
        unicodedata.category(character) not in ("Cn", "Cs")
        and unicodedata.combining(character) == 0
        and (not decomposition or decomposition.startswith("<"))
        and character not in seconds()
    )
