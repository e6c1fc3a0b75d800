"""What a model thinks aloud before it answers: `<think>…</think>`, which nobody wants to hear."""

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"


@dataclass
class Thoughts:
    """Leaves them out of a stream of text. Only at its beginning: further on it may be what is talked about.

    >>> thoughts = Thoughts()
    >>> [thoughts.push(piece) for piece in ("<thi", "nk>2 + 2", " is 4.</think>", "\\n\\n", "Four.", " <think>")]
    ['', '', '', '', 'Four.', ' <think>']
    """

    thinks: bool = False  # now; also where what was asked ends with the opening
    _answers: bool = False
    _text: str = ""

    def push(self, text: str) -> str:
        """More text; what of it belongs to the answer."""
        if self._answers:
            return text
        self._text += text
        begun = self._text.lstrip()
        if self.thinks or begun.startswith(OPEN):
            self.thinks = True
            begun = self._text.partition(CLOSE)[2].lstrip()
        elif OPEN.startswith(begun):
            return ""
        else:
            begun = self._text
        self._answers = bool(begun)
        return begun

    def finish(self) -> str:
        """What was held back, and was no thought."""
        return "" if self._answers or self.thinks else self._text
