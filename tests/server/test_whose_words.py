"""Words that are written down late stay with the turn in which they were said."""

import asyncio
from collections.abc import Sequence

from omni.engine.protocol import Origin, SessionSpec, Transcript
from omni.engine.scripted import Say, ScriptedEngine, ScriptedSession, Speak, Step
from omni_server.session.answers import WORDS
from tests.server.realtime_talk import Talk, silence, talk, tone
from tests.virtual_time import run

WORDS_OF = "conversation.item.input_audio_transcription"
LONG = [Say("Long."), Speak(20.0, pace=1.0)]


class Late(ScriptedSession):
    """Writes each turn down so much later, whatever becomes of the answer to it."""

    after = 2.5  # s: then the second turn is being answered

    async def answer(self, origin: Origin, turn: Sequence[Step]) -> str:  # type: ignore[override]
        words = Transcript(f"turn {1 + len(self.noted.played)}", final=True, turn=origin)
        asyncio.get_running_loop().call_later(self.after, self.outlet.offer, words)
        return await super().answer(origin, turn)


class LateEngine(ScriptedEngine):
    def begin(self, spec: SessionSpec) -> Late:
        return Late(spec, self.clock, scripts=self._scripts, notices=(), patience=5.0, closed=self.forget)


async def ask(t: Talk) -> None:
    await t.say(tone(1.0))
    await t.say(silence(0.8))


async def two_turns(engine: ScriptedEngine) -> Talk:
    """The second interrupts the answer to the first."""
    async with talk(engine) as t:
        await t.update(audio={"input": {"transcription": {"model": "any"}}})
        await ask(t)
        await t.until("response.output_audio.delta")
        await ask(t)
        await t.until("response.created", 2)
        await asyncio.sleep(2 * WORDS)
    assert t.of("response.done")[0]["response"]["status"] == "cancelled"
    return t


def test_the_words_of_a_cancelled_turn_go_to_its_own_item() -> None:
    t = run(two_turns(LateEngine(LONG)))
    items = [event["item_id"] for event in t.of("input_audio_buffer.committed")]
    completed = {event["item_id"]: event["transcript"] for event in t.of(f"{WORDS_OF}.completed")}
    assert completed == {items[0]: "turn 1", items[1]: "turn 2"}
    assert not t.of(f"{WORDS_OF}.failed")


def test_words_that_never_come_are_given_up_a_while_after_the_answer_was_cancelled() -> None:
    t = run(two_turns(ScriptedEngine(LONG)))
    first = t.of("input_audio_buffer.committed")[0]["item_id"]
    failed = [event for event in t.of(f"{WORDS_OF}.failed") if event["item_id"] == first]
    assert [event["error"]["code"] for event in failed] == ["transcription_unavailable"]
