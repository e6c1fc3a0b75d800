"""Any events in any order, whole, broken or absurd: one clear error each at most, and the session lives."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from omni.engine.clock import LoopClock
from omni.engine.protocol import Transcript, TurnPrediction
from omni.engine.scripted import Break, Call, Hang, Say, ScriptedEngine, Speak, Stop
from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.realtime.wire import RealtimeWire
from omni_server.session.session import Session
from omni_server.session.settings import Interruption, SessionSettings
from tests.server.loud_is_speech import LoudIsSpeech
from tests.server.realtime_talk import Talk, pcm, silence, tone
from tests.virtual_time import VirtualLoop

SCRIPTS = (
    [Say("It is four."), Speak(0.4)],
    [Say("A long", after=0.3), Speak(2.0, pace=1.0)],
    [Call("light", '{"on": true}')],
    [Say("no"), Break("llm_failed", "no memory")],
    [Say("and"), Stop("length")],
    [Speak(0.2), Hang()],
    [Say("dead"), Break(fatal=True)],
)
NOTICES = [(n * 0.3, TurnPrediction(n % 7 / 7, n * 0.3)) for n in range(40)] + [
    (n * 0.25, Transcript("word " * n)) for n in range(1, 20)
]
NAMES = st.sampled_from(["a", "b", "c", "root", "nobody"])
TEXTS = st.sampled_from(["", "hello", "\ud800", "x" * 5000, '"\\'])
PART = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["input_text", "output_text", "text"]), "text": TEXTS}),
    st.fixed_dictionaries({"type": st.just("input_audio"), "audio": st.just(pcm(tone(0.2)))}),
    st.fixed_dictionaries(
        {"type": st.just("input_image"), "image_url": st.sampled_from(["data:image/png;base64,AAAA", "http://x"])}
    ),
)
ITEM = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.sampled_from(["user", "assistant", "system"]),
            "content": st.lists(PART, max_size=3),
        },
        optional={"id": NAMES, "status": st.just("completed")},
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call_output"), "call_id": NAMES, "output": TEXTS}, optional={"id": NAMES}
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call"), "name": NAMES, "arguments": TEXTS}, optional={"id": NAMES}
    ),
)
TURNS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"type": st.just("server_vad")},
        optional={
            "silence_duration_ms": st.sampled_from([0, 200, 500]),
            "idle_timeout_ms": st.sampled_from([None, 700]),
            "create_response": st.booleans(),
            "interrupt_response": st.booleans(),
        },
    ),
    st.fixed_dictionaries({"type": st.just("semantic_vad")}, optional={"eagerness": st.sampled_from(["low", "high"])}),
)
FORMAT = st.sampled_from([{"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}, {"type": "audio/pcma"}])
RESPONSE = st.fixed_dictionaries(
    {},
    optional={
        "conversation": st.sampled_from(["auto", "none"]),
        "input": st.lists(
            st.one_of(ITEM, st.builds(lambda name: {"type": "item_reference", "id": name}, NAMES)), max_size=2
        ),
        "instructions": TEXTS,
        "output_modalities": st.sampled_from([["text"], ["audio"]]),
        "metadata": st.dictionaries(st.sampled_from(["k", "l"]), TEXTS.filter(lambda text: len(text) < 512)),
    },
)


def event(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


def update(**session: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return event("session.update", session=event("realtime", **session))


def nested(*path: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    for key in reversed(path):
        value = st.fixed_dictionaries({key: value})
    return value


ENDS = st.sampled_from([0, 100, 10**9])
EVENTS = st.one_of(
    update(audio=nested("input", "turn_detection", value=TURNS)),
    update(audio=nested("input", "format", value=FORMAT)),
    update(audio=nested("output", "format", value=FORMAT)),
    update(audio=nested("input", "transcription", "model", value=NAMES)),
    event("session.update", session=event("transcription")),
    event("input_audio_buffer.commit"),
    event("input_audio_buffer.clear"),
    event("output_audio_buffer.clear"),
    event("conversation.item.create", item=ITEM, previous_item_id=st.one_of(st.none(), NAMES)),
    event("conversation.item.retrieve", item_id=NAMES),
    event("conversation.item.delete", item_id=NAMES),
    event("conversation.item.truncate", item_id=NAMES, content_index=st.just(0), audio_end_ms=ENDS),
    event("response.create", response=RESPONSE),
    event("response.create"),
    event("response.cancel"),
    event("response.cancel", response_id=NAMES),
)
ABSURD = st.sampled_from(
    [None, True, -1, 0, 10**30, -(10**30), 1e308, 0.5, "", "x", "\ud800", [], [[]], {}, {"type": 7}, [None] * 50]
)


@st.composite
def broken(draw: st.DrawFn) -> dict[str, Any]:
    """An event with one value, anywhere in it, replaced by something absurd."""
    event = json.loads(json.dumps(draw(EVENTS)))
    at: Any = event
    while True:
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return event
        key = draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and draw(st.booleans()):
            at = at[key]
            continue
        at[key] = draw(ABSURD)
        return event


def torn(whole: dict[str, Any], share: float) -> str:
    text = json.dumps(whole)
    return text[: max(1, int(len(text) * share))]


NO_JSON = ["", "null", "7", '"x"', "[]", "[" * 100_000, "{" * 5000, "NaN", "1" * 6000, '{"type": Infinity}', "\x00"]
NO_FRAME = st.one_of(st.binary(max_size=40), st.builds(torn, EVENTS, st.floats(0, 0.99)), st.sampled_from(NO_JSON))


class AnyClient(RuleBasedStateMachine):
    """One client that does anything, in virtual time."""

    messages = 0  # that all of them sent

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.engine = ScriptedEngine(*SCRIPTS, notices=NOTICES, sessions=4)
        self.runner.run(self._open())
        self.looked = 0
        self.begun: set[str] = set()
        self.over: set[str] = set()

    async def _open(self) -> None:
        dialect = RealtimeWire().open({}, WireLimits())
        habits = SessionSettings(interruption=Interruption(speech_ms=100), items=30, asides=2)
        session = await Session.open(self.engine, dialect.setup, habits, LoopClock(), LoudIsSpeech())
        self.talk = Talk(session, dialect)
        self.reading = asyncio.get_running_loop().create_task(self.talk.read())
        await asyncio.sleep(0.01)

    def errors_after(self, frame: str | bytes) -> int:
        async def send() -> None:
            await self.talk.raw(frame)
            await asyncio.sleep(0)

        return self._new_errors(send())

    def _new_errors(self, work: Any) -> int:
        before = len(self.talk.events)
        self.runner.run(work)
        self.runner.run(asyncio.sleep(0.001))
        return self.client_errors(before)

    def client_errors(self, since: int) -> int:
        new = self.talk.events[since:]
        return sum(e["type"] == "error" and e["error"]["type"] == "invalid_request_error" for e in new)

    @rule(event=EVENTS)
    def says_something_valid(self, event: dict[str, Any]) -> None:
        assert self.errors_after(json.dumps({**event, "event_id": "mine"})) <= 1

    @rule(event=broken())
    def says_something_broken(self, event: dict[str, Any]) -> None:
        assert self.errors_after(json.dumps(event)) <= 1

    @rule(frame=NO_FRAME)
    def sends_what_is_no_event(self, frame: str | bytes) -> None:
        assert self.errors_after(frame) == 1

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.7]), loud=st.booleans(), piece=st.sampled_from([0.02, 0.3]))
    def speaks(self, seconds: float, loud: bool, piece: float) -> None:
        self.runner.run(self.talk.say(tone(seconds) if loud else silence(seconds), piece))

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0]))
    def waits(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule()
    def cuts_the_last_answer(self) -> None:
        answers = [e["item"] for e in self.talk.of("response.output_item.added") if e["item"]["type"] == "message"]
        if answers:
            frame = {"type": "conversation.item.truncate", "item_id": answers[-1]["id"], "content_index": 0}
            assert self.errors_after(json.dumps({**frame, "audio_end_ms": 150})) <= 1

    @invariant()
    def responses_end_at_most_once_and_nothing_follows(self) -> None:
        for event in self.talk.events[self.looked :]:
            response = event.get("response_id") or event.get("response", {}).get("id")
            assert response not in self.over, f"{event['type']} behind the end of {response}"
            if event["type"] == "response.done":
                self.over.add(response)
            elif event["type"] == "response.created":
                assert response not in self.begun
                self.begun.add(response)
        self.looked = len(self.talk.events)

    def teardown(self) -> None:
        async def end() -> None:
            talk = self.talk
            before = len(talk.of("session.updated"))
            await talk.update(audio={"input": {"turn_detection": None}})
            await talk.until("session.updated", before + 1)
            await talk.send("response.cancel")
            await asyncio.sleep(5)
            assert not [e for e in talk.of("error") if e["error"]["code"] == "internal_error"]
            ended = {e["response"]["id"] for e in talk.of("response.done")}
            hanging = [e for e in talk.of("response.created") if e["response"]["id"] not in ended]
            assert all(e["response"]["conversation_id"] is None for e in hanging), "an answer has no end"
            await talk.session.close()
            await self.reading
            await asyncio.sleep(0.01)
            assert not self.engine._open, "a slot of the engine is still taken"
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left: {left}"
            AnyClient.messages += talk.sent

        self.runner.run(end())
        self.runner.close()


def test_any_client_gets_one_error_for_each_mistake_and_the_session_lives() -> None:
    run_state_machine_as_test(
        AnyClient,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_messages() -> None:
    AnyClient.messages = 0
    while AnyClient.messages < 100_000:
        run_state_machine_as_test(
            AnyClient,
            settings=settings(
                max_examples=100, stateful_step_count=100, deadline=None, suppress_health_check=list(HealthCheck),
                phases=(Phase.generate,), database=None,
            ),
        )  # fmt: skip
