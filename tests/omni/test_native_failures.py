"""What breaks in the native engine, numbers that are not finite among it: it ends what it has to, and nothing else."""

import asyncio
import threading

import numpy as np
import pytest
import torch

from omni.bundle import Bundle
from omni.engine.native.voice import Speech
from omni.engine.protocol import (
    Begin,
    Cancel,
    Configure,
    Done,
    EndOfTurn,
    Failed,
    Mark,
    SessionSpec,
    TextIn,
)
from omni.script import END, SYSTEM, USER
from tests import virtual_time
from tests.omni.bundles import random_bundle
from tests.omni.native_talk import engine_of, tape_ids, turn
from tests.omni.planted import planted
from tests.omni.talking import ask, origin, until_end, until_quiet


def test_poison_fails_the_session_that_met_it_and_no_other() -> None:
    bundle = planted(frames=30)
    poison = bundle.text.encode("~")[0]
    with torch.no_grad():
        bundle.model.embed.weight[poison] = float("nan")

    async def main() -> None:
        engine = engine_of(bundle)
        calm, ill = await engine.open(SessionSpec()), await engine.open(SessionSpec(instructions="Be well, be well."))
        await calm.push(EndOfTurn(origin(1)))
        await ill.push(TextIn("a ~ b"))
        await ill.push(EndOfTurn(origin(1)))
        await ill.push(TextIn("c"))  # of the next turn already
        failed = (await until_end(ill, origin(1)))[-1]
        assert isinstance(failed, Failed)
        assert (failed.code, failed.fatal) == ("not_finite", False)
        await ill.push(TextIn("a b"))
        assert (await turn(ill, 2))[-1] == Done(origin(2)), "the turn was forgotten, and only that"
        assert bundle.text.decode([i for i in tape_ids(ill) if i < 256]).startswith("Be well, be well.ca b")
        await ill.push(TextIn("~"))
        assert next(e for e in await until_quiet(ill, 1) if isinstance(e, Failed)).origin is None
        await ill.push(TextIn("~"))
        await ill.push(Begin(origin(3)))
        await asyncio.sleep(1)
        await ill.push(EndOfTurn(origin(3)))
        assert isinstance((await until_end(ill, origin(3)))[-1], Failed)
        assert (await turn(ill, 4, TextIn("a b")))[-1] == Done(origin(4))
        assert (await until_end(calm, origin(1)))[-1] == Done(origin(1))
        await engine.close()

    virtual_time.run(main())


def test_a_codec_that_breaks_fails_the_answer_and_the_session_goes_on() -> None:
    bundle = planted()

    class Broken:
        def push(self, codes: object) -> np.ndarray:
            raise RuntimeError("no sound")

    async def main() -> None:
        engine = engine_of(bundle)
        session = await engine.open(SessionSpec())
        assert engine.voice is not None
        begin, engine.voice.begin = engine.voice.begin, lambda: Speech(Broken(), 640)  # type: ignore[method-assign]
        failed = (await turn(session, 1, TextIn("hi")))[-1]
        assert isinstance(failed, Failed)
        assert failed.code == "codec_failed"
        assert "no sound" in failed.message
        engine.voice.begin = begin  # type: ignore[method-assign]
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        await engine.close()

    virtual_time.run(main())


def test_a_codec_that_breaks_at_a_first_sound_leaves_nobody_waiting() -> None:
    bundle = planted()
    go_on = threading.Event()

    class Broken:
        def push(self, codes: object) -> np.ndarray:
            assert go_on.wait(10)
            raise RuntimeError("no sound")

    async def main() -> None:
        engine = engine_of(bundle)
        works, breaks = await engine.open(SessionSpec()), await engine.open(SessionSpec())
        assert engine.voice is not None
        begin, engine.voice.begin = engine.voice.begin, lambda: Speech(Broken(), 640)  # type: ignore[method-assign]
        await breaks.push(TextIn("hi"))
        await breaks.push(EndOfTurn(origin(1)))
        async for event in breaks.events():
            if isinstance(event, Mark) and event.stage == "first_codes":
                break
        assert breaks.delivery is not None
        assert breaks.delivery.awaits_first_sound
        engine.voice.begin = begin  # type: ignore[method-assign]
        await works.push(TextIn("hi"))
        await works.push(EndOfTurn(origin(1)))
        for _ in range(50):  # it waits for the sound of the other
            await asyncio.sleep(0)
        go_on.set()
        assert (await until_end(works, origin(1)))[-1] == Done(origin(1))
        await engine.close()

    virtual_time.run(main())


def test_what_breaks_in_one_session_ends_it_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        engine = engine_of(planted())
        ill, calm = await engine.open(SessionSpec()), await engine.open(SessionSpec())

        def broken() -> None:
            raise RuntimeError("no way")

        monkeypatch.setattr(ill, "chosen", broken)
        await calm.push(EndOfTurn(origin(1)))
        failed = (await turn(ill, 1, TextIn("hi")))[-1]
        assert isinstance(failed, Failed)
        assert (failed.code, failed.fatal) == ("engine_error", True)
        assert (await until_end(calm, origin(1)))[-1] == Done(origin(1))
        await calm.close()
        alone = await engine.open(SessionSpec())
        monkeypatch.setattr(alone, "after_tick", broken)
        assert (await turn(alone, 1, TextIn("hi")))[-1].fatal  # type: ignore[union-attr]
        after = await engine.open(SessionSpec())
        assert (await turn(after, 1, TextIn("hi")))[-1] == Done(origin(1)), "whoever was there last"
        await engine.close()

    virtual_time.run(main())


def poisoned_by_a_tilde(bundle: Bundle) -> Bundle:
    with torch.no_grad():
        bundle.model.embed.weight[bundle.text.encode("~")[0]] = float("nan")
    return bundle


@pytest.mark.parametrize("begun", [False, True])
def test_what_was_heard_of_an_answer_that_failed_shortens_no_other(begun: bool) -> None:
    async def main() -> None:
        session = await (engine := engine_of(poisoned_by_a_tilde(planted(frames=30)))).open(SessionSpec())
        await turn(session, 1, TextIn("hi"))
        before = tape_ids(session)
        await session.push(TextIn("~"))
        if begun:
            await session.push(Begin(origin(2)))
            await asyncio.sleep(1)
        assert [e for e in await turn(session, 2) if isinstance(e, Failed)]
        await session.push(Cancel(heard=0.0))
        assert tape_ids(session) == before
        await engine.close()

    virtual_time.run(main())


def test_poison_in_the_next_turn_ends_an_answer_that_is_made_and_still_on_its_way() -> None:
    async def main() -> None:
        session = await (engine := engine_of(poisoned_by_a_tilde(planted("c", frames=1, heard="abdeghijkl")))).open(
            SessionSpec()
        )
        await ask(session, origin(1))
        await asyncio.sleep(0.2)
        assert session.lane.reply is None
        assert session.delivery is not None, "its end waits for the words"
        await session.push(TextIn("~"))
        failed = (await until_end(session, origin(1)))[-1]
        assert isinstance(failed, Failed)
        assert failed.code == "not_finite"
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        await engine.close()

    virtual_time.run(main())


def test_poison_in_an_answer_that_nobody_asked_for_leaves_nothing_behind() -> None:
    async def main() -> None:
        bundle = planted("c", frames=1)
        healthy = bundle.model.embed.weight[bundle.text.encode("c")[0]].clone()
        with torch.no_grad():
            bundle.model.embed.weight[bundle.text.encode("c")[0]] = float("nan")
        session = await (engine := engine_of(bundle)).open(SessionSpec())
        failed = (await turn(session, 1))[-1]
        assert isinstance(failed, Failed)
        assert "the turn was forgotten" in failed.message
        with torch.no_grad():
            bundle.model.embed.weight[bundle.text.encode("c")[0]] = healthy
        assert tape_ids(session) == []
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        await engine.close()

    virtual_time.run(main())


def test_instructions_with_poison_stay_where_they_are_and_are_given_to_nobody_else() -> None:
    async def main() -> None:
        engine = engine_of(poisoned_by_a_tilde(planted()))
        session = await engine.open(SessionSpec(instructions="You are ~ well."))
        failed = next(e for e in await until_quiet(session, 1) if isinstance(e, Failed))
        assert "the instructions cannot be read" in failed.message
        assert not engine.prefixes.kept
        assert isinstance((await turn(session, 1, TextIn("hi")))[-1], Failed)
        assert not engine.prefixes.kept
        await session.push(Configure(SessionSpec(instructions="You are very well.")))
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        special, byte = engine.bundle.special, engine.bundle.text.encode
        begin = [special[SYSTEM], *byte("You are very well."), special[END], special[USER], *byte("hi")]
        assert tape_ids(session)[: len(begin)] == begin
        await engine.close()

    virtual_time.run(main())


def test_instructions_that_were_read_beside_poison_are_read_again() -> None:
    async def main() -> None:
        engine = engine_of(poisoned_by_a_tilde(random_bundle(longest=256, tied=False)))
        session = await engine.open(SessionSpec(instructions="You are very well."))
        await session.push(TextIn("~"))
        assert [e.code for e in await until_quiet(session, 1) if isinstance(e, Failed)] == ["not_finite"]
        (kept,) = engine.prefixes.kept.values()
        assert engine.stepper.cache.both[:, :, kept.lane.slot, :, : kept.tokens].isfinite().all()
        assert isinstance((await turn(session, 1, TextIn("hi")))[-1], Done)
        await engine.close()

    virtual_time.run(main())
