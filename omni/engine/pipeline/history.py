"""What was said in a conversation, as text models need it: what was heard of an answer, not what was made."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from omni.engine.pipeline.stages import Call, Hearing, Message, Samples
from omni.engine.protocol import TextIn

LETTERS_A_SECOND = 15  # of speech whose sound is not all made, so that nobody knows its length


@dataclass
class Spoken:
    """A clause of an answer, and how long its sound is."""

    text: str
    seconds: float = 0.0  # that were made
    done: bool = False  # whether that is all of it

    @property
    def length(self) -> float:
        """Seconds it takes to say; about so many, while it is being made."""
        return self.seconds if self.done else max(self.seconds, len(self.text) / LETTERS_A_SECOND)


@dataclass
class Answer:
    """What the assistant said in one response: its text, and in speech how much sound there is for each clause."""

    text: str = ""
    aloud: bool = False  # spoken, and not only written
    calls: list[Call] = field(default_factory=list)
    spoken: list[Spoken] = field(default_factory=list)

    def shorten(self, heard: float) -> None:
        """Keep what was heard: whole clauses, and of the one that was cut, whole words by its share of the time.

        >>> spoken = [Spoken("One two. ", 1.0, done=True), Spoken("Three four. ", 1.0, done=True)]
        >>> answer = Answer("One two. Three four. Five six.", aloud=True, spoken=spoken)
        >>> answer.shorten(1.6); answer.text
        'One two. Three'
        """
        if not self.aloud:  # an answer in text alone is not heard
            return
        kept = ""
        for clause in self.spoken:
            if heard < clause.length:
                # Rounded, since sums of seconds are not exact: all of it, but for that, is all of it.
                kept += whole_words(clause.text, round(len(clause.text) * heard / clause.length))
                break
            kept += clause.text
            heard -= clause.length
        self.text = kept.rstrip()


def whole_words(text: str, count: int) -> str:
    """The beginning of a text, at most so many characters, that ends with a whole word.

    >>> whole_words("Three four.", 7), whole_words("Three four.", 4)
    ('Three', '')
    """
    ends = [match.end() for match in re.finditer(r"\S+(?!\S)", text) if match.end() <= count]
    return text[: ends[-1]] if ends else ""


@dataclass
class Turn:
    """What came in, in order, and what was answered. Speech becomes text when somebody needs it."""

    parts: list[TextIn | Hearing | NDArray[np.uint8]] = field(default_factory=list)
    answer: Answer | None = None
    _texts: dict[int, str] = field(default_factory=dict)  # transcripts, by place

    async def push(self, samples: Samples, listen: Callable[[], Hearing]) -> str | None:
        """More speech; the transcript so far, where it changed."""
        hearing = self.parts[-1] if self.parts else None
        if hearing is None or isinstance(hearing, TextIn | np.ndarray):
            hearing = listen()
            self.parts.append(hearing)
        self._texts.pop(len(self.parts) - 1, None)
        return await hearing.push(samples)

    def drop(self) -> None:
        """Nobody wants it any more."""
        for part in self.parts:
            if not isinstance(part, TextIn | np.ndarray):
                part.drop()

    def seal(self) -> None:
        """It is over and written down: keep the words, and let go of the sound."""
        for place, text in self._texts.items():
            self.parts[place] = TextIn(text)
        self._texts.clear()

    @property
    def has_speech(self) -> bool:
        """Whether something was heard in it."""
        return any(not isinstance(part, TextIn | np.ndarray) for part in self.parts)

    async def transcript(self) -> str:
        """All that was said in it. Speech that cannot be written down is an error once, and has no words then."""
        for place, part in enumerate(self.parts):
            if not isinstance(part, TextIn | np.ndarray) and place not in self._texts:
                try:
                    self._texts[place] = (await part.finish()).strip()
                except Exception:
                    self._texts[place] = ""
                    raise
        return " ".join(text for text in self._texts.values() if text)

    def messages(self) -> list[Message]:
        """As messages, once it is written down; pictures go with the words of the user behind them, or stand alone."""
        found: list[Message] = []
        images: list[NDArray[np.uint8]] = []
        for place, part in enumerate(self.parts):
            if isinstance(part, np.ndarray):
                images.append(part)
            elif isinstance(part, TextIn) and part.role != "user":
                found.append(Message(part.role, part.text, call=part.call))
            elif text := part.text if isinstance(part, TextIn) else self._texts.get(place, ""):
                found.append(Message("user", text, images=tuple(images)))
                images = []
        if images:
            found.append(Message("user", "", images=tuple(images)))
        return found


def answered(turn: Turn) -> Sequence[Message]:
    """What the assistant said to it, as a message."""
    answer = turn.answer
    if answer is None or not (answer.text or answer.calls):
        return ()
    return (Message("assistant", answer.text.strip(), calls=tuple(answer.calls)),)
