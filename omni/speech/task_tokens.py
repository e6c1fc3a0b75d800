"""Whisper's task tokens: one decoder transcribes, translates, names the language and tells the time, as it is asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Task = Literal["transcribe", "translate"]

ENGLISH_END = 50_256  # <|endoftext|> of the vocabulary without languages; the one of 99 languages has one token more
STEP = 0.02  # seconds between two timestamp tokens

SYMBOLS = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』']
SYMBOLS += "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪".split()
NOTES = ["♩", "♪", "♫", "♬", "♭", "♮", "♯"]  # U+2640 to U+267F share their first token


@dataclass(frozen=True)
class TaskTokens:
    """The ids that steer the decoder."""

    start: int  # <|startoftranscript|>
    end: int  # <|endoftext|>
    transcribe: int
    translate: int
    previous: int  # <|startofprev|>, before the text of the window before
    no_speech: int
    no_timestamps: int
    first_timestamp: int  # <|0.00|>
    languages: Mapping[str, int] = field(default_factory=dict)  # none in an English-only model
    others: tuple[int, ...] = ()  # that the decoder must never say, such as <|startoflm|>

    @classmethod
    def of(cls, special: Mapping[str, int]) -> "TaskTokens":
        """Find them among the special tokens of a vocabulary, by their published names.

        >>> names = ["endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "startoflm"]
        >>> names += ["startofprev", "nospeech", "notimestamps"]
        >>> tokens = TaskTokens.of({f"<|{name}|>": 100 + i for i, name in enumerate(names)})
        >>> tokens.languages, tokens.first_timestamp
        ({'en': 102, 'de': 103}, 110)
        """
        # Older vocabularies say "nocaptions".
        silence = "<|nospeech|>" if "<|nospeech|>" in special else "<|nocaptions|>"
        try:
            start, translate = special["<|startoftranscript|>"], special["<|translate|>"]
            no_timestamps, end = special["<|notimestamps|>"], special["<|endoftext|>"]
            found = cls(
                start,
                end,
                special["<|transcribe|>"],
                translate,
                special["<|startofprev|>"],
                special[silence],
                no_timestamps,
                special.get("<|0.00|>", no_timestamps + 1),
                others=tuple(special[name] for name in ("<|startoflm|>",) if name in special),
            )
        except KeyError as missing:
            raise ValueError(f"the vocabulary has no {missing}: it does not belong to a Whisper model") from None
        if end == ENGLISH_END:
            return found
        between = range(start + 1, min(translate, found.transcribe))
        languages = {name[2:-2]: number for name, number in special.items() if number in between}
        return replace(found, languages=dict(sorted(languages.items(), key=lambda item: item[1])))

    @property
    def control(self) -> tuple[int, ...]:
        """What is only ever given to the decoder, never said by it."""
        return (self.start, self.transcribe, self.translate, self.previous, self.no_speech, *self.others)

    def prompt(
        self, language: str | None, task: Task = "transcribe", *, timestamps: bool = True, before: Sequence[int] = ()
    ) -> list[int]:
        """What the decoder is given first; `before` is the text of the window before, as ids."""
        ids = [self.previous, *before] if before else []
        ids.append(self.start)
        if self.languages:
            if language is None or language not in self.languages:
                raise ValueError(f"language is {language!r}; this model knows {', '.join(self.languages)}")
            ids += [self.languages[language], self.transcribe if task == "transcribe" else self.translate]
        elif task == "translate" or language not in (None, "en"):
            raise ValueError(f"this model only transcribes English; it cannot {task} {language!r}")
        return ids if timestamps else [*ids, self.no_timestamps]

    def seconds(self, token: int) -> float:
        """The time within the window that a timestamp token stands for."""
        return (token - self.first_timestamp) * STEP


def unspoken(encode: Callable[[str], list[int]]) -> tuple[int, ...]:
    """Ids of what nobody says aloud: speaker tags, music notes, brackets.

    Hyphens and quotes stay allowed inside words, not at their beginning.
    """
    found = {encode(" -")[0], encode(" '")[0]}
    for symbol in SYMBOLS + NOTES:
        for ids in (encode(symbol), encode(f" {symbol}")):
            if len(ids) == 1 or symbol in NOTES:
                found.add(ids[0])
    return tuple(sorted(found))
