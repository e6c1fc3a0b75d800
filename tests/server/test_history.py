"""What the engine is told: the conversation in its order, also when it is changed behind the engine's back."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from omni.engine.protocol import SessionSpec, TextIn
from omni.engine.scripted import Hang, Say, ScriptedEngine, ScriptedSession, Step
from omni_server.session.settings import SessionSettings
from tests.server.realtime_talk import Talk, answered, silence, talk, told, tone
from tests.virtual_time import run


def message(name: str, text: str, role: str = "user") -> dict[str, Any]:
    part = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
    return {"type": "message", "id": name, "role": role, "content": [part]}


async def add(t: Talk, name: str, after: str | None = None, role: str = "user") -> None:
    fields = {} if after is None else {"previous_item_id": after}
    await t.send("conversation.item.create", item=message(name, f"text of {name}", role), **fields)


async def order(t: Talk) -> list[str]:
    """The conversation as the server has it."""
    return [item.id for item in t.session.core.ground.conversation]


def test_an_item_in_front_of_others_is_told_in_its_place() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("ok")])) as t:
            await add(t, "a")
            await answered(t)
            await add(t, "b", after="root")
            await add(t, "c", after="a")
            await asyncio.sleep(0.1)
            added = [(e["item"]["id"], e.get("previous_item_id")) for e in t.of("conversation.item.added")]
            assert added[-2:] == [("b", None), ("c", "a")]
            await answered(t)
            assert told(t)[:3] == ["text of b", "text of a", "text of c"]
            assert (await order(t))[:3] == ["b", "a", "c"]

    run(main())


def test_a_deleted_item_is_not_told_again() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("ok")])) as t:
            for name in "abc":
                await add(t, name)
            await answered(t)
            await t.send("conversation.item.delete", item_id="b")
            await answered(t)
            assert told(t)[:3] == ["text of a", "text of c", "ok"]
            assert [unit.role for unit in t.noted.text] == ["user", "user", "assistant"]
        assert t.of("conversation.item.deleted")[0]["item_id"] == "b"

    run(main())


class Forgets(ScriptedSession):
    """Texts of a turn that has not ended are gone with a `Discard`, as in a real engine."""

    settled: Sequence[TextIn] = ()

    def settle(self, turn: Sequence[Step]) -> None:
        super().settle(turn)
        self.settled = list(self.noted.text)

    def discard(self) -> None:
        super().discard()
        self.noted.text = list(self.settled)


class ForgetsEngine(ScriptedEngine):
    def begin(self, spec: SessionSpec) -> Forgets:
        return Forgets(spec, self.clock, scripts=self._scripts, notices=(), closed=self.forget)


def test_an_engine_that_begins_anew_while_somebody_speaks_knows_the_conversation() -> None:
    async def main() -> None:
        async with talk(ForgetsEngine([Say("ok")])) as t:
            await t.turns(None)
            for name in "ab":
                await add(t, name)
                await answered(t)
            await t.send("conversation.item.delete", item_id="b")
            await t.say(tone(1.0))
            await add(t, "c")
            await answered(t)
            await asyncio.sleep(0.1)
            assert told(t) == ["text of a", "ok", "ok", "text of c"]
            assert abs(t.noted.audio - 1.0) < 0.01  # of the next turn

    run(main())


def test_cleared_audio_is_forgotten_and_what_was_committed_before_it_is_not() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()])) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await t.send("input_audio_buffer.commit")
            await t.say(tone(3.0))
            await t.send("input_audio_buffer.clear")
            await asyncio.sleep(0.1)
            assert abs(t.noted.audio - 1.0) < 0.01
        assert t.kinds[-1] == "input_audio_buffer.cleared"

    run(main())


def test_audio_that_nobody_committed_belongs_to_the_next_turn() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("ok")])) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await answered(t)
            await t.send("input_audio_buffer.commit")
            await asyncio.sleep(0.1)
            assert abs(t.noted.audio - 1.0) < 0.01

    run(main())


def test_the_newest_audio_is_kept_and_the_oldest_forgotten() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()]), settings=SessionSettings(kept_audio_s=2.5)) as t:
            await t.turns(None)
            for _ in range(4):
                await t.say(tone(1.0))
                await t.send("input_audio_buffer.commit")
            kept = [item.parts[0].samples is not None for item in t.session.core.ground.conversation]  # type: ignore[union-attr]
            assert kept == [False, False, True, True]

    run(main())


def test_of_speech_that_is_longer_than_what_is_kept_the_newest_is() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()]), settings=SessionSettings(kept_audio_s=2.5)) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await t.send("input_audio_buffer.commit")
            await t.say(np.concatenate([silence(1.0), tone(3.0)]))
            await t.send("input_audio_buffer.commit")
            older, newest = [item.parts[0].samples for item in t.session.core.ground.conversation]  # type: ignore[union-attr]
            assert older is None
            assert len(newest) == 2.5 * 16_000
            assert newest[:4_000].any()  # not the silence in front
            await t.say(tone(0.5))
            await add(t, "a")  # in front of sound that nobody committed: the turn is told anew
            await asyncio.sleep(0.1)
            assert abs(t.noted.audio - 3.0) < 0.01

    run(main())


def test_a_full_conversation_says_so_to_text_and_makes_room_for_speech() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()]), settings=SessionSettings(items=3)) as t:
            for name in "abcd":
                await add(t, name)
            assert t.of("error") == []
            await asyncio.sleep(0.1)
            assert [e["error"]["code"] for e in t.of("error")] == ["conversation_full"]
            await t.turns(None)
            await t.say(tone(0.5))
            await t.send("input_audio_buffer.commit")
            await t.until("input_audio_buffer.committed")
        assert [e["item_id"] for e in t.of("conversation.item.deleted")] == ["a"]

    run(main())


def test_an_answer_to_a_context_of_its_own_is_in_the_conversation_that_the_engine_hears_next() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("apart")])) as t:
            await add(t, "a")
            context = [{"type": "item_reference", "id": "a"}, message("", "only this")]
            await t.send("response.create", response={"input": context, "output_modalities": ["text"]})
            await t.until("response.done")
            await answered(t)
            assert told(t) == ["text of a", "apart"]

    run(main())


def test_a_change_of_settings_reaches_the_engine_for_one_answer_only() -> None:
    async def main() -> None:
        seen: list[str] = []

        class Notes(ScriptedEngine):
            def begin(self, spec: Any) -> ScriptedSession:
                session = super().begin(spec)
                plain = session.answer

                async def answer(origin: Any, turn: Any) -> Any:
                    seen.append(session.spec.instructions)
                    return await plain(origin, turn)

                session.answer = answer  # type: ignore[method-assign]
                return session

        async with talk(Notes([Say("ok")])) as t:
            await t.update(instructions="Be kind.")
            await answered(t)
            await t.send("response.create", response={"instructions": "Be brief."})
            await t.until("response.done", 2)
            await answered(t)
        assert seen == ["Be kind.", "Be brief.", "Be kind."]

    run(main())


def test_text_that_comes_while_the_user_speaks_is_in_front_of_the_speech() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()])) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await add(t, "a")
            await t.send("input_audio_buffer.commit")
            await asyncio.sleep(0.1)
            assert (await order(t))[0] == "a"
            assert t.noted.text[-1] == TextIn("text of a")
            assert abs(t.noted.audio - 1.0) < 0.01

    run(main())
