"""One conversation: what is pushed changes its tape at once, what the loop chooses becomes events.

Everything here happens on the event loop, between two ticks, so that a `Cancel` never meets a half-made step: the reply
is cut where the ear stopped, closed as the script closes answers, and the next token is the next turn's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from omni.bundle import Bundle
from omni.engine.accept import accept
from omni.engine.clock import Clock
from omni.engine.native.delivery import Delivery
from omni.engine.native.embedding import Embedding
from omni.engine.native.lane import Lane
from omni.engine.native.pace import Pace
from omni.engine.native.prefixes import Prefixes
from omni.engine.native.reply import Reply
from omni.engine.native.system import exchange, held, system_part
from omni.engine.native.turn import Entry, Turn, longest_piece
from omni.engine.native.voice import Voice
from omni.engine.outlet import Outlet
from omni.engine.protocol import (
    AudioIn,
    Begin,
    Cancel,
    Closed,
    Configure,
    Discard,
    EndOfTurn,
    Event,
    Failed,
    ImageIn,
    Origin,
    Overflow,
    Refused,
    SessionSpec,
    TextIn,
    TurnPrediction,
    Unit,
)
from omni.model.sampling import Sampler
from omni.script import OPENS, Calls, How

PATIENCE = 5.0  # s that a push waits while the engine is behind
SECONDS = 0.04  # of sound that a token stands for
BACKLOG = 250  # tokens that may wait to be read, while no answer keeps them waiting: 10 s of sound
SPARE = 1 / 8  # of the context is kept for the answer to a turn
LOWEST = 3 / 8  # of the context that is free after an answer; with less, old items go until
ROOMY = 5 / 8  # of it is free again


class Engine(Protocol):
    """What a session needs of the engine around it."""

    bundle: Bundle
    clock: Clock
    embedding: Embedding
    voice: Voice | None
    prefixes: Prefixes

    def wake(self) -> None:
        """There is something to do."""
        ...

    def transcribe(self, session: "NativeSession", upto: int, turn: int, origin: Origin) -> None:
        """Write down the last turn of so many tokens, which ends there on the tape and got this response."""
        ...

    def writes(self, session: "NativeSession") -> bool:
        """Whether a turn of it is still being written down."""
        ...

    def moves(self, session: "NativeSession", start: int) -> None:
        """The tape is about to change from there on."""
        ...

    def drop(self, session: "NativeSession") -> None:
        """It cannot go on."""
        ...

    async def forget(self, session: "NativeSession") -> None:
        """It is closed."""
        ...


class NativeSession:
    """One conversation in one slot; `system` are the ids of what its spec has to say."""

    def __init__(
        self, spec: SessionSpec, system: list[int], lane: Callable[["NativeSession"], Lane], engine: Engine
    ) -> None:
        self.spec = spec
        self.engine = engine
        self.outlet = Outlet(taken=self._taken)
        self.lane = lane(self)
        self.turn = Turn(engine.bundle)
        self.placed = False  # something of the turn is on the tape
        self.forked: Turn | None = None  # the turn as the begun answer sees it
        self.delivery: Delivery | None = None
        self.last: Reply | None = None  # the last answer on the tape, until it is dropped
        self.last_stop = 0  # where it ends on the tape
        self.answers = 0
        self.used = engine.clock.now()  # when something came last
        self.read = asyncio.Event()  # the loop has read something
        self.system: tuple[int, ...] | None = None  # the system's part, until it is kept for others
        self._next: tuple[SessionSpec, list[int]] | None = None  # settings that wait, with their system's part
        self._begin(system)

    # The protocol

    async def push(self, unit: Unit) -> None:
        """Hand over the next unit."""
        if self.outlet.ended:
            raise Closed("the session is over")
        accept(unit, sees=self.engine.bundle.sees)
        if isinstance(unit, AudioIn | TextIn | ImageIn):
            await self._room()
        self.used = self.engine.clock.now()
        match unit:
            case AudioIn() | TextIn() | ImageIn():
                self._hear(unit)
            case Begin(origin=origin):
                self.outlet.begin(origin)
                self._take_back()
                self._start(origin, begun=True)
            case EndOfTurn(origin=origin):
                if self.outlet.confirm(origin):
                    self._settle()
                else:
                    self._take_back()
                    self._start(origin, begun=False)
            case Cancel(heard=heard):
                cancelled = self.outlet.cancel()
                if cancelled is not None or heard is not None:
                    self._cancel(heard)
            case Discard():
                self.outlet.take_back()
                self._take_back()
                self._discard()
            case Configure(spec=spec):
                self._configure(spec)
        self.engine.wake()

    def events(self) -> AsyncIterator[Event]:
        """Everything that comes out."""
        return self.outlet

    async def close(self) -> None:
        """End the session and give its slot back."""
        self.outlet.close()
        self._no_delivery()
        self.read.set()
        await self.engine.forget(self)

    def fail(self, code: str, message: str) -> None:
        """The session is over because of this."""
        self._no_delivery()
        self.outlet.fail(code, message)
        self.read.set()

    # The turn

    async def _room(self) -> None:
        if self.lane.reply is None and self.lane.tape.unread > BACKLOG:
            try:
                async with asyncio.timeout(PATIENCE):
                    while self.lane.reply is None and self.lane.tape.unread > BACKLOG and not self.outlet.ended:
                        self.read.clear()
                        await self.read.wait()
            except TimeoutError:
                raise Overflow(
                    f"the engine is behind: {self.lane.tape.unread} tokens wait to be read and there was no room for "
                    f"more for {PATIENCE:g} s"
                ) from None
            if self.outlet.ended:
                raise Closed("the session is over")

    def _hear(self, unit: AudioIn | TextIn | ImageIn) -> None:
        tape = self.lane.tape
        most = self._most(max(held(tape), len(self._next[1]) if self._next is not None else 0))
        letters = most * longest_piece(self.engine.bundle.text)
        if isinstance(unit, TextIn) and len(unit.text) > letters:  # not weighed: that takes long
            raise Refused(
                f"a text of {len(unit.text)} characters is longer than a turn of {most} tokens: make it shorter"
            )
        tokens, ids = self.turn.weigh(unit)
        if not isinstance(unit, AudioIn) and tokens > most:
            raise Refused(f"this makes {tokens} tokens and a turn has room for {most}: make it shorter")
        if self.turn.tokens + tokens > most:
            raise Overflow(
                f"the turn holds {self.turn.tokens} tokens and {tokens} more make it longer than the {most} that the "
                f"context of {tape.capacity} has for it: end it, or discard it"
            )
        self.outlet.take_back()
        self._take_back()
        self.turn.hear(unit, ids)
        self._place(self.turn)

    def _most(self, system: int) -> int:
        """Tokens that a turn may have beside so many of the system's part."""
        return int(self.lane.tape.capacity * (1 - SPARE)) - system - 4

    def _place(self, turn: Turn) -> None:
        """Put what is known of a turn on the tape; while an answer is being made, it waits."""
        if self.lane.reply is not None or not turn.entries:
            return
        if not self.placed:
            self.lane.tape.begin("user")
            self.placed = True
        while turn.entries:
            self._put(turn.entries.popleft())

    def _put(self, entry: Entry) -> None:
        tape = self.lane.tape
        length = len(entry) if isinstance(entry, list) else entry.length
        if tape.room < length:
            self._drop(length)
        if isinstance(entry, list):
            tape.put(self.engine.embedding.ids(entry))
        else:
            tape.wait(entry)

    def _discard(self) -> None:
        if self.placed:
            tape = self.lane.tape
            self._changes(tape.items[-1].start)
            tape.cut(tape.items[-1].start)
        self.turn, self.placed = Turn(self.engine.bundle), False

    def _drop(self, spare: int, *, all_over: bool = False) -> None:
        """Let old items go, so that so many tokens are free; the last of them only where `all_over`."""
        tape = self.lane.tape
        start, stop = tape.oldest(spare, all_over=all_over)
        if stop > start:
            self._changes(start)
            tape.splice(start, stop, self.engine.embedding.ids([]))
            if self.last is not None:
                self.last_stop -= stop - start
                self.last = self.last.without(start, stop)

    def _changes(self, start: int) -> None:
        self.engine.moves(self, start)

    # Answers

    def _start(self, origin: Origin, *, begun: bool) -> None:
        """Answer the turn as it stands."""
        lane, bundle = self.lane, self.engine.bundle
        spare = int(lane.tape.capacity * SPARE)
        if lane.tape.room < spare + 2:
            self._drop(spare + 2, all_over=not self.placed)
        self.forked = None
        turn = self.turn
        if begun:
            self.forked = turn = self.turn.fork()
            lane.mark()
        was_placed = self.placed
        turn.finish()
        self._place(turn)
        if begun:
            self.placed = was_placed
        how: How = "speak" if bundle.speaks and self.spec.speaks else "answer"
        sampling = replace(self.spec.sampling, seed=(self.spec.sampling.seed + 7919 * self.answers) % 2**63)
        calls: Calls = "no" if not self.spec.tools else "must" if self.spec.must_call else "may"
        lane.tape.begin("answer")
        lane.reply = Reply(
            origin, how, bundle.special, bundle.text.decoder(), Sampler(sampling), self.spec.longest,
            calls, lane.tape.length, lane.tape.count(lane.tape.length), lane.tape.count(lane.tape.read),
        )  # fmt: skip
        lane.tape.put(self.engine.embedding.ids([bundle.special[OPENS[how]]]))
        rate = bundle.codec.frame_rate if bundle.codec is not None else 1.0
        engine = self.engine
        self.delivery = Delivery(
            lane.reply, origin, Pace(rate), self.outlet, engine.voice, engine.clock, engine.wake, self._codec_failed,
            self.spec.codes, self._words_wait,
        )  # fmt: skip
        if not begun:
            self._settle()

    def _settle(self) -> None:
        """The turn that is answered is over: what comes now is the next one."""
        self.answers += 1
        turn = self.forked or self.turn
        self.lane.forget_mark()
        self.forked = self.last = None  # what is heard from now on is of this answer, even if it fails
        self.turn, self.placed = Turn(self.engine.bundle), False
        reply = self.lane.reply
        if self.delivery is not None and self.delivery.pace.begun is not None:
            self.delivery.pace.begun = self.engine.clock.now()  # nobody heard anything before
        if turn.heard and reply is not None and reply.origin is not None and self.spec.transcribes:
            self.engine.transcribe(self, reply.start, turn.tokens, reply.origin)
        if reply is not None and reply.over:
            self._made(reply)

    def _take_back(self) -> None:
        """Forget what was begun, if anything was."""
        if self.lane.bookmark is not None:
            self._changes(self.lane.bookmark)
            self.lane.take_back()
            self.forked = None
            self._no_delivery()
            self._apply_next()
            self._place(self.turn)

    def _cancel(self, heard: float | None) -> None:
        """Stop the answer, and keep in the history what was heard of it."""
        self._no_delivery()
        if self.lane.bookmark is not None:
            self._take_back()
        reply = self.lane.reply
        if reply is not None:
            keep, ends = reply.heard(heard, self._frame_rate)
            if keep is not None:
                self.lane.tape.cut(keep)
            self._end(reply, ends)
        elif self.last is not None and heard is not None:
            keep, ends = self.last.heard(heard, self._frame_rate)
            if keep is not None:
                self._changes(keep)
                self.lane.tape.splice(keep, self.last_stop, self._ids(ends))
                self.last_stop = keep + len(ends)

    def _end(self, reply: Reply, ends: list[str]) -> None:
        self.lane.tape.put(self._ids(ends))
        self.lane.reply = None
        self._made(reply)

    def _made(self, reply: Reply) -> None:
        """Everything of an answer is on the tape."""
        if self.lane.bookmark is not None:  # it may still be taken back
            return
        self.lane.reply = None
        self.last, self.last_stop = reply, self.lane.tape.length
        self._apply_next()
        tape = self.lane.tape
        if tape.room < LOWEST * tape.capacity:
            self._drop(int(ROOMY * tape.capacity))
        self._place(self.turn)

    @property
    def _frame_rate(self) -> float:
        codec = self.engine.bundle.codec
        return codec.frame_rate if codec is not None else 1.0

    def _ids(self, names: list[str]) -> Tensor:
        return self.engine.embedding.ids([self.engine.bundle.special[name] for name in names])

    # Settings

    def _begin(self, ids: list[int]) -> None:
        """Instructions and tools open the tape; another session may have read the same."""
        if ids:
            tape = self.lane.tape
            tape.begin("system")
            tape.put(self.engine.embedding.ids(ids))
            if not self.engine.prefixes.copy(tuple(ids), self.lane):
                self.system = tuple(ids)

    def _system(self, spec: SessionSpec) -> list[int]:
        return system_part(self.engine.bundle, spec, self.lane.tape.capacity)

    def _configure(self, spec: SessionSpec) -> None:
        """Take other settings, after the answer if one is being made. What does not fit beside the turn is refused."""
        after = self._system(spec)
        most = self._most(len(after))
        if self.turn.tokens > most:
            raise Refused(
                f"instructions and tools make {len(after)} tokens, which leaves {most} to a turn, and the turn that "
                f"goes on holds {self.turn.tokens}: make them shorter, or end the turn first"
            )
        if self.lane.reply is not None:
            self._next = spec, after
        else:
            self._apply(spec, after)

    def _apply_next(self) -> None:
        """Take the settings that waited for the end of an answer."""
        if self._next is not None:
            self._apply(*self._next)

    def _apply(self, spec: SessionSpec, after: list[int]) -> None:
        """Take settings that fit; with another system's part everything is read again."""
        before = self._system(self.spec)
        self.spec, self._next = spec, None
        if before == after:
            return
        tape, more = self.lane.tape, len(after) - len(before)
        if more > tape.room:
            self._drop(more, all_over=not self.placed)
        self._changes(0)
        exchange(tape, self.engine.embedding.ids(after))
        if self.last is not None:
            self.last.shift(more)
            self.last_stop += more
        self.system = tuple(after) or None

    # What the loop asks and tells

    @property
    def grown(self) -> int:
        """Tokens of a turn with speech that were read since it was sketched last; 0 where nobody asks for words."""
        turn, lane = self.turn, self.lane
        if not (self.spec.transcribes and self.placed and turn.heard) or lane.reply is not None:
            return 0
        return turn.tokens - lane.tape.unread - turn.sketched

    def predicted(self, probability: float) -> None:
        """How probable it is that the turn is over; of a turn before, which may be read again, nobody wants to know."""
        tape = self.lane.tape
        at = self.turn.seconds - SECONDS * (tape.sound[1] - tape.read)
        if self.placed and at > 0:
            self.outlet.offer(TurnPrediction(probability, at))

    def chosen(self) -> None:
        """The reply went on."""
        reply = self.lane.reply
        assert reply is not None
        if self.delivery is not None:
            self.delivery.mark("prefill")
            self.delivery.pace.made(len(reply.frames), self.engine.clock.now())
        if reply.over:
            self._made(reply)
        self.deliver()

    def poisoned(self, start: int) -> None:
        """What was read from there on, or said, has no finite numbers: the turn goes, and the answer to it."""
        tape = self.lane.tape
        reply = self.lane.reply
        origin = reply.origin if reply is not None else self.delivery.origin if self.delivery is not None else None
        if reply is None or self.lane.bookmark is not None:  # otherwise the turn is the next one already
            self.turn = Turn(self.engine.bundle)
        self._no_delivery()
        self.lane.reply = None
        self.lane.forget_mark()
        said = [item.start for item in tape.items if item.kind != "system"]  # an answer may have no turn before it
        turn = next((item.start for item in reversed(tape.items) if item.kind == "user"), said[0] if said else None)
        if turn is None:  # it is the system's part itself, which nobody else shall have and no second look makes better
            self.system, forgotten = None, "the instructions cannot be read"
        else:
            self._changes(turn)
            tape.cut(turn)
            tape.read = min(tape.read, start)  # what was read beside it may be as bad
            forgotten = "the turn was forgotten"
        if self.last_stop > tape.length:
            self.last = None
        self.placed, self.forked = False, None
        self._apply_next()
        self._place(self.turn)
        self.outlet.offer(Failed(origin, "not_finite", f"the model's numbers are not finite: {forgotten}"))

    def broke(self, error: Exception) -> None:
        """It cannot go on, and the others can."""
        self.fail("engine_error", f"a step of the model failed: {type(error).__name__}: {error}")
        self.engine.drop(self)

    def after_tick(self) -> None:
        """A tick is over."""
        self.read.set()
        tape = self.lane.tape
        if self.system is not None and tape.read >= len(self.system):
            self.engine.prefixes.keep(self.system, self.lane)
            self.system = None

    @property
    def blocked(self) -> bool:
        """Whether what was made has to leave first."""
        return self.delivery is not None and not self.outlet.room and bool(self.delivery.reply.out)

    def deliver(self) -> None:
        """Hand out what can leave now."""
        if self.delivery is not None and self.delivery.go_on():
            self.delivery = None

    def _no_delivery(self) -> None:
        """What is not handed out yet never will be."""
        if self.delivery is not None:
            self.delivery.dropped = True
            self.delivery = None

    def _words_wait(self) -> bool:
        """Whether the words of the turn that is answered are still to come; those of one that may go on are."""
        if self.lane.bookmark is None:
            return self.engine.writes(self)
        return self.spec.transcribes and self.forked is not None and self.forked.heard > 0

    def _codec_failed(self) -> None:
        self._cancel(None)

    def _taken(self, _count: int) -> None:
        if self.delivery is not None and self.delivery.reply.out:
            self.engine.wake()
