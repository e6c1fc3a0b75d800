"""Who takes part in the next tick, with how many tokens, and when it is due."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omni.engine.native.embedding import Embedding
from omni.engine.native.lane import Lane
from omni.engine.native.pace import Beat

if TYPE_CHECKING:
    from omni.engine.native.session import NativeSession
    from omni.engine.native.transcripts import Branch

CHUNK = 64  # tokens that one lane reads in a tick
TOKENS = 96  # tokens that a tick reads beside the ones that answers go on with: about 30 ms of a small model's work


class Schedule:
    """Answers that go on come first, then turns that are over, then what is heard, then transcripts."""

    def __init__(self, beat: Beat) -> None:
        self.beat = beat

    def due(self, sessions: "Sequence[NativeSession]", branches: "Sequence[Branch]", now: float) -> float | None:
        """When the next tick is due; None while nobody has anything to do."""
        due: float | None = None
        if any(s.delivery is not None and s.delivery.awaits_first_sound for s in sessions):
            return None  # the codec wakes the loop: beside a step it would take twice as long
        for session in sessions:
            when = self._due(session, now)
            if when is not None and (due is None or when < due):
                due = when
        if any(_works(branch.lane) for branch in branches):
            due = min(due if due is not None else now + self.beat.period, max(now, self.beat.next(now)))
        return due

    def choose(
        self, sessions: "Sequence[NativeSession]", branches: "Sequence[Branch]", now: float, embedding: Embedding
    ) -> list[tuple[Lane, int]]:
        """The lanes of a tick and how many tokens each of them reads; vectors that they wait for are made."""
        if self.beat.next(now) <= now:
            able = [s.lane for s in sessions if self._able(s, now)] + [b.lane for b in branches if _works(b.lane)]
            self.beat.struck(now)
        else:  # an answer that hurries is not slowed down by those that can wait
            able = [s.lane for s in sessions if (due := self._due(s, now)) is not None and due <= now]
        able.sort(key=_rank)  # stable: sessions in the order in which they came
        left = TOKENS
        waiting: list[Lane] = []
        for lane in able:
            if lane.tape.waiting and left > 0:
                waiting.append(lane)
                left -= min(lane.tape.waiting[0].length, CHUNK)
        if waiting:
            embedding.fill(waiting, CHUNK)
            # What closes a turn waits behind its last sound: without a second look it would be a tick late.
            more = [lane for lane in waiting if lane.tape.waiting and lane.reply is not None]
            if more:
                embedding.fill(more, CHUNK)
        left = TOKENS
        work = []
        for lane in able:
            count = lane.tape.next(CHUNK)
            if count == 1 or (count and left > 0):
                work.append((lane, count))
                left -= count if count > 1 else 0
        return sorted(work, key=lambda w: w[0].slot)  # neighbours in the cache are read together

    def _able(self, session: "NativeSession", now: float) -> bool:
        lane, delivery = session.lane, session.delivery
        if not _works(lane):
            return False
        if lane.reply is None or delivery is None or lane.reply.over:
            return True
        return not (delivery.pace.rests(now) or session.blocked)

    def _due(self, session: "NativeSession", now: float) -> float | None:
        lane, delivery = session.lane, session.delivery
        if not _works(lane):
            return None
        if lane.reply is None or delivery is None or lane.reply.over:
            return max(now, self.beat.next(now))
        if session.blocked:
            return None
        if delivery.pace.rests(now):
            return max(delivery.pace.rested(now), self.beat.next(now))
        return now if delivery.pace.hurries(now) else max(now, self.beat.next(now))


def _works(lane: Lane) -> bool:
    return lane.tape.unread > 0


def _rank(lane: Lane) -> int:
    if lane.reply is None:
        return 2
    if lane.reply.origin is None:
        return 3
    return 0 if lane.tape.unread == 1 else 1
