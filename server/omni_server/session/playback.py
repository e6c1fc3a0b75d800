"""How much of an answer has been heard: by the client's own word where it gives it, else by the clock."""

from dataclasses import dataclass

from omni.engine.pipeline.history import LETTERS_A_SECOND
from omni_server.session.items import Message, SpeechPart
from omni_server.session.speaking import shorten


@dataclass
class Playback:
    """A spoken message, as it comes out of a loudspeaker that plays what it gets in order, at once and without gaps."""

    item: Message
    after: float = 0.0  # when what was sent before it will have been played
    sent: float = 0.0  # s of audio handed to the wire
    began: bool = False
    text: str = ""  # all that was said of it
    lasts: float = 0.0  # s that the text takes to say
    _ends: float = 0.0  # when all that was sent will have been played
    _told: tuple[float, float] | None = None  # s heard, and when the client said so
    _stopped: float | None = None  # s: it was cut there

    def add(self, seconds: float, now: float) -> None:
        """More audio leaves. If the last piece has ended by now, there was a gap."""
        self.began = True
        self._ends = max(self._ends, self.after, now) + seconds
        self.sent += seconds

    def told(self, seconds: float, now: float) -> None:
        """The client says how much it has played."""
        self._told = (min(seconds, self.sent), now)

    def stop(self, at: float) -> float:
        """It was cut there, at so many seconds: the message holds only what was heard. Says where it was cut."""
        part = self.item.parts[0]
        at = min(at, self.sent)
        if isinstance(part, SpeechPart):
            if self._stopped is None:
                self.text, self.lasts = part.transcript or "", self._length(part)
            part.transcript, part.seconds = shorten(self.text, self.lasts, at), at
        self._stopped = at
        return at

    def heard(self, now: float) -> float:
        """Seconds of it that have been heard."""
        if self._stopped is not None:
            return self._stopped
        if not self.began:
            return 0.0
        if self._told is not None:
            seconds, when = self._told
            return min(self.sent, seconds + (now - when))
        return max(0.0, self.sent - max(0.0, self._ends - now))

    def ends(self) -> float:
        """When it is over, or was."""
        if self._stopped is not None:
            return 0.0
        if self._told is not None:
            seconds, when = self._told
            return when + self.sent - seconds
        return self._ends

    @property
    def stopped(self) -> bool:
        """Whether it was cut."""
        return self._stopped is not None

    def audible(self, now: float) -> bool:
        """Whether it is heard now, or will be."""
        return self.began and not self.stopped and self.heard(now) < self.sent

    def _length(self, part: SpeechPart) -> float:
        """Seconds it takes to say, whether they were sent or not; about so many, where its sound is not all made."""
        done = self.item.status == "completed"
        return part.seconds if done else max(part.seconds, len(part.transcript or "") / LETTERS_A_SECOND)
