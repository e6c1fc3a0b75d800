"""The user's ear: when the samples that arrive would come out of a loudspeaker behind a small buffer. Pure arithmetic.

The loudspeaker begins an answer `buffer` seconds after its first sample arrived. When it runs dry in the middle, that
is an underrun, and it begins again so long after the next sample. Nothing is played twice or faster.
"""

from dataclasses import dataclass, field

BUFFER = 0.02  # s, a frame: what a client on a quiet network has between socket and loudspeaker


@dataclass
class Playing:
    """One spoken item."""

    answer: str
    item: str
    received_at: float  # s, its first sample
    first_at: float  # s, when that became audible
    pieces: list[tuple[float, float]] = field(default_factory=list)  # (begins at, lasts), s, without gaps in between
    complete: bool = False  # no more comes
    stopped_at: float | None = None  # s: it was cut there
    underruns: int = 0
    starved: float = 0.0  # s of silence in the middle
    dropped: float = 0.0  # s that came after the cut

    @property
    def ends(self) -> float:
        """When what has come will have been played."""
        begin, lasts = self.pieces[-1]
        return begin + lasts

    def heard(self, now: float) -> float:
        """Seconds of it that have been audible by now."""
        until = now if self.stopped_at is None else min(now, self.stopped_at)
        return sum(min(max(0.0, until - begin), lasts) for begin, lasts in self.pieces)

    def add(self, seconds: float, now: float, buffer: float) -> None:
        """More of it arrived."""
        begin, lasts = self.pieces[-1]
        if now > begin + lasts:
            self.underruns += 1
            self.starved += now + buffer - begin - lasts
            self.pieces.append((now + buffer, seconds))
        else:
            self.pieces[-1] = (begin, lasts + seconds)


@dataclass
class Ear:
    """Everything that is heard in one conversation.

    >>> ear = Ear(buffer=0.02)
    >>> ear.arrive("a", "i", 0.1, now=1.0)
    >>> ear.arrive("a", "i", 0.1, now=1.05)
    >>> round(ear.items["i"].first_at, 3), round(ear.quiet_at, 3)
    (1.02, 1.22)
    """

    buffer: float = BUFFER  # s
    items: dict[str, Playing] = field(default_factory=dict)
    _silenced: set[str] = field(default_factory=set)  # answers that were cut

    @property
    def quiet_at(self) -> float:
        """When everything that has come will have been played, or was cut."""
        return max((one.ends if one.stopped_at is None else one.stopped_at for one in self.items.values()), default=0.0)

    def arrive(self, answer: str, item: str, seconds: float, now: float) -> None:
        """Samples came."""
        playing = self.items.get(item)
        if playing is None:
            first = max(now + self.buffer, self.quiet_at)
            playing = self.items[item] = Playing(answer, item, now, first, [(first, 0.0)])
            if answer in self._silenced:
                playing.stopped_at = now
        if playing.stopped_at is not None:
            playing.dropped += seconds
        elif playing.pieces[-1][1] == 0.0:
            playing.pieces[-1] = (playing.first_at, seconds)
        else:
            playing.add(seconds, now, self.buffer)

    def complete(self, item: str) -> None:
        """No more of it comes."""
        if item in self.items:
            self.items[item].complete = True

    def stop(self, now: float) -> list[Playing]:
        """Silence, now. What was cut off is returned; answers that were cut stay silent."""
        cut = [one for one in self.items.values() if one.stopped_at is None and (one.ends > now or not one.complete)]
        for one in cut:
            one.stopped_at = now
            self._silenced.add(one.answer)
        return cut

    def of(self, answer: str) -> list[Playing]:
        """The spoken items of an answer."""
        return [one for one in self.items.values() if one.answer == answer]

    def forget(self, answer: str) -> None:
        """An answer that was heard out, or cut, and measured."""
        for one in self.of(answer):
            del self.items[one.item]
        self._silenced.discard(answer)
