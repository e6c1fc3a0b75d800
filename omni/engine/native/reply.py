"""One answer in the making: what may come next, what was said, where each frame of it stands on the tape."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import Done, Event, Failed, Origin, TextDelta, Tokens, ToolCall, Usage
from omni.model.sampling import Sampler
from omni.script import CALL, END, Answering, Calls, How, Next, call_of

LONGEST_CALL = 512  # ids of a tool's call
FRAMES_A_WORD = 25  # frames that speech may go on for each id of text, and 50 more: a second to an id is very slow
FRAMES_MORE = 50
NONE = Tokens()
Legal = Calls | Literal["end"]  # of text: no call, perhaps a call, only a call, only the end


@dataclass(frozen=True)
class Frame:
    """A frame of speech on its way to the ear; without codes, the end of the speech."""

    codes: NDArray[np.int64] | None  # [1, books]


@dataclass
class Reply:
    """An answer, or a transcript. `say` and `frame` are told what the model chose; `out` holds what follows from it."""

    origin: Origin | None  # None: a transcript
    how: How
    special: Mapping[str, int]
    words: Any  # the text tokenizer's decoder of ids that come one by one
    sampler: Sampler
    longest: int  # ids of text
    calls: Calls
    start: int  # on the tape: its opening token
    read: Tokens = NONE  # of the conversation before it
    cached: Tokens = NONE  # of those, the ones that had been read when it was begun
    answering: Answering = field(init=False)
    ids: list[int] = field(default_factory=list)  # of text, its end not counted
    frames: list[int] = field(default_factory=list)  # the place on the tape of each
    end: int | None = None  # the place of its end
    calling: bool = False
    text: str = ""
    cut_short: bool = False  # by a limit
    out: "deque[Event | Frame]" = field(default_factory=deque)
    over: bool = False

    def __post_init__(self) -> None:
        self.answering = Answering(self.how)

    @property
    def next(self) -> Next:
        """What is said next."""
        return self.answering.next

    @property
    def legal(self) -> Legal:
        """What text may come now: a call is the first of an answer; at the limit, only the speech of the last word."""
        return "end" if self._long else self.calls if not self.ids else "no"

    @property
    def must_end(self) -> bool:
        """Whether a limit leaves nothing but the end."""
        if self.next == "frame":
            return len(self.frames) >= FRAMES_A_WORD * len(self.ids) + FRAMES_MORE
        return self.next == "text" and self._long

    @property
    def _long(self) -> bool:
        return len(self.ids) >= (LONGEST_CALL if self.calling else self.longest)

    def say(self, chosen: int, at: int) -> None:
        """An id of text was chosen and stands at this place of the tape."""
        if chosen == self.special[END]:
            self.end = at
            self.cut_short |= self._long
            self.answering.say("end")
            self._finish_text()
        else:
            call = chosen == self.special[CALL] and not self.ids
            self.answering.say("call" if call else "word")
            self.ids.append(chosen)
            if call:
                self.calling = True
            else:
                self._more(self.words.push(chosen))
        self._close()

    def frame(self, codes: list[int], at: int) -> None:
        """A frame of speech was chosen."""
        self.frames.append(at)
        self.answering.frame()
        self.out.append(Frame(np.array([codes], np.int64)))

    def stop(self) -> None:
        """The end of a word's speech was chosen."""
        self.answering.stop()

    def heard(self, seconds: float | None, frame_rate: float) -> tuple[int | None, list[str]]:
        """What of it stays, if so much was heard: the tape from where on is dropped, and the ends to write there.

        Everything up to the last frame that was heard at all stays, with the word that it belongs to.
        """
        keep: int | None = None
        if seconds is not None and self.how == "speak" and not self.calling:
            count = min(len(self.frames), ceil(round(seconds * frame_rate, 6)))
            if count == 0:  # not even the words that were written ahead
                keep = self.start + 1
                self.ids = []
            elif count < len(self.frames):
                keep = self.frames[count - 1] + 1
            if keep is not None:
                del self.frames[count:]
                self.end = None
        if self.end is not None:
            return keep, []
        in_a_word = self.next == "frame" if keep is None else bool(self.frames)
        return keep, [END] * (1 + in_a_word)

    def shift(self, by: int) -> None:
        """Everything on the tape moved."""
        self.start += by
        self.frames = [at + by for at in self.frames]
        self.end = None if self.end is None else self.end + by

    def without(self, start: int, stop: int) -> "Reply | None":
        """The reply after the tokens [start, stop) were dropped: moved, or none."""
        if start <= self.start < stop:
            return None
        if self.start >= stop:
            self.shift(start - stop)
        return self

    def _more(self, text: str) -> None:
        self.text += text
        if text and not self.calling and self.origin is not None:
            self.out.append(TextDelta(self.origin, text))

    def _finish_text(self) -> None:
        self._more(self.words.finish())
        if self.calling and self.origin is not None:
            call = call_of(self.text)
            if call is None:
                said = f"the model began to call a tool and wrote no call: {self.text[:200]!r}"
                self.out.append(Failed(self.origin, "no_call", said))
            else:
                number = f"call_{self.origin.response}"
                self.out.append(ToolCall(self.origin, call[0], call[1], number))

    def _close(self) -> None:
        if self.next == "over" and not self.over:
            self.over = True
            if self.frames:
                self.out.append(Frame(None))
            if self.origin is not None:
                reason: Literal["tool", "length", "stop"] = (
                    "tool" if self.calling else "length" if self.cut_short else "stop"
                )
                said = Tokens(text=len(self.ids), audio=len(self.frames))
                self.out.append(Done(self.origin, reason, Usage(self.read, self.cached, said)))
