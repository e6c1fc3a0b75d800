"""The answers of one session: begun, filled by the engine, cut short, each ended exactly once."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from omni.engine.protocol import (
    Answered,
    AudioOut,
    Cancel,
    CodesOut,
    Done,
    Mark,
    Origin,
    SessionSpec,
    TextDelta,
    ToolCall,
    Unit,
    Usage,
)
from omni_server.latency.waterfall import waterfall
from omni_server.session import events
from omni_server.session.events import Answer, Event, Measured, Outcome, ResponseCreated, ResponseDone, Thinking
from omni_server.session.ground import Ground
from omni_server.session.items import Item, Reference
from omni_server.session.playback import Playback
from omni_server.session.setup import Wishes
from omni_server.session.speaking import Speaking
from omni_server.session.telling import Wait, units_of

MARKS = frozenset(
    "prefill first_text first_codes first_audio transcript llm_first_token first_clause tts_first_audio".split()
)
CUT_OFF = "the answer ended before the speech was written down"
PLAYBACKS = 16  # spoken messages, the newest, that may still play
WORDS = 5.0  # s after an answer was cancelled, in which what its turn said may still be written down


@dataclass(frozen=True)
class StartApart:
    """Answer this in an engine session of its own."""

    origin: Origin
    spec: SessionSpec
    units: Sequence[Unit]


@dataclass(frozen=True)
class StopApart:
    """Nobody wants that one any more."""

    response: str


Chore = StartApart | StopApart


@dataclass
class Answers:
    """At most one at a time in the conversation, a few beside it."""

    ground: Ground
    active: Speaking | None = None
    beside: dict[str, Speaking] = field(default_factory=dict)
    playbacks: deque[Playback] = field(default_factory=lambda: deque(maxlen=PLAYBACKS))
    chores: deque[Chore] = field(default_factory=deque)
    prepared: Origin | None = None
    taken_back: bool = False  # one that was prepared, since the last that began
    speech: dict[str, float] = field(default_factory=dict)  # moments of speech that nothing has answered yet
    spoken: list[str] = field(default_factory=list)  # its items
    only_transcribing: dict[str, list[str]] = field(default_factory=dict)  # items, by response that nobody sees
    _unwritten: dict[str, tuple[list[str], float]] = field(default_factory=dict)  # items of cancelled ones; until when
    _epochs: "count[int]" = field(default_factory=lambda: count(1))
    _leaving: dict[str, Speaking] = field(default_factory=dict)  # whose end has not left yet
    _last: Speaking | None = None
    _last_excluded: tuple[str, ...] = ()

    # Beginning

    def prepare(self) -> None:
        """The turn is probably over: let the engine begin."""
        ground = self.ground
        if self.active is None and not ground.telling.stale and not ground.setup.only_transcribes:
            self.prepared = self._origin()
            ground.telling.begin(self.prepared, ground.setup.spec(ground.settings.longest_answer))

    def take_back(self) -> None:
        """It was not over."""
        if self.prepared is not None:
            self.prepared, self.taken_back = None, True

    def transcribe(self) -> None:
        """The engine is only to write down what was said."""
        ground, origin = self.ground, self._origin()
        self.only_transcribing[origin.response] = self._answered()
        ground.telling.end_turn(origin, SessionSpec(speaks=False, longest=1), list(ground.telling.turn))
        ground.telling.units.append(Wait(origin.response))

    def begin(
        self,
        wishes: Wishes,
        *,
        aside: bool = False,
        context: Sequence[Item | Reference] | None = None,
        by_turn: bool = False,
        over_at: float | None = None,
    ) -> Speaking:
        """Answer the conversation; or `context` alone; `aside`: the conversation does not learn of it.

        `by_turn`: because the user's turn is over, so that what was prepared for that is the answer; `over_at`: it has
        been since then, and waited for the answer before.
        """
        ground = self.ground
        spec = ground.setup.spec(ground.settings.longest_answer, wishes)
        # What was prepared may have been taken back since: the engine knows its origin, and will not have it again.
        prepared = by_turn and self.prepared is not None and ground.telling.begun == self.prepared
        origin = self.prepared if prepared and self.prepared is not None else self._origin()
        speaking = Speaking(
            origin, ground.names, ground.say, None if aside else self._enter, wishes, spec.speaks,
            ground.engine_rate, wishes.rate_out or ground.setup.rate_out, aside, aside or context is not None,
        )  # fmt: skip
        if not aside:
            self.active, speaking.answered = speaking, self._answered()
            speaking.moments, self.speech = self.speech, {}
            speaking.reopened, self.taken_back, self.prepared = self.taken_back, False, None
        else:
            self.beside[origin.response] = speaking
        speaking.moments["turn_over"] = ground.now() if over_at is None else over_at
        speaking.queued = over_at is not None
        self._leaving[origin.response] = speaking
        ground.say(ResponseCreated(speaking.answer()))
        if speaking.apart:
            self.chores.append(StartApart(origin, spec, self._context(context)))
        else:
            ground.telling.end_turn(origin, spec, list(ground.conversation))
        return speaking

    # The engine

    def from_engine(self, event: Answered) -> None:
        """Something of a response. What comes for one that is over is dropped here, and only here."""
        name = event.origin.response
        speaking = self.active if self.active is not None and self.active.id == name else self.beside.get(name)
        if speaking is None:
            if isinstance(event, Done) and name in self.only_transcribing:
                self.transcribed(name)
            return
        match event:
            case TextDelta(text=text):
                speaking.text(text)
            case AudioOut(samples=samples):
                speaking.audio(samples)
            case CodesOut(codes=codes):
                speaking.codes(codes)
            case ToolCall(name=tool, arguments=arguments, call=call):
                speaking.moments.setdefault("tool", self.ground.now())
                speaking.call(tool, arguments, call)
            case Mark(stage=stage, time=time):
                if stage in MARKS:
                    speaking.moments.setdefault(stage, time)
            case Done(reason="length", usage=usage):
                self._end(speaking, "incomplete", reason="max_output_tokens", usage=usage)
            case Done(reason="cancelled", usage=usage):
                self._end(speaking, "cancelled", reason="client_cancelled", usage=usage)
            case Done(usage=usage):
                self._end(speaking, "completed", usage=usage)
        if speaking.begun and speaking.thinking:
            speaking.thinking = False
            self.ground.say(Thinking(speaking.id, False))

    def fail(self, response: str, code: str, message: str) -> None:
        """It cannot go on."""
        speaking = self.active if self.active is not None and self.active.id == response else self.beside.get(response)
        if speaking is not None:
            self._end(speaking, "failed", code=code, message=message)
        elif response in self.only_transcribing:
            self.ground.transcripts.give_up(self.only_transcribing[response], code, message)
            self.transcribed(response)

    def transcribed(self, response: str) -> None:
        """A response that nobody sees is over."""
        items = self.only_transcribing.pop(response)
        why = "this engine writes down nothing of what it hears: choose one with speech to text"
        self.ground.transcripts.give_up(items, "transcription_unavailable", why)

    def said_in(self, response: str) -> list[str]:
        """The items of the turn that got this response, though it may be cancelled: their words are here."""
        if self.active is not None and self.active.id == response:
            return self.active.answered
        return self._unwritten.pop(response, ([], 0.0))[0]

    def unwritten(self, item: str) -> bool:
        """Whether this is of a cancelled turn whose words may still come."""
        return any(item in items for items, _ in self._unwritten.values())

    def give_up_at(self) -> float | None:
        """When the words of a cancelled turn are waited for no longer."""
        return min((until for _, until in self._unwritten.values()), default=None)

    def give_up(self, before: float) -> None:
        """Wait no longer for words that should have come before."""
        for response, (items, until) in list(self._unwritten.items()):
            if until <= before:
                del self._unwritten[response]
                self.ground.transcripts.give_up(items, "transcription_unavailable", CUT_OFF)

    # Ending

    def cancel(self, speaking: Speaking, reason: str) -> None:
        """Stop it, now: what has not left is not sent."""
        ground, now = self.ground, self.ground.now()
        ground.drop_audio(speaking.id)
        self._end(speaking, "cancelled", reason=reason)
        heard = None
        for item in speaking.messages if speaking.speaks else ():
            playback = self.playback(item) or Playback(item)
            heard = (heard or 0.0) + playback.stop(speaking.truncated.get(item.id, playback.heard(now)))
        if not speaking.aside:
            self.silence()
        if speaking.apart:
            self.chores.append(StopApart(speaking.id))
        else:
            ground.telling.cancel(heard)

    def audible(self) -> bool:
        """Whether something is heard now, will be, or would be if the wire were faster."""
        now = self.ground.now()
        return any(playback.audible(now) for playback in self.playbacks) or bool(self._waiting())

    def silence(self) -> None:
        """What still plays at the client, though it is made, is interrupted; what waits of it is not sent."""
        now, waiting = self.ground.now(), self._waiting()
        if waiting and self._last is not None:
            self.ground.drop_audio(self._last.id)
        for playback in self.playbacks:
            if playback in waiting or playback.audible(now):
                self.cut(playback, playback.heard(now))

    def cut(self, playback: Playback, heard: float) -> None:
        """Of a spoken message only so much was heard."""
        playback.stop(heard)
        last, now = self._last, self.ground.now()
        if self.active is None and last is not None and last.owns(playback.item) and not last.apart:
            # not while another answer is made: it would end that one
            self.ground.telling.cancel(sum(played.heard(now) for played in self._of(last)))
        else:
            self.ground.telling.stale = True

    def played(self, item: str, seconds: float, received_at: float | None, first_at: float | None) -> None:
        """The client says how much of an answer it has played, and when it heard the first of it."""
        playback = next((played for played in self.playbacks if played.item.id == item), None)
        last = self._last if self.active is None else self.active
        if playback is None:
            return
        playback.told(seconds, self.ground.now())
        if last is None or not last.owns(playback.item) or "received" in last.moments or "audible" in last.moments:
            return
        if received_at is not None:
            last.moments["received"] = received_at
        if first_at is not None:
            last.moments["audible"] = first_at
        if last is self._last and (received_at is not None or first_at is not None):
            self.ground.say(Measured(last.id, None, self._last_excluded))

    def playback(self, item: Item) -> Playback | None:
        """How much of a message was heard; None of one that was never spoken, or long ago."""
        return next((playback for playback in self.playbacks if playback.item is item), None)

    @property
    def quiet_at(self) -> float:
        """When everything that was sent will have been played, or was."""
        return max((playback.ends() for playback in self.playbacks), default=0.0)

    def thinking_at(self) -> float | None:
        """When the silence of an answer is to be told."""
        speaking = self.active
        if speaking is None or speaking.begun or speaking.thinking or not self.ground.settings.thinking_ms:
            return None
        return speaking.moments["turn_over"] + self.ground.settings.thinking_ms / 1000

    def think(self) -> None:
        """Tell it, if it is time."""
        due = self.thinking_at()
        if due is not None and self.active is not None and self.ground.now() >= due:
            self.active.thinking = True
            self.ground.say(Thinking(self.active.id, True))

    def enough(self) -> Unit:
        """What is said to the engine when only the words of a turn were wanted, and are there."""
        return Cancel()

    # The wire

    def leaving(self, event: Event) -> Event:
        """An event leaves for the wire: the moment of the first sound is now, and an end brings its waterfall."""
        if isinstance(event, events.AudioDelta):
            name = event.place.response
            speaking = self._leaving.get(name)
            if speaking is not None:
                now = self.ground.now()
                speaking.moments.setdefault("first_sent", now)
                if not speaking.aside:
                    self._plays(speaking, event, now)
        elif isinstance(event, events.TextDelta) and not event.speech:
            speaking = self._leaving.get(event.place.response)
            if speaking is not None:
                speaking.moments.setdefault("first_sent", self.ground.now())
        elif isinstance(event, ResponseDone):
            speaking = self._leaving.pop(event.answer.id, None)
            if speaking is not None:
                return ResponseDone(event.answer, waterfall(speaking.moments, _excluded(event.answer, speaking)))
        elif isinstance(event, Measured) and self._last is not None and event.response == self._last.id:
            return Measured(event.response, waterfall(self._last.moments, event.excluded))
        return event

    # Inside

    def _origin(self) -> Origin:
        return Origin(self.ground.names.new("resp"), next(self._epochs))

    def _answered(self) -> list[str]:
        found, self.spoken = self.spoken, []
        return found

    def _enter(self, item: Item) -> str | None:
        self.ground.make_room()
        return self.ground.conversation.add(item)

    def _context(self, context: Sequence[Item | Reference] | None) -> list[Unit]:
        found: list[Unit] = []
        for item in self.ground.conversation if context is None else context:
            known = self.ground.conversation.find(item.id) if isinstance(item, Reference) else item
            found += units_of(known) if known is not None else []
        return found

    def _plays(self, speaking: Speaking, event: events.AudioDelta, now: float) -> None:
        if not self.playbacks or self.playbacks[-1].item.id != event.place.item:
            item = speaking.find(event.place.item)
            if item is None:
                return
            self.playbacks.append(Playback(item, self.quiet_at))
        self.playbacks[-1].add(len(event.samples) / event.rate, now)

    def _waiting(self) -> list[Playback]:
        """The messages of the last answer, while sound of it waits for the wire, and nobody stopped it."""
        last = self._last
        if last is None or last.id not in self._leaving:
            return []
        return [playback for playback in self._of(last) if not playback.stopped]

    def _of(self, speaking: Speaking) -> list[Playback]:
        return [playback for playback in self.playbacks if speaking.owns(playback.item)]

    def _end(
        self, speaking: Speaking, status: Outcome, reason: str = "", code: str = "", message: str = "",
        usage: Usage | None = None,
    ) -> None:  # fmt: skip
        ground = self.ground
        answer = Answer(
            speaking.id, status, (), speaking.aside, speaking.speaks, reason or None, code or None, message or None,
            usage, speaking.wishes.metadata, speaking.wishes.wire,
        )  # fmt: skip
        if speaking is self.active:
            self.active = None
        else:
            self.beside.pop(speaking.id, None)
        answer = speaking.end(answer)
        if speaking.thinking:
            speaking.thinking = False
            ground.say(Thinking(speaking.id, False))
        if status == "cancelled" and not speaking.apart:
            self._unwritten[speaking.id] = speaking.answered, ground.now() + WORDS
        else:
            why = CUT_OFF if status == "cancelled" else "no speech to text"
            ground.transcripts.give_up(speaking.answered, "transcription_unavailable", why)
        ground.say(ResponseDone(answer, None))
        ground.say(Measured(speaking.id, None, _excluded(answer, speaking)))
        if not speaking.aside:
            self._last, self._last_excluded = speaking, _excluded(answer, speaking)
            if speaking.apart:
                ground.telling.stale = True  # the engine's own conversation knows nothing of it
            for playback in self._of(speaking) if status != "cancelled" else ():
                if playback.item.id in speaking.truncated:
                    self.cut(playback, speaking.truncated[playback.item.id])


def _excluded(answer: Answer, speaking: Speaking) -> tuple[str, ...]:
    found: list[str] = [answer.status] if answer.status in ("cancelled", "failed") else []
    found += ["reopened"] if speaking.reopened else []
    found += ["queued"] if speaking.queued else []
    found += ["tool"] if "tool" in speaking.moments else []
    return tuple(found)
