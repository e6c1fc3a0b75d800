"""Text, as it streams, into clauses that can be spoken: early enough to begin soon, long enough to sound right."""

import re
from dataclasses import dataclass

SHORTEST = 12  # characters before a comma that may end a clause: "Well," alone sounds chopped
LONGEST = 240  # characters after which any space ends a clause
# A sentence's end needs a space behind it, so that 3.5 and example.com stay whole; CJK marks do not.
SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？；]+[”」』）]*|\n+")
CLAUSE = re.compile(r"[,;:–—]\s+|[，、：]")
SHORT_FORM = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|No|e\.g|i\.e|[A-Z])|^\s*\d+)\.\s+$")


@dataclass
class Clauses:
    """Cuts a stream of text. The pieces joined are the text, to the character.

    >>> clauses = Clauses()
    >>> clauses.push("It costs 3.50 in all. Shall I"), clauses.push(" order it?"), clauses.finish()
    (['It costs 3.50 in all. '], [], ['Shall I order it?'])
    """

    shortest: int = SHORTEST
    longest: int = LONGEST
    _text: str = ""

    def push(self, text: str) -> list[str]:
        """More text; the clauses that are complete now."""
        self._text += text
        found = []
        while (end := self._end()) is not None:
            found.append(self._text[:end])
            self._text = self._text[end:]
        return found

    def finish(self) -> list[str]:
        """What is left."""
        text, self._text = self._text, ""
        return [text] if text else []

    def _end(self) -> int | None:
        ends = [m.end() for m in SENTENCE.finditer(self._text) if not SHORT_FORM.search(self._text[: m.end()])]
        ends += [m.end() for m in CLAUSE.finditer(self._text) if m.end() >= self.shortest]
        if ends and min(ends) <= self.longest:
            return min(ends)
        if len(self._text) > self.longest:
            space = self._text.rfind(" ", 0, self.longest)
            return space + 1 if space > 0 else self.longest
        return None
