"""What every engine must do while it answers: turns, interruptions at any moment, and answers that are begun early."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from omni.engine.protocol import (
    AudioOut,
    Begin,
    Cancel,
    Closed,
    Configure,
    Discard,
    Done,
    EndOfTurn,
    EngineSession,
    Event,
    Origin,
    Refused,
    SessionSpec,
    TextDelta,
    Transcript,
)
from tests import virtual_time
from tests.omni.subject import Subject, case, enumerated
from tests.omni.talking import ask, check_response, is_end, origin, plain, say, speech, until_end, until_quiet

# Responses


@case
async def a_turn_gets_one_answer_with_its_origin_on_every_event_and_one_end(subject: Subject) -> None:
    async with subject.session() as session:
        await ask(session, origin(1))
        events = await until_end(session, origin(1))
        assert len(events) > 1, "an answer has something besides its end"
        assert events[-1] == Done(origin(1), "stop")
        events += await until_quiet(session, subject.quiet)
        check_response(events, origin(1))


@case
async def turn_after_turn_is_answered_under_its_own_origin(subject: Subject) -> None:
    async with subject.session() as session:
        for number in range(1, 5):
            await ask(session, origin(number, epoch=number // 2))
            check_response(await until_end(session, origin(number, epoch=number // 2)), origin(number, number // 2))


@case
async def a_second_response_is_refused_while_one_is_open(subject: Subject) -> None:
    async with subject.session(long=True) as session:
        await ask(session, origin(1), 4.0)
        for unit in (EndOfTurn(origin(2)), Begin(origin(2))):
            with pytest.raises(Refused, match=r"resp_1.* is open"):
                await session.push(unit)
        check_response(await until_end(session, origin(1)), origin(1))


@case
async def an_old_origin_is_refused(subject: Subject) -> None:
    async with subject.session() as session:
        await ask(session, origin(2))
        await until_end(session, origin(2))
        for old in (origin(2), origin(2, epoch=3), origin(3, epoch=1)):
            with pytest.raises(Refused, match="cannot follow"):
                await session.push(EndOfTurn(old))
        await ask(session, origin(3))
        check_response(await until_end(session, origin(3)), origin(3))


@case
async def what_comes_while_a_response_is_open_belongs_to_the_next_turn(subject: Subject) -> None:
    async with subject.session(long=True) as session:
        await ask(session, origin(1), 4.0)
        await say(session)
        check_response(await until_end(session, origin(1)), origin(1))
        await session.push(EndOfTurn(origin(2)))
        events = await until_end(session, origin(2))
        check_response(events, origin(2))
        assert len(events) > 1


@case
async def a_discarded_turn_and_new_settings_make_no_event_of_their_own(subject: Subject) -> None:
    async with subject.session() as session:
        await say(session)
        await session.push(Discard())
        await session.push(Configure(SessionSpec(instructions="Be brief.")))
        assert not [e for e in await until_quiet(session, subject.quiet) if getattr(e, "origin", None)]
        await ask(session, origin(1))
        check_response(await until_end(session, origin(1)), origin(1))


@case
async def settings_that_come_during_an_answer_change_nothing_of_it(subject: Subject) -> None:
    said = []
    for others in (False, True):
        async with subject.session() as session:
            await ask(session, origin(1))
            if others:
                await session.push(Configure(SessionSpec(instructions="Be brief.", speaks=False)))
            said.append(content(await until_end(session, origin(1))))
            await ask(session, origin(2))
            check_response(await until_end(session, origin(2)), origin(2))
    assert said[0] == said[1]


def content(events: list[Event]) -> tuple[str, int]:
    """The text of an answer, and how many samples of sound it has."""
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, sum(len(event.samples) for event in events if isinstance(event, AudioOut))


# Cancel


@case
async def cancel_without_a_response_does_nothing(subject: Subject) -> None:
    async with subject.session() as session:
        await session.push(Cancel())
        await ask(session, origin(1))
        events = await until_end(session, origin(1))
        await session.push(Cancel())
        await session.push(Cancel(heard=0.1))
        check_response(events + await until_quiet(session, subject.quiet), origin(1))
        await ask(session, origin(2))
        check_response(await until_end(session, origin(2)), origin(2))


@case
async def cancel_after_any_number_of_events_ends_the_response_once_and_at_once(subject: Subject) -> None:
    async with subject.session(long=True) as session:
        for number, after in enumerate((0, 1, 2, 3, 5, 8, 40), start=1):
            mine = origin(number)
            await ask(session, mine, 4.0)
            seen: list[Event] = []
            async for event in session.events() if after else _nothing():
                seen.append(event)
                if len([e for e in seen if getattr(e, "origin", None)]) >= after or is_end(event, mine):
                    break
            await session.push(Cancel(heard=0.04 * after))
            if not is_end(seen[-1] if seen else None, mine):  # type: ignore[arg-type]
                rest = await until_end(session, mine)
                assert rest[-1] == Done(mine, "cancelled")
                assert not [e for e in rest[:-1] if getattr(e, "origin", None)], "what nobody read is dropped"
                seen += rest
            check_response(seen, mine)
        assert not [e for e in await until_quiet(session, subject.quiet) if getattr(e, "origin", None)]


@case
async def the_next_turn_may_follow_a_cancel_without_waiting(subject: Subject) -> None:
    async with subject.session(long=True) as session:
        for number in range(1, 21):
            await ask(session, origin(number), 0.08)
            await session.push(Cancel())
        await ask(session, origin(99))
        by_origin: dict[Origin, list[Event]] = {}
        for event in await until_end(session, origin(99)):
            if own := getattr(event, "origin", None):
                by_origin.setdefault(own, []).append(event)
        for number in range(1, 21):
            assert by_origin[origin(number)] == [Done(origin(number), "cancelled")]
        check_response(by_origin[origin(99)], origin(99))


@enumerated
async def cancel_in_any_round_of_the_loop_ends_the_response_once(subject: Subject) -> None:
    await at_every_step(subject, lambda session: session.push(Cancel(heard=0.1)))


@enumerated
async def close_in_any_round_of_the_loop_ends_the_response_once(subject: Subject) -> None:
    await at_every_step(subject, lambda session: session.close(), closes=True)


Act = Callable[[EngineSession], Coroutine[Any, Any, None]]


async def at_every_step(subject: Subject, act: Act, *, closes: bool = False) -> None:
    """Play a response once to count its rounds, then once for every round with something happening in it."""
    loop = virtual_time.virtual_loop()
    rounds = 0
    step = -1
    while step <= rounds + 2:
        before = asyncio.all_tasks()
        engine = await subject.make(sessions=1)
        session = await engine.open(SessionSpec())
        await say(session)
        start = loop.steps
        acting: list[asyncio.Task[None]] = []
        if step >= 0:
            loop.at_step(start + step, partial(begin, acting, act, session))
        pushed = True
        try:
            await session.push(EndOfTurn(origin(1)))
            events = await until_end(session, origin(1))
        except Closed:
            pushed, events = False, []
        if step < 0:
            rounds = loop.steps - start
        for _ in range(start + step + 2 - loop.steps):  # the answer was over first
            await asyncio.sleep(0)
        for task in acting:
            await task
        events += await until_quiet(session, subject.quiet)
        if pushed:
            check_response(events, origin(1))
            if not closes:
                await ask(session, origin(2))
                again = await until_end(session, origin(2))
                check_response(again, origin(2))
                assert again[-1] == Done(origin(2), "stop"), f"the session is broken after round {step}"
        await session.close()
        second = await engine.open(SessionSpec())  # the only place is free again
        await second.close()
        await engine.close()
        assert asyncio.all_tasks() - before == set()
        step += 1
    assert rounds >= 2


def begin(acting: list[asyncio.Task[None]], act: Act, session: EngineSession) -> None:
    acting.append(asyncio.get_running_loop().create_task(act(session)))


async def _nothing() -> AsyncIterator[Event]:
    return
    yield


# Begin


@case
async def what_was_begun_shows_nothing_before_the_turn_is_over(subject: Subject) -> None:
    async with subject.session() as session:
        await say(session)
        await session.push(Begin(origin(1)))
        early = await until_quiet(session, subject.quiet)
        assert not [e for e in early if getattr(e, "origin", None) or (isinstance(e, Transcript) and e.final)]
        await session.push(EndOfTurn(origin(1)))
        events = await until_end(session, origin(1))
        assert len(events) > 1
        check_response(events + await until_quiet(session, subject.quiet), origin(1))


@case
async def what_was_begun_is_taken_back_by_more_of_the_turn(subject: Subject) -> None:
    async with subject.session() as session:
        for number, wait in ((1, 0.0), (3, 0.001), (5, 0.05), (7, subject.quiet)):
            await say(session)
            await session.push(Begin(origin(number)))
            await asyncio.sleep(wait)
            await say(session)
            await session.push(EndOfTurn(origin(number + 1)))
            events = await until_end(session, origin(number + 1))
            check_response(events, origin(number + 1))
            assert len(events) > 1
        assert not [e for e in await until_quiet(session, subject.quiet) if getattr(e, "origin", None)]


@case
async def what_was_begun_is_taken_back_by_cancel_and_by_another_beginning(subject: Subject) -> None:
    async with subject.session() as session:
        await say(session)
        await session.push(Begin(origin(1)))
        await session.push(Cancel())
        await session.push(Begin(origin(2)))
        await session.push(Begin(origin(3)))
        await session.push(EndOfTurn(origin(3)))
        check_response(await until_end(session, origin(3)) + await until_quiet(session, subject.quiet), origin(3))
        await say(session)
        await session.push(Begin(origin(4)))
        await session.push(EndOfTurn(origin(5)))
        check_response(await until_end(session, origin(5)) + await until_quiet(session, subject.quiet), origin(5))


@case
async def an_answer_whose_end_nobody_has_read_is_cancelled_whatever_was_begun_after_it(subject: Subject) -> None:
    async with subject.session() as session:
        await ask(session, origin(1))
        await begin_after_the_answer(session, origin(2))
        await session.push(Cancel())
        events = await until_quiet(session, subject.quiet)
        assert [e for e in events if getattr(e, "origin", None)] == [Done(origin(1), "cancelled")]


async def begin_after_the_answer(session: EngineSession, following: Origin) -> None:
    """Begin as soon as the answer is made; nobody reads it."""
    while True:
        try:
            return await session.push(Begin(following))
        except Refused:
            await asyncio.sleep(0.05)


@enumerated
async def taking_back_in_any_round_of_the_loop_leaves_no_trace(subject: Subject) -> None:
    await speculate_at_every_step(subject, confirm=False)


@enumerated
async def confirming_in_any_round_of_the_loop_gives_the_whole_answer(subject: Subject) -> None:
    await speculate_at_every_step(subject, confirm=True)


async def speculate_at_every_step(subject: Subject, *, confirm: bool) -> None:
    async def direct() -> list[Event]:
        async with subject.session() as session:
            await ask(session, origin(2))
            return await until_end(session, origin(2))

    whole = await direct()
    loop = virtual_time.virtual_loop()
    for step in range(1000):
        engine = await subject.make(sessions=1)
        session = await engine.open(SessionSpec())
        await say(session, 0.2 if confirm else 0.12)
        await session.push(Begin(origin(2 if confirm else 1)))
        reached = asyncio.Event()
        loop.at_step(loop.steps + step, reached.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(subject.quiet):
                await reached.wait()
        if not confirm:
            for unit in speech(0.2)[3:]:
                await session.push(unit)
        await session.push(EndOfTurn(origin(2)))
        events = await until_end(session, origin(2)) + await until_quiet(session, subject.quiet)
        check_response(events, origin(2))
        assert [plain(e) for e in events if getattr(e, "origin", None)] == [
            plain(e) for e in whole if getattr(e, "origin", None)
        ]
        await engine.close()
        if not reached.is_set():  # everything was over, and the loop slept
            return
    raise AssertionError("the engine does not come to rest")
