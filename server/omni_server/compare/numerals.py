"""Numbers in what was said: twenty two, twenty-two and 22 are one number, and two is no part of it."""

import re
from collections.abc import Sequence

from omni.train.words import NUMBERS, TENS

VALUES = {word: value for value, word in enumerate(NUMBERS)} | {word: 10 * ten for ten, word in enumerate(TENS, 2)}
SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}


def words(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation, each number as its digits.

    >>> words("  It's Twenty-two, sir, or 7.5!")
    ["it's", '22', 'sir', 'or', '7.5']
    """
    said = re.findall(r"\d+(?:[.,]\d+)*(?!\w)|[\w']+", text.lower().replace("’", "'"))
    found: list[str] = []
    at = 0
    while at < len(said):
        value, taken = number(said[at:])
        found.append(str(value) if taken else said[at])
        at += max(1, taken)
    return found


def number(said: Sequence[str]) -> tuple[int, int]:
    """The number that words begin with, and how many of them say it: none where they begin with no number.

    >>> number("one hundred and five times two".split()), number("two three".split()), number(["so"])
    ((105, 4), (2, 1), (0, 0))
    """
    whole = part = 0  # thousands, and what is below
    taken, room = 0, 100  # what comes next has to be smaller
    for at, word in enumerate(said):
        if VALUES.get(word, room) < room:
            part += VALUES[word]
            room = 10 if VALUES[word] in range(20, 100, 10) else 0
        elif word in SCALES and part:
            part, whole = (100 * part, whole) if word == "hundred" else (0, whole + SCALES[word] * part)
            room = 100
        elif word == "and" and at and said[at - 1] in SCALES and said[at + 1 : at + 2] and said[at + 1] in VALUES:
            continue
        else:
            break
        taken = at + 1
    return whole + part, taken
