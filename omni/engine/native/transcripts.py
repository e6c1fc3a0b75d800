"""What the user says and said, written down by a side branch of the conversation in a spare slot.

The branch begins as a copy of the turn as the model has read it, and goes on with the token that asks for a transcript.
It takes part in the steps of the common beat, behind the answers, so the answer does not wait for it. One branch at a
time sketches a turn that still goes on: the words in which two sketches agree are its partial transcript.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omni.engine.native.embedding import Embedding
from omni.engine.native.lane import Lane
from omni.engine.native.reply import Reply
from omni.engine.native.schedule import CHUNK
from omni.engine.native.tick import LAST
from omni.engine.protocol import Failed, Origin, Overflow, Transcript
from omni.model.sampling import Sampler
from omni.sampling import GREEDY
from omni.script import TRANSCRIBE

if TYPE_CHECKING:
    from omni.engine.native.engine import NativeEngine
    from omni.engine.native.session import NativeSession

IDS_A_TOKEN = 1  # ids of a transcript for each token of the conversation before it, and
IDS_MORE = 16  # more: nobody says so much in 40 ms
STOPS = ".,:;?!"
SKETCH = 10  # tokens that a turn has grown by before it is sketched again: 0.4 s of sound


@dataclass
class Wanted:
    """A turn that is to be written down."""

    session: "NativeSession"
    upto: int  # tokens of the conversation
    turn: int  # tokens of the turn
    origin: Origin | None = None  # of the response to it; None while it goes on
    vectors: Tensor | None = None  # [upto, width], kept once the session's tape is another
    pictures: list[tuple[int, int]] = field(default_factory=list)  # among them

    def keep(self, embedding: Embedding) -> None:
        """The tape is about to change: keep what is on it now, and make what vectors it still waits for."""
        lane = self.session.lane
        with torch.inference_mode():
            while lane.tape.ready < self.upto:
                embedding.fill([lane], CHUNK)
        self.vectors = lane.tape.vectors[: self.upto].clone()
        self.pictures = list(lane.tape.pictures)


class Branch:
    """One transcript being written."""

    def __init__(self, wanted: Wanted, slot: int, engine: "NativeEngine") -> None:
        self.session = wanted.session
        self.origin = wanted.origin
        self.engine = engine
        self.lane: Lane = engine.slots.give(slot, self)
        try:
            self._begin(wanted)
        except BaseException:
            engine.slots.release(self.lane)
            raise

    def _begin(self, wanted: Wanted) -> None:
        """Copy what the model has read, and ask."""
        engine, tape, source = self.engine, self.lane.tape, wanted.session.lane
        if wanted.vectors is not None:
            tape.put(wanted.vectors)
            tape.pictures = [p for p in wanted.pictures if p[1] <= wanted.upto]
        else:
            tape.put(source.tape.vectors[: wanted.upto])
            engine.slots.cache.copy(source.slot, self.lane.slot, wanted.upto)
            tape.read = wanted.upto
        bundle = engine.bundle
        self.lane.reply = Reply(
            None, "transcribe", bundle.special, bundle.text.decoder(), Sampler(GREEDY),
            IDS_A_TOKEN * wanted.turn + IDS_MORE, calls="no", start=tape.length,
        )  # fmt: skip
        tape.put(engine.embedding.ids([bundle.special[TRANSCRIBE]]))

    def predicted(self, probability: float) -> None:
        """Of no interest here."""

    def chosen(self) -> None:
        """Another id; at the end the transcript leaves."""
        reply = self.lane.reply
        assert reply is not None
        if reply.over:
            # Also where nobody reads: turns are counted elsewhere, and others wait for the slot.
            self.session.outlet.offer(Transcript(reply.text.strip(), final=True, turn=self.origin), counted=True)
            self.engine.transcripts.end(self)

    def poisoned(self, _start: int) -> None:
        """It cannot be written."""
        said = "the model's numbers are not finite: there is no transcript"
        self.session.outlet.offer(Failed(None, "not_finite", said), counted=True)
        self.engine.transcripts.end(self)

    def broke(self, error: Exception) -> None:
        """It cannot be written either; the session goes on."""
        said = f"a step of the model failed: {type(error).__name__}: {error}: there is no transcript"
        self.session.outlet.offer(Failed(None, "no_transcript", said), counted=True)
        self.engine.transcripts.end(self)


class Sketch(Branch):
    """What a turn that still goes on sounds like so far. The model finishes what was cut off, often wrongly."""

    def __init__(self, wanted: Wanted, slot: int, engine: "NativeEngine") -> None:
        super().__init__(wanted, slot, engine)
        self.turn = wanted.session.turn

    @property
    def stale(self) -> bool:
        """Whether the turn is over, or may be."""
        return self.session.turn is not self.turn or self.session.lane.reply is not None

    def chosen(self) -> None:
        """Another id; at the end, what the sketch before says too is told."""
        reply, turn = self.lane.reply, self.turn
        assert reply is not None
        if reply.over:
            sure = in_common(turn.sketch, reply.text)
            turn.sketch = reply.text
            if len(sure) > len(turn.told):
                turn.told = sure
                self.session.outlet.offer(Transcript(sure))
            self.engine.transcripts.end(self)

    def poisoned(self, _start: int) -> None:
        """The transcript will tell."""
        self.engine.transcripts.end(self)

    def broke(self, _error: Exception) -> None:
        """The transcript will tell."""
        self.engine.transcripts.end(self)


def in_common(one: str, other: str) -> str:
    """The words with which both begin, whatever stops are behind them; none behind the last.

    >>> in_common("How many?", "How many legs does a wolf?")
    'How many'
    """
    words = []
    for word, same in zip(one.split(), other.split(), strict=False):
        if word.rstrip(STOPS) != same.rstrip(STOPS):
            break
        words.append(same)
    return " ".join(words).rstrip(STOPS)


class Transcripts:
    """The spare slots, and the turns that wait for one."""

    def __init__(self, engine: "NativeEngine", slots: range) -> None:
        self.engine = engine
        self.slots = slots
        self.waiting: deque[Wanted] = deque()
        self.branches: list[Branch] = []

    def want(self, session: "NativeSession", upto: int, turn: int, origin: Origin) -> None:
        """Write this turn down; of one session, the two latest turns at most wait."""
        mine = [wanted for wanted in self.waiting if wanted.session is session]
        for wanted in mine[:-1]:
            self.waiting.remove(wanted)
            session.outlet.offer(Failed(None, "no_transcript", "turns come faster than they can be written down"))
        self.waiting.append(Wanted(session, upto, turn, origin))

    def moves(self, session: "NativeSession", start: int) -> None:
        """The session's tape is about to change from there on."""
        for wanted in self.waiting:
            if wanted.session is session and start < wanted.upto and wanted.vectors is None:
                wanted.keep(self.engine.embedding)

    def waits(self, session: "NativeSession") -> bool:
        """Whether a turn of this session that is over is not written down yet."""
        written = [b.session for b in self.branches if not isinstance(b, Sketch)]
        return session in written or session in (wanted.session for wanted in self.waiting)

    @property
    def sketch(self) -> Sketch | None:
        """The one that is being made."""
        return next((branch for branch in self.branches if isinstance(branch, Sketch)), None)

    def begin(self) -> None:
        """Begin what can begin: its turn is read, or was read and is gone, and a slot is free."""
        sketch = self.sketch
        if sketch is not None and (self.waiting or sketch.stale):
            self.end(sketch)
        for wanted in list(self.waiting):
            slot = self.engine.slots.free(self.slots)
            if slot is None:
                return
            tape = wanted.session.lane.tape
            if wanted.vectors is not None or tape.read >= wanted.upto:
                self.waiting.remove(wanted)
                try:
                    self.branches.append(Branch(wanted, slot, self.engine))
                except Overflow:
                    said = "the context is full: there is no room for a transcript"
                    wanted.session.outlet.offer(Failed(None, "no_transcript", said), counted=True)
        if not self.waiting and self.sketch is None:
            self._sketch()

    def _sketch(self) -> None:
        """Begin a sketch of the turn that has grown the most since its last one, if any has grown enough."""
        engine, slot = self.engine, self.engine.slots.free(self.slots)
        session = max(engine.open_sessions, key=lambda s: s.grown, default=None)
        if slot is None or session is None or session.grown < SKETCH:
            return
        tape, turn = session.lane.tape, session.turn
        if tape.capacity - tape.read <= LAST:
            return
        turn.sketched += session.grown  # also where there is no time: the next look is 0.4 s of sound later
        if not engine.times.fits(len(engine.open_sessions) + len(self.branches) + 1, engine.budget / 2):
            return  # who is answered comes first
        self.branches.append(Sketch(Wanted(session, tape.read, turn.tokens), slot, engine))

    def end(self, branch: Branch) -> None:
        """It is written."""
        self.branches.remove(branch)
        self.engine.slots.release(branch.lane)

    def forget(self, session: "NativeSession") -> None:
        """The session is closed."""
        self.waiting = deque(wanted for wanted in self.waiting if wanted.session is not session)
        for branch in [b for b in self.branches if b.session is session]:
            self.end(branch)
