"""A reply on its way out: events in the order in which the model said them, codes as the sound that the codec makes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from omni.engine.clock import Clock
from omni.engine.native.pace import Pace
from omni.engine.native.reply import Frame, Reply
from omni.engine.native.voice import MOST, Samples, Speech, Voice
from omni.engine.outlet import Outlet
from omni.engine.protocol import AudioOut, CodesOut, Done, Event, Failed, Mark, Origin, Stage, TextDelta


@dataclass
class Delivery:
    """One reply's events between the model and the outlet."""

    reply: Reply
    origin: Origin
    pace: Pace
    outlet: Outlet
    voice: Voice | None
    clock: Clock
    wake: Callable[[], None]  # the loop, when sound has come
    failed: Callable[[], None]  # told when the codec could not do its work
    codes: bool  # they leave too
    words_wait: Callable[[], bool]  # whether the user's words are still to come: the end follows them
    speech: Speech | None = None
    decoding: bool = False
    dropped: bool = False  # nobody wants it any more
    marked: set[Stage] = field(default_factory=set)

    def go_on(self) -> bool:
        """Hand out what can leave; True when all of it has."""
        out = self.reply.out
        while out and not self.decoding:
            head = out[0]
            if isinstance(head, Frame):
                if not self.mark("first_codes"):
                    break
                self._decode()
            elif isinstance(head, Done) and self.words_wait():
                break
            elif self._offer(head):
                out.popleft()
            else:
                break
        return self.reply.over and not out and not self.decoding

    @property
    def awaits_first_sound(self) -> bool:
        """Whether the codec works on what will be heard first."""
        return self.decoding and "first_audio" not in self.marked

    def mark(self, stage: Stage) -> bool:
        """Stamp a stage, the first time that it is reached; False when there is no room."""
        if stage not in self.marked:
            if not self.outlet.offer(Mark(self.origin, stage, self.clock.now())):
                return False
            self.marked.add(stage)
        return True

    def _offer(self, event: Event) -> bool:
        if isinstance(event, TextDelta) and not self.mark("first_text"):
            return False
        if isinstance(event, AudioOut) and not self.mark("first_audio"):
            return False
        return self.outlet.offer(event)

    def _decode(self) -> None:
        assert self.voice is not None
        out = self.reply.out
        codes: list[NDArray[np.int64]] = []
        last = False
        while out and isinstance(frame := out[0], Frame) and len(codes) < MOST and not last:
            out.popleft()
            if frame.codes is None:
                last = True
            else:
                codes.append(frame.codes)
        if self.speech is None:
            self.speech = self.voice.begin()
        self.decoding = True
        self.voice.say(self.speech, codes, last, partial(self._spoken, codes))

    def _spoken(self, codes: list[NDArray[np.int64]], made: list[Samples] | Exception) -> None:
        self.decoding = False
        self.wake()  # nobody goes on while a first sound is made
        if self.dropped:
            return
        if isinstance(made, Exception):
            said = f"the codec failed: {type(made).__name__}: {made}"
            self.outlet.offer(Failed(self.origin, "codec_failed", said))
            self.failed()
            return
        self.reply.out.extendleft(AudioOut(self.origin, samples) for samples in reversed(made))
        if self.codes and codes:
            self.reply.out.appendleft(CodesOut(self.origin, np.concatenate(codes)))
        self.go_on()  # at once: the loop's next round may begin with a step
