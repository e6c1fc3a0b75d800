"""One answer, collected: its text, its sound, and what the user's ear had of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from omni_server.client.ear import Playing
from omni_server.client.events import Called, Trouble, Wave

LATER = ("downlink", "playout")  # stages of the server's waterfall that the client itself knows better


@dataclass
class Utterance:
    """Something the user said or typed. Moments are on the client's clock; None where nobody knows."""

    typed: bool
    speech_starts: float | None = None  # s, the first sample of speech leaves
    speech_ends: float | None = None  # s, the last sample of speech leaves; of typed text: it was sent
    transcript: str | None = None  # what the server understood


@dataclass(frozen=True)
class AtTheEar:
    """What the user had of an answer, in milliseconds from the last sample of speech; a missing thing is None."""

    voice_to_voice_ms: float | None  # to the first sample that is audible
    received_ms: float | None  # to the first sample that arrived
    first_text_ms: float | None
    heard_s: float  # s of sound that was audible
    underruns: int
    starved_ms: float  # silence in the middle
    stop_ms: float | None = None  # of an interrupted answer: from the onset of speech to its last audible sample


@dataclass(frozen=True)
class Stage:
    """One step of the way from the end of speech to the first audible sample."""

    name: str
    ms: float


@dataclass
class Answer:
    """An answer and how it came."""

    id: str
    asked: Utterance | None = None
    status: Literal["in_progress", "completed", "cancelled", "failed", "incomplete"] = "in_progress"
    reason: str | None = None
    error: str | None = None
    text: str = ""
    rate: int = 0  # Hz of its samples
    calls: list[Called] = field(default_factory=list)
    latency: Mapping[str, Any] | None = None  # the server's waterfall
    reopened: bool = False  # an answer before this one was taken back, since the user went on
    troubles: list[Trouble] = field(default_factory=list)
    first_text_at: float | None = None
    spoken: list[Playing] = field(default_factory=list)
    interrupted_by: Utterance | None = None
    pieces: list[Wave] = field(default_factory=list, repr=False)

    @property
    def samples(self) -> Wave:
        """All of its sound, heard or not, mono float32 at `rate`."""
        return np.concatenate(self.pieces) if self.pieces else np.empty(0, np.float32)

    @property
    def question(self) -> str | None:
        """What the server understood; None if it did not say."""
        return None if self.asked is None else self.asked.transcript

    @property
    def ear(self) -> AtTheEar:
        """What the user had of it."""
        origin = None if self.asked is None else self.asked.speech_ends

        def after(moment: float | None) -> float | None:
            return None if moment is None or origin is None else (moment - origin) * 1000

        first = self.spoken[0] if self.spoken else None
        audible = first is not None and (first.stopped_at is None or first.stopped_at > first.first_at)
        onset = None if self.interrupted_by is None else self.interrupted_by.speech_starts
        cut = [one for one in self.spoken if one.stopped_at is not None and one.stopped_at > one.first_at]
        stop = max((min(one.stopped_at, one.ends) for one in cut if one.stopped_at is not None), default=None)
        return AtTheEar(
            voice_to_voice_ms=after(first.first_at) if first is not None and audible else None,
            received_ms=after(first.received_at) if first is not None else None,
            first_text_ms=after(self.first_text_at),
            heard_s=sum(one.heard(float("inf")) for one in self.spoken),
            underruns=sum(one.underruns for one in self.spoken),
            starved_ms=sum(one.starved for one in self.spoken) * 1000,
            stop_ms=(stop - onset) * 1000 if stop is not None and onset is not None and stop > onset else None,
        )

    @property
    def excluded(self) -> tuple[str, ...]:
        """Why this answer does not belong into percentiles; empty for one that does."""
        found: list[str] = [self.status] if self.status in ("cancelled", "failed") else []
        found += ["reopened"] if self.reopened else []
        found += ["tool"] if self.calls else []
        found += [] if self.latency is None else self.latency.get("excluded", [])
        heard = self.ear.voice_to_voice_ms
        found += ["early"] if heard is not None and heard <= 0 else []
        return tuple(dict.fromkeys(found))

    @property
    def waterfall(self) -> tuple[Stage, ...]:
        """Stages which sum to voice-to-voice: the server's own, the rest of the way here, and this client's buffer.

        What the server cannot know is in `rest`: the way there and back, and by how much it heard the end of speech
        elsewhere than it was. It can be negative then.
        """
        ear = self.ear
        if ear.voice_to_voice_ms is None or ear.received_ms is None:
            return ()
        stages = [] if self.latency is None else self.latency.get("stages", [])
        found = [Stage(str(one["name"]), float(one["ms"])) for one in stages if one["name"] not in LATER]
        rest = ear.received_ms - sum(stage.ms for stage in found)
        name = "rest" if found else "server and network"
        return (*found, Stage(name, rest), Stage("play-out", ear.voice_to_voice_ms - ear.received_ms))
