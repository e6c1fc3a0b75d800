"""The characters that a CTC head spells with."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

SPECIAL = ("<pad>", "<s>", "</s>", "[PAD]", "[UNK]", "<unk>")  # stand for no sound


@dataclass(frozen=True)
class Characters:
    """Ids of characters, one of them the blank and one the gap between words.

    >>> letters = Characters({"<pad>": 0, "|": 1, "A": 2, "B": 3})
    >>> letters.encode("ab a"), letters.decode([0, 2, 2, 0, 3, 1, 1, 2])
    ([2, 3, 1, 2], 'AB A')
    """

    ids: Mapping[str, int]
    blank: int = 0
    gap: str = "|"

    @classmethod
    def load(cls, folder: Path, blank: int = 0) -> "Characters":
        """Read the published `vocab.json` of a folder."""
        ids: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        settings = folder / "tokenizer_config.json"
        gap = (
            json.loads(settings.read_text(encoding="utf-8")).get("word_delimiter_token") if settings.exists() else None
        )
        return cls(ids, blank, gap or "|")

    def encode(self, text: str) -> list[int]:
        """The ids of a text; a letter that is only there in the other case is taken in that case."""
        found = []
        for letter in " ".join(text.split()):
            forms = [self.gap] if letter == " " else [letter, letter.upper(), letter.lower()]
            known = next((form for form in forms if form in self.ids), None)
            if known is None:
                raise ValueError(f"{letter!r} in {text[:40]!r} is no character of this model: it has {self.spelled()}")
            found.append(self.ids[known])
        return found

    def decode(self, frames: Iterable[int]) -> str:
        """The text of one id for every frame: repeats are one, blanks are nothing."""
        return self.join(number for number, _ in groupby(frames) if number != self.blank)

    def join(self, ids: Iterable[int]) -> str:
        """The text of ids that are already without repeats and blanks."""
        names = {number: name for name, number in self.ids.items()}
        letters = [names[number] for number in ids if number in names and names[number] not in SPECIAL]
        return " ".join("".join(" " if letter == self.gap else letter for letter in letters).split())

    def spelled(self) -> str:
        """All characters, for a message."""
        return "".join(sorted(name for name in self.ids if name not in SPECIAL and name != self.gap))
