"""The state machine of a conversation. No I/O, no task, no wait: each call is one transition, on one event loop.

What it wants done lies in `telling.units` for the engine and in `answers.chores` for whoever drives it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    Configure,
    EndOfTurn,
    Failed,
    ImageIn,
    Origin,
    Overflow,
    Refused,
    TextIn,
    Transcript,
    TurnPrediction,
)
from omni.engine.protocol import Event as EngineEvent
from omni_server.session import commands, events
from omni_server.session.answers import Answers
from omni_server.session.conversation import Conversation
from omni_server.session.editing import NO_EYES, Editing
from omni_server.session.events import Event, Problem
from omni_server.session.ground import Ground
from omni_server.session.items import Item, Message, Reference, SpeechPart, still
from omni_server.session.listening import PER_MS, Listening
from omni_server.session.pictures import has_pictures
from omni_server.session.settings import SessionSettings
from omni_server.session.setup import SemanticVad, ServerVad, Setup, Wishes
from omni_server.session.telling import FULL_SCALE, Telling
from omni_server.session.transcripts import Transcripts
from omni_server.turns.detector import Ear


class Core:
    """One conversation."""

    def __init__(
        self,
        setup: Setup,
        settings: SessionSettings,
        now: Callable[[], float],
        say: Callable[[Event], None],
        drop_audio: Callable[[str], None],
        ear: Ear,
        *,
        engine_rate: int,
        engine_sees: bool,
    ) -> None:
        conversation = Conversation(int(settings.kept_audio_s * SAMPLE_RATE))
        telling = Telling(setup.spec(settings.longest_answer))
        transcripts = Transcripts(say, conversation.find, wanted=setup.transcribing is not None)
        self.ground = Ground(
            setup, settings, now, say, drop_audio, conversation, telling, transcripts, engine_rate, engine_sees
        )
        self.answers = Answers(self.ground)
        self.listening = Listening(self, ear, settings, now, wanted=setup.turns)
        self.editing = Editing(self.ground, self.answers, self.listening)
        telling.loose = lambda: self.listening.loose
        self._speech_item: str | None = None  # of the message that is being spoken
        # When a turn ended that is to be answered after the answer that is being made.
        self._queued: float | None = None
        self._trouble = ""  # what the engine had against the present turn
        self._idle_from: float | None = None  # since when nobody has had anything to say

    @property
    def session(self) -> str:
        """Its id."""
        return f"sess_{self.ground.names.session}"

    def open(self) -> None:
        """It begins."""
        self.ground.say(events.SessionOpened(self.session, self.ground.setup))

    # Commands

    def take(self, command: commands.Command) -> None:
        """Do what the client wants, or say why not."""
        match command:
            case commands.AppendAudio(samples=samples, rate=rate, sent_at=sent_at, ref=ref):
                self.listening.hear(samples, rate, sent_at, ref)
            case commands.CommitAudio():
                self._commit(command)
            case commands.ClearAudio():
                self.listening.clear()
                self._drop_speech_item()
                self.ground.say(events.Cleared())
            case commands.AddItem():
                self.editing.add(command)
            case commands.RetrieveItem(item=name):
                self.editing.retrieve(name, command.ref)
            case commands.TruncateItem():
                self.editing.truncate(command)
            case commands.DeleteItem(item=name):
                self.editing.delete(name, command.ref)
            case commands.CreateResponse():
                self._create(command)
            case commands.CancelResponse():
                self._cancel(command)
            case commands.Configure(setup=setup):
                self._configure(setup)
            case commands.PlayedOut():
                self._played(command)
            case commands.Reject(code=code, message=message, param=param, kind=kind, ref=ref):
                self.ground.say(Problem(code, message, param, kind, ref))

    def refusal(self, command: commands.AddItem | commands.CreateResponse) -> Problem | None:
        """Why `take` would say no, as far as that is known before pictures are read."""
        return self.editing.why_not(command) if isinstance(command, commands.AddItem) else self._why_not_answer(command)

    def _configure(self, setup: Setup) -> None:
        ground = self.ground
        ground.setup = setup
        if setup.spec(ground.settings.longest_answer) != ground.telling.spec:
            self.answers.take_back()  # what was prepared follows what the engine was told before
            ground.telling.begun = None
        if not (isinstance(setup.turns, ServerVad | SemanticVad) and setup.turns.create_response):
            self._queued = None
        ground.transcripts.wanted = setup.transcribing is not None
        self.listening.configure(setup.turns)
        ground.say(events.SessionChanged(self.session, setup))

    def _commit(self, command: commands.CommitAudio) -> None:
        span = self.listening.commit()
        if span is None:
            held = max(0, self.listening.audio.position - self.listening.start) / PER_MS if self.listening.manual else 0
            self.problem(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. "
                f"Expected at least 100ms of audio, but buffer only has {held:.2f}ms of audio.",
                ref=command.ref,
            )
            return
        start, end = span
        self._spoken(start, end, end, within=10 * SAMPLE_RATE)
        self.listening.committed(end)
        if self.ground.setup.only_transcribes:
            self.answers.transcribe()

    def _create(self, command: commands.CreateResponse) -> None:
        refusal = self._why_not_answer(command)
        if refusal is not None:
            self.ground.say(refusal)
        elif command.aside:
            self.answers.begin(command.wishes, aside=True, context=command.context)
        else:
            self._respond(command)

    def _why_not_answer(self, command: commands.CreateResponse) -> Problem | None:
        ground, answers = self.ground, self.answers
        if ground.setup.only_transcribes:
            text = "A transcription session never answers: open one of type realtime."
            return Problem("invalid_value", text, "type", ref=command.ref)
        for at, item in enumerate(command.context or ()):
            if isinstance(item, Reference) and item.id not in ground.conversation:
                text = f"Error: the item with id '{item.id}' does not exist."
                where = f"response.input[{at}].id"
                return Problem("item_reference_invalid_item_id", text, where, ref=command.ref)
            if isinstance(item, Message) and has_pictures(item) and not ground.engine_sees:
                return Problem("image_input_not_supported", NO_EYES, "response.input", ref=command.ref)
        if command.aside:
            if len(answers.beside) >= ground.settings.asides:
                text = f"{len(answers.beside)} responses run outside the conversation, as many as may: wait for one"
                return Problem("too_many_responses", text, "response.conversation", ref=command.ref)
        elif answers.active is not None:
            text = (
                f"Conversation already has an active response in progress: {answers.active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            return Problem("conversation_already_has_active_response", text, ref=command.ref)
        return None

    def _respond(self, command: commands.CreateResponse | None) -> None:
        self._trouble = ""
        since, self._queued, self._idle_from = self._queued, None, None
        if command is None:
            self.answers.begin(Wishes(), by_turn=True, over_at=since)
        else:
            self.answers.begin(command.wishes, context=command.context)

    def _cancel(self, command: commands.CancelResponse) -> None:
        answers, wanted = self.answers, command.response
        speaking = answers.beside.get(wanted) if wanted else None
        if speaking is None and answers.active is not None and wanted in (None, answers.active.id):
            speaking = answers.active
        if speaking is None:
            text = "Cancellation failed: no active response found"
            return self.problem("response_cancel_not_active", text, "response_id" if wanted else None, command.ref)
        answers.cancel(speaking, "client_cancelled")
        self._ended()
        return None

    def _played(self, command: commands.PlayedOut) -> None:
        self.answers.played(command.item, command.ms / 1000, command.received_at, command.first_at)

    def problem(self, code: str, message: str, param: str | None = None, ref: str | None = None) -> None:
        """Say that something of the client's could not be done."""
        self.ground.say(Problem(code, message, param, ref=ref))

    # The engine

    def from_engine(self, event: EngineEvent) -> None:
        """The engine says something."""
        match event:
            case Transcript(text=text, final=False):
                self._partial(text)
            case Transcript(text=text, turn=turn):
                self._final(text, turn)
            case TurnPrediction(probability=probability):
                self.listening.prediction(probability)
            case Failed(origin=None, code=code, message=message):
                self.ground.say(Problem(code, message, kind="server_error"))
            case Failed(origin=origin, code=code, message=message) if origin is not None:
                self.fail(origin.response, code, message)
            case Failed():
                pass
            case _:
                was = self.answers.active
                self.answers.from_engine(event)
                if was is not None and self.answers.active is None:
                    self._ended()

    def lost(self, code: str, message: str) -> None:
        """The session of the engine is gone; the next answer needs another."""
        telling, active = self.ground.telling, self.answers.active
        telling.units.clear()
        telling.stale, telling.begun = True, None
        self.answers.give_up(float("inf"))
        for response in list(self.answers.only_transcribing):
            self.answers.fail(response, code, message)
        if active is not None and not active.apart:
            self.fail(active.id, code, message)

    def fail(self, response: str, code: str, message: str) -> None:
        """This answer cannot go on."""
        was = self.answers.active
        self.answers.fail(response, code, message)
        if was is not None and self.answers.active is None:
            self._ended()

    def refused(self, unit: object, error: Exception) -> None:
        """The engine does not take this."""
        code = {Overflow: "engine_overloaded", Refused: "engine_refused"}.get(type(error), "engine_closed")
        if isinstance(unit, EndOfTurn):
            self.fail(unit.origin.response, code, str(error))
        elif isinstance(unit, Configure):
            for response in self.ground.telling.not_configured():
                self.fail(response, code, f"the engine did not take the session's settings: {error}")
        elif isinstance(unit, AudioIn | TextIn | ImageIn) and code != self._trouble:
            self._trouble = code  # once is enough: the next frame meets the same
            self.ground.say(Problem(code, f"the engine did not take it: {error}", kind="server_error"))

    def _partial(self, text: str) -> None:
        self.listening.words(text)
        item = self._speech_item or self.ground.transcripts.newest
        if item is not None and not self.answers.unwritten(item):
            self.ground.transcripts.partial(item, text)

    def _final(self, text: str, turn: Origin | None) -> None:
        """The words of a turn. An engine that does not say of which one means the one that is answered."""
        answers, transcripts = self.answers, self.ground.transcripts
        response = next(iter(answers.only_transcribing), answers.active.id if answers.active is not None else None)
        if turn is not None:
            response = turn.response
        if response in answers.only_transcribing:
            transcripts.final(answers.only_transcribing.pop(response), text)
            self.ground.telling.units.appendleft(answers.enough())
        elif response is not None:
            transcripts.final(answers.said_in(response), text)

    # Turns: what listening leads to

    def interruptible(self) -> bool | None:
        """Whether an answer would be interrupted by a voice: one that is heard (True), one in thought (False)."""
        wanted, answers = self.ground.setup.turns, self.answers
        if not (isinstance(wanted, ServerVad | SemanticVad) and wanted.interrupt_response):
            return None
        audible = answers.audible()
        if answers.active is not None:
            return audible or answers.active.spoken > 0
        return True if audible else None

    def told(self, wave: NDArray[np.float32]) -> None:
        """The engine is to hear this."""
        if len(wave):
            self.answers.take_back()
            self.ground.telling.audio(wave)

    def untold(self) -> None:
        """It was nothing."""
        self.ground.telling.again()

    def too_long(self, ref: str | None) -> None:
        """More audio than one turn may have."""
        most = self.ground.settings.longest_turn_s
        text = (
            f"the input audio buffer holds {most:g} s, as much as it may: commit or clear it; what came since is lost"
        )
        self.problem("input_audio_buffer_full", text, "audio", ref)

    def ducked(self, on: bool) -> None:
        """Play the answer quietly, or not any more."""
        self.ground.say(events.Ducked(on))

    def started(self, at: int) -> None:
        """The user speaks."""
        self._idle_from = None
        self._speech_item = self.ground.names.new("item")
        self.ground.transcripts.expect(self._speech_item)
        self.ground.say(events.SpeechStarted(self._speech_item, at // PER_MS))
        if self.interruptible() is not None:
            if self.answers.active is not None:
                self.answers.cancel(self.answers.active, "turn_detected")
            else:
                self.answers.silence()

    def likely(self) -> None:
        """The turn is probably over."""
        wanted = self.ground.setup.turns
        if isinstance(wanted, ServerVad | SemanticVad) and wanted.create_response:
            self.answers.prepare()

    def stopped(self, start: int, end: int, spoke_until: int) -> None:
        """The turn is over."""
        wanted = self.ground.setup.turns
        assert self._speech_item is not None
        self.ground.say(events.SpeechStopped(self._speech_item, end // PER_MS))
        self._spoken(start, end, spoke_until, within=SAMPLE_RATE)
        if self.ground.setup.only_transcribes:
            self.answers.transcribe()
        elif isinstance(wanted, ServerVad | SemanticVad) and wanted.create_response:
            if self.answers.active is None:
                self._queued = None  # this turn ended now, whatever waited before it
                self._respond(None)
            else:
                self._queued = self.ground.now()

    # Time

    def deadline(self) -> float | None:
        """When `tick` is due, if nothing happens before."""
        idle = self._idle_at()
        answers = self.answers.thinking_at(), self.answers.give_up_at()
        return min((time for time in (self.listening.deadline(), *answers, idle) if time is not None), default=None)

    def tick(self) -> None:
        """Time has passed."""
        self.listening.starve()
        self.answers.think()
        self.answers.give_up(self.ground.now())
        idle = self._idle_at()
        if idle is not None and self.ground.now() >= idle:
            self._timed_out()

    def _idle_at(self) -> float | None:
        wanted = self.ground.setup.turns
        quiet = self._idle_from is None or self.listening.speaking or self.answers.active is not None
        if quiet or not isinstance(wanted, ServerVad) or not wanted.idle_timeout_ms or not wanted.create_response:
            return None
        assert self._idle_from is not None
        return max(self._idle_from, self.answers.quiet_at) + wanted.idle_timeout_ms / 1000

    def _timed_out(self) -> None:
        ground, end = self.ground, self.listening.audio.position
        wanted = ground.setup.turns
        assert isinstance(wanted, ServerVad)
        start = max(0, end - (wanted.idle_timeout_ms or 0) * PER_MS)
        item = Message(ground.names.new("item"), "user", [SpeechPart("", (end - start) / SAMPLE_RATE)])
        ground.say(events.TimedOut(item.id, start // PER_MS, end // PER_MS))
        self._enter(item)
        self._respond(None)

    # Inside

    def _ended(self) -> None:
        """The answer in the conversation is over, one way or another."""
        if self.answers.active is not None:
            return
        self._idle_from = self.ground.now()
        if self._queued is not None and not self.listening.speaking:
            self._respond(None)

    def _spoken(self, start: int, end: int, spoke_until: int, *, within: int) -> None:
        """What was said from start to end is a message of the user's."""
        audio, ground = self.listening.audio, self.ground
        wave = audio.take(start, end)
        samples = (np.clip(wave, -1, 1 - 1 / FULL_SCALE) * FULL_SCALE).astype(np.int16)
        part = SpeechPart(None, (end - start) / SAMPLE_RATE, samples)
        name, self._speech_item = self._speech_item or ground.names.new("item"), None
        ground.transcripts.expect(name)
        arrived, sent_at = audio.arrived(audio.speech_end(spoke_until, start, within))
        self.answers.speech = {"speech_end": arrived}
        if sent_at is not None:
            self.answers.speech["speech_end_sent"] = sent_at
        self.answers.spoken.append(name)
        item = Message(name, "user", [part])
        self._enter(item)
        ground.telling.committed(item)

    def _enter(self, item: Item) -> None:
        ground = self.ground
        ground.make_room()
        previous = ground.conversation.add(item)
        ground.say(events.Committed(item.id, previous))
        ground.say(events.ItemAdded(still(item), previous))
        ground.say(events.ItemDone(still(item), previous))

    def _drop_speech_item(self) -> None:
        if self._speech_item is not None:
            self.ground.transcripts.forget(self._speech_item)
            self._speech_item = None
