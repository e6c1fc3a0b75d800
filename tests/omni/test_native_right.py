"""What the native engine says is what the model says: offline, alone, in company, after an interruption."""

import asyncio
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.bundle import Bundle
from omni.engine.native.reply import FRAMES_A_WORD, FRAMES_MORE
from omni.engine.native.session import NativeSession
from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    AudioOut,
    Begin,
    Cancel,
    CodesOut,
    Configure,
    Done,
    EndOfTurn,
    Event,
    ImageIn,
    SessionSpec,
    TextIn,
    Tokens,
    Tool,
    Transcript,
)
from omni.sampling import Sampling
from omni.script import ANSWER, CALL, END, MORE, SPEAK, SYSTEM, TOOL, USER, Answering
from omni_tokenizers.sequence import Audio, Codes, Ids, Image, Special
from tests import virtual_time
from tests.omni.bundles import random_bundle
from tests.omni.native_talk import engine_of
from tests.omni.talking import is_end, origin, plain, speech, until_end


def bundle_of(seed: int = 0, **changes: object) -> Bundle:
    """Random weights in float64, so that rounding never decides what is likeliest; its answers soon end."""
    bundle = random_bundle(seed, longest=int(changes.pop("longest", 512)), **changes)  # type: ignore[arg-type]
    bundle.model.double()
    with torch.no_grad():  # one id among hundreds would hardly ever be the likeliest
        bundle.model.embed.weight[[bundle.special[MORE], bundle.special[END]]] *= 3
    return bundle


@cache
def lively(least: int = 3) -> Bundle:
    """One that answers a short sound in a few frames and comes to an end by itself."""

    async def frames_of(bundle: Bundle) -> int:
        engine = engine_of(bundle)
        session = await engine.open(SessionSpec(longest=12))
        end = (await turn_of(session, 1, AudioIn(waves(0.2, 3))))[-1]
        frames = len(session.last.frames) if session.last is not None and end == Done(origin(1)) else 0
        await engine.close()
        return frames

    return next(bundle for bundle in map(bundle_of, range(100)) if least <= virtual_time.run(frames_of(bundle)) <= 12)


def waves(seconds: float, seed: int = 0) -> np.ndarray:
    return np.concatenate([unit.samples for unit in speech(seconds, seed)])


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def said_in_order(bundle: Bundle, session: NativeSession) -> list[tuple[str, object]]:
    """Everything on the tape of the last answer: ids and frames, told apart by their vectors."""
    reply = session.last
    assert reply is not None
    table, books = bundle.model.embed.weight, bundle.model.inputs["codec"]
    codec = table[bundle.tokens.placeholders["codec"]]
    every = torch.cartesian_prod(*(torch.arange(size) for size in bundle.codec.book_sizes))  # type: ignore[union-attr]
    vectors = books.look_up(every) + codec
    found: list[tuple[str, object]] = []
    for at in range(reply.start + 1, session.last_stop):
        vector = session.lane.tape.vectors[at]
        if at in reply.frames:
            found.append(("frame", every[int((vectors - vector).abs().sum(1).argmin())].numpy()))
        else:
            found.append(("text", int((table - vector).abs().sum(1).argmin())))
    return found


def check_against_offline(
    bundle: Bundle,
    prompt: list[object],
    said: list[tuple[str, object]],
    how: str = "speak",
    *,
    tools: bool = False,
    longest: int = 1024,
) -> None:
    """Read it all at once with the model's own forward pass: every choice was the likeliest of what was allowed."""
    special = bundle.special
    with torch.no_grad():
        out = bundle.model(bundle.tokens.encode([*prompt, *as_parts(said)]))
    first = len(bundle.tokens.encode(prompt)) - 1
    words = [i for i in range(bundle.model.spec.text) if i not in special.values()] + [special[END]]
    state = Answering(how)  # type: ignore[arg-type]
    for number, (kind, token) in enumerate(said):
        text = out.text[0, first + number]
        legal = [*words, special[CALL]] if tools and number == 0 else words if state.ids < longest else [special[END]]
        best = max(legal, key=lambda i: float(text[i]))
        if state.next == "text" or (state.next == "either" and text[special[MORE]] <= text[best]):
            assert kind == "text"
            assert token == best, f"at {number}"
            state.say("end" if token == special[END] else "call" if token == special[CALL] else "word")
            continue
        goes_on = state.next == "either" or bool(text[special[MORE]] >= text[special[END]])
        frames = sum(what == "frame" for what, _ in said[:number])
        assert (goes_on and frames < FRAMES_A_WORD * state.ids + FRAMES_MORE) == (kind == "frame")
        if kind == "frame":
            assert out.codes is not None
            assert [int(book[0, first + number].argmax()) for book in out.codes] == list(token)  # type: ignore[call-overload]
            state.frame()
        else:
            state.stop()
    assert state.next == "over"


def check_usage(bundle: Bundle, prompt: list[object], said: list[tuple[str, object]], done: Event) -> None:
    """What was counted is what the tokenizers count."""
    assert isinstance(done, Done)
    assert done.usage is not None
    counts = bundle.tokens.encode(prompt[:-1]).counts()
    of_sound = counts["audio"] + counts.get("codec", 0)
    assert done.usage.read == Tokens(text=counts["text"], audio=of_sound, image=counts["image"])
    assert done.usage.cached.total <= done.usage.read.total
    words = sum(kind == "text" and token != bundle.special[END] for kind, token in said)
    assert done.usage.said == Tokens(text=words, audio=sum(kind == "frame" for kind, _ in said))


def as_parts(said: list[tuple[str, object]]) -> list[object]:
    return [Codes(x[None]) if kind == "frame" else Ids((x,)) for kind, x in said]  # type: ignore[call-overload, index]


async def turn_of(session: NativeSession, number: int, *units: object) -> list[Event]:
    for unit in units:
        await session.push(unit)  # type: ignore[arg-type]
    await session.push(EndOfTurn(origin(number)))
    return await until_end(session, origin(number))


def cut(samples: np.ndarray, *places: int) -> list[AudioIn]:
    return [AudioIn(piece) for piece in np.split(samples, places)]


@pytest.mark.parametrize("seed", [0, 9, 11])
def test_what_came_in_pieces_is_answered_as_if_it_had_come_at_once(seed: int) -> None:
    bundle = bundle_of(seed)
    tool = Tool("get_weather", parameters={"properties": {"city": {}}})
    one, two, seen = waves(0.63, 1), waves(0.4, 2), picture()

    async def main() -> None:
        engine = engine_of(bundle)
        session = await engine.open(SessionSpec(instructions="Be brief.", tools=(tool,), longest=8))
        events = await turn_of(session, 1, *cut(one, 700, 701, 5000), ImageIn(seen), TextIn("how many?"))
        prompt = [
            Special(SYSTEM), "Be brief.", Special(TOOL), "get_weather(city)", Special(END),
            Special(USER), Audio(one, SAMPLE_RATE), Image(seen), "how many?", Special(SPEAK),
        ]  # fmt: skip
        first = said_in_order(bundle, session)
        check_against_offline(bundle, prompt, first, tools=True, longest=8)
        check_usage(bundle, prompt, first, events[-1])
        events = await turn_of(session, 2, *cut(two, 1, 4000))
        prompt += [*as_parts(first), Special(USER), Audio(two, SAMPLE_RATE), Special(SPEAK)]
        second = said_in_order(bundle, session)
        check_against_offline(bundle, prompt, second, tools=True, longest=8)
        check_usage(bundle, prompt, second, events[-1])
        await engine.close()

    virtual_time.run(main())


def test_text_alone_and_a_slot_that_was_used_before_are_as_offline() -> None:
    bundle = bundle_of(2)

    async def main() -> None:
        engine = engine_of(bundle, sessions=1)
        for number in range(3):
            session = await engine.open(SessionSpec(speaks=False, longest=9))
            await turn_of(session, 1, TextIn("what is " + "the " * number + "light"))
            prompt = [Special(USER), "what is " + "the " * number + "light", Special(ANSWER)]
            said = said_in_order(bundle, session)
            assert len(said) == 10
            assert said[-1] == ("text", bundle.special[END])  # the limit
            for at in range(9):
                with torch.no_grad():
                    text = bundle.model(bundle.tokens.encode([*prompt, *as_parts(said[:at])])).text[0, -1].clone()
                text[[i for name, i in bundle.special.items() if name != END]] = float("-inf")
                assert said[at] == ("text", int(text.argmax()))
            await session.close()
        await engine.close()

    virtual_time.run(main())


def test_codes_leave_beside_the_sound_they_become_and_words_of_the_user_where_they_are_wanted() -> None:
    bundle = lively()

    async def heard_with(spec: SessionSpec) -> list[Event]:
        engine = engine_of(bundle)
        session = await engine.open(spec)
        events = await turn_of(session, 1, AudioIn(waves(0.2, 3)))
        await asyncio.sleep(10)  # of virtual time, in which the transcript is written
        await session.close()
        events += [event async for event in session.events()]
        await engine.close()
        return events

    plain_events, all_events, fewest = (
        virtual_time.run(heard_with(SessionSpec(longest=12, codes=codes, transcribes=transcribes)))
        for codes, transcribes in ((False, True), (True, True), (False, False))
    )
    codes = np.concatenate([event.codes for event in all_events if isinstance(event, CodesOut)])
    sound = np.concatenate([event.samples for event in all_events if isinstance(event, AudioOut)])
    assert len(codes) >= 3
    assert bundle.codec is not None
    assert np.array_equal(bundle.codec.decode(codes), sound)
    assert [plain(e) for e in all_events if not isinstance(e, CodesOut)] == [plain(e) for e in plain_events]
    assert [plain(e) for e in plain_events if not isinstance(e, Transcript)] == [plain(e) for e in fewest]
    assert sum(isinstance(event, Transcript) for event in plain_events) == 1


def test_after_old_items_were_dropped_the_answer_is_the_one_to_what_is_left() -> None:
    bundle = bundle_of(1, longest=64)

    async def main() -> None:
        engine = engine_of(bundle)
        session = await engine.open(SessionSpec(speaks=False, longest=6))
        history: list[list[object]] = []
        fewest = 100
        for number in range(1, 9):
            await session.push(TextIn(f"turn {number}"))
            await session.push(EndOfTurn(origin(number)))
            left = [item.kind for item in session.lane.tape.items].count("user") - 1  # earlier turns
            history = history[len(history) - left :]
            fewest = min(fewest, left) if number > 3 else fewest
            await until_end(session, origin(number))
            said = said_in_order(bundle, session)
            asked = [Special(USER), f"turn {number}", Special(ANSWER)]
            prompt = [part for turn in history for part in turn] + asked
            check_against_offline(bundle, prompt, said, "answer", longest=6)
            history.append([*asked, *as_parts(said)])
        assert fewest < 3, "something was dropped"
        await engine.close()

    virtual_time.run(main())


ALONE: dict[tuple[int, int], list[object]] = {}  # what a session says when nobody else is there


async def conversation(session: NativeSession, number: int) -> list[object]:
    """Two turns, the same for the same number."""
    said: list[object] = []
    for turn in (1, 2):
        units = [TextIn(f"tell me {number}")] if (number + turn) % 3 == 0 else speech(0.1 + 0.08 * (number % 4), number)
        said += [plain(e) for e in await turn_of(session, turn, *units) if getattr(e, "origin", None)]
    return said


def spec_of(number: int) -> SessionSpec:
    how = Sampling() if number % 2 else Sampling(temperature=0.8, top_k=20, top_p=0.9, repetition=1.2, seed=number)
    return SessionSpec(instructions="Be brief." if number % 4 == 0 else "", longest=6, sampling=how)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.booleans()), min_size=3, max_size=15))
def test_a_session_says_the_same_alone_and_among_others_that_come_and_go(others: list[tuple[int, int, bool]]) -> None:
    bundle = bundle_of(0)

    async def alone(number: int) -> list[object]:
        engine = engine_of(bundle, sessions=1)
        said = await conversation(await engine.open(spec_of(number)), number)
        await engine.close()
        return said

    async def main() -> None:
        for number in {number for number, _, leaves in others if not leaves} | {3}:
            if (number, 0) not in ALONE:
                ALONE[number, 0] = await alone(number)
        engine = engine_of(bundle, sessions=16)

        async def joins(number: int, after: int, leaves: bool) -> None:
            for _ in range(after):
                await asyncio.sleep(0)
            session = await engine.open(spec_of(number))
            if leaves:
                await session.push(TextIn("hello"))
                await session.push(EndOfTurn(origin(1)))
                for _ in range(after % 7):
                    await asyncio.sleep(0)
            else:
                assert await conversation(session, number) == ALONE[number, 0]
            await session.close()

        async with asyncio.TaskGroup() as group:
            for other in [(3, 5, False), *others]:
                group.create_task(joins(*other))
        assert engine.slots.lanes[:16] == [None] * 16
        await engine.close()

    virtual_time.run(main())


@pytest.mark.parametrize("heard", [None, 0.0, 0.1])
def test_after_an_interruption_at_any_event_the_history_holds_what_was_heard_and_is_well_formed(
    heard: float | None,
) -> None:
    bundle = lively()
    said = waves(0.2, 3)

    async def interrupted(after: int) -> bool:
        engine = engine_of(bundle, sessions=1)
        session = await engine.open(SessionSpec(longest=12))
        for unit in cut(said, 900):
            await session.push(unit)
        await session.push(EndOfTurn(origin(1)))
        over = False
        for _ in range(after):
            over = is_end(await anext(session.events()))
            if over:
                break
        await session.push(TextIn("no"))  # the next turn has begun before the interruption is known
        await session.push(Cancel(heard=heard))
        rest = [] if over else await until_end(session, origin(1))
        assert not rest or is_end(rest[-1])
        kept = said_in_order(bundle, session)
        frames = sum(kind == "frame" for kind, _ in kept)
        if heard is not None:
            assert frames <= np.ceil(heard * 25 + 1e-9)
        state = Answering("speak")  # what the history holds is an answer as the script writes them
        for kind, token in kept:
            if kind == "frame":
                state.frame()
            elif token == bundle.special[END]:
                state.stop() if state.next == "frame" else state.say("end")
            else:
                state.say("word")
        assert state.next == "over"
        await session.push(Configure(SessionSpec(speaks=False, longest=6)))
        await turn_of(session, 2, TextIn("and you"))
        prompt = [Special(USER), Audio(said, SAMPLE_RATE), Special(SPEAK), *as_parts(kept)]
        prompt += [Special(USER), "no", "and you", Special(ANSWER)]
        check_against_offline(bundle, prompt, said_in_order(bundle, session), "answer", longest=6)
        await engine.close()
        return over

    async def main() -> None:
        after = 0
        while not await interrupted(after):
            after += 1
        assert after > 5

    virtual_time.run(main())


def test_a_beginning_that_was_taken_back_leaves_the_sound_as_if_it_had_never_been() -> None:
    bundle = bundle_of(9)
    said = waves(0.5, 4)

    async def main() -> None:
        for wait in (0, 1, 3, 50):
            engine = engine_of(bundle, sessions=1)
            session = await engine.open(SessionSpec(speaks=False, longest=8))
            await session.push(AudioIn(said[:3000]))
            await session.push(Begin(origin(1)))
            for _ in range(wait):
                await asyncio.sleep(0)
            await session.push(AudioIn(said[3000:5000]))
            await session.push(Begin(origin(2)))
            await session.push(AudioIn(said[5000:]))
            await session.push(Begin(origin(3)))
            for _ in range(wait):
                await asyncio.sleep(0)
            await session.push(EndOfTurn(origin(3)))
            await until_end(session, origin(3))
            prompt = [Special(USER), Audio(said, SAMPLE_RATE), Special(ANSWER)]
            check_against_offline(bundle, prompt, said_in_order(bundle, session), "answer", longest=8)
            await engine.close()

    virtual_time.run(main())


def marker(number: int) -> str:
    return f"{number:05d}"


def reuse(times: int, different: int = 40) -> None:
    """Slots go from hand to hand, each owner with a marker of its own, many at a time."""
    bundle = bundle_of(7, tied=False)
    with torch.no_grad():
        for block in bundle.model.stack.blocks:  # what was read long ago decides what is said
            block.attention.inner.attention.qkv.weight *= 2
            block.attention.inner.attention.out.weight *= 8
    spec = SessionSpec(speaks=False, longest=3)

    async def main() -> None:
        engine = engine_of(bundle, sessions=16)
        answers: dict[int, list[int]] = {}

        async def ask(number: int) -> list[int]:
            session = await engine.open(spec)
            await session.push(TextIn(marker(number) * (1 + number % 3)))
            await session.push(EndOfTurn(origin(1)))
            async for event in session.events():
                if is_end(event):
                    break
            assert session.last is not None
            said = session.last.ids
            await session.close()
            return said

        for number in range(different):
            answers[number] = await ask(number)
        assert len({tuple(said) for said in answers.values()}) > different / 4, "the answers tell who asked"
        draw = np.random.default_rng(0)

        async def owner(count: int) -> None:
            for number in draw.integers(0, different, count):
                assert await ask(int(number)) == answers[int(number)]

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(owner(times // 16))
        assert engine.slots.given >= times
        await engine.close()

    virtual_time.run(main())


def test_no_token_reaches_the_next_owner_of_a_slot() -> None:
    reuse(320)


@pytest.mark.slow
def test_no_token_reaches_the_next_owner_of_a_slot_ten_thousand_times() -> None:
    reuse(10_000)
