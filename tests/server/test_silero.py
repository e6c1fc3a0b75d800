"""The voice detector: many sessions in one run, each as if it were alone, and none deaf for another's sake."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omni.engine.clock import SystemClock
from omni.engine.scripted import ScriptedEngine
from omni_server.session.commands import AppendAudio
from omni_server.session.events import Ended, Event
from omni_server.session.session import Session
from omni_server.session.settings import SessionSettings
from omni_server.session.setup import Setup
from omni_server.turns.detector import WINDOW
from omni_server.turns.silero import Silero, SileroEar

EARS = 4
KNOWN = 1e-5


def sound(seed: int, windows: int = 12) -> NDArray[np.float32]:
    """A voice of sorts, loud and quiet: [windows, 512]."""
    time = np.arange(windows * WINDOW) / 16_000
    pitch = 90 + 40 * seed
    wave = sum(np.sin(2 * np.pi * pitch * k * time + seed) / k for k in range(1, 12))
    loud = 0.1 * (1 + np.sin(2 * np.pi * 3 * time + seed))
    return (wave * loud).astype(np.float32).reshape(windows, WINDOW)


@pytest.fixture(scope="module")
def alone() -> NDArray[np.float32]:
    """What the package that publishes the model finds in each sound by itself: [ears, windows]."""
    from silero_vad import load_silero_vad

    model = load_silero_vad(onnx=True)
    found = []
    for seed in range(EARS):
        model.reset_states()
        found.append([float(model(torch.from_numpy(window), 16_000)) for window in sound(seed)])
    return np.array(found, np.float32)


@pytest.fixture
async def silero() -> AsyncIterator[Silero]:
    detector = Silero()
    await detector.load()
    yield detector
    detector.close()


async def quiet(ears: list[SileroEar]) -> None:
    """Wait until nothing is due."""
    async with asyncio.timeout(20):
        while any(ear.waiting for ear in ears):  # noqa: ASYNC110  # nobody is told of this
            await asyncio.sleep(0.001)


async def test_together_each_hears_what_the_publisher_hears_alone(silero: Silero, alone: NDArray[np.float32]) -> None:
    ears = [silero.ear() for _ in range(EARS)]
    found: list[list[float]] = [[] for _ in ears]
    for number in range(12):
        for ear, heard, wave in zip(ears, found, map(sound, range(EARS)), strict=True):
            ear.hear(wave[number], heard.append)
    await quiet(ears)
    np.testing.assert_allclose(found, alone, atol=KNOWN)
    assert alone.max() > 0.2  # it is not silence


Acts = list[tuple[int, str]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, EARS - 1), st.sampled_from(["hear", "hear", "hear", "forget", "let"]))))
@example([(0, "hear"), (1, "hear"), (0, "forget")])
def test_whoever_forgets_begins_anew_and_disturbs_nobody(alone: NDArray[np.float32], acts: Acts) -> None:
    async def all_acts() -> None:
        silero = Silero()
        ears = [silero.ear() for _ in range(EARS)]
        found: list[list[float]] = [[] for _ in ears]
        place = [0] * EARS
        try:
            for number, act in acts:
                if act == "let":
                    await asyncio.sleep(0)
                elif act == "forget":
                    ears[number].forget()
                    found[number], place[number] = [], 0
                elif place[number] < 12:
                    ears[number].hear(sound(number)[place[number]], found[number].append)
                    place[number] += 1
            await quiet(ears)
        finally:
            silero.close()
        for heard, known, count in zip(found, alone, place, strict=True):
            np.testing.assert_allclose(heard, known[:count], atol=KNOWN)

    asyncio.run(all_acts())


async def test_a_run_that_fails_costs_its_window_and_no_more(
    silero: Silero, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ears = [silero.ear() for _ in range(2)]
    found: list[list[float]] = [[], []]
    run, left = silero._model_run, [1]

    def once(*given: NDArray[np.float32]) -> object:
        if left.pop() if left else 0:
            raise RuntimeError("no memory")
        return run(*given)

    monkeypatch.setattr(silero, "_model_run", once)
    for ear, heard in zip(ears, found, strict=True):
        for window in sound(0)[:3]:
            ear.hear(window, heard.append)
    await quiet(ears)
    assert "the voice detector failed on one window" in caplog.text
    assert sorted(map(len, found)) == [2, 3]  # the first run had one of them


async def test_a_session_that_fails_is_over_and_the_others_go_on(
    silero: Silero, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = [
        await Session.open(ScriptedEngine([]), Setup(), SessionSettings(), SystemClock(), silero) for _ in range(3)
    ]
    said: list[list[Event]] = [[] for _ in opened]

    async def read(session: Session, into: list[Event]) -> None:
        into.extend([event async for event in session.events()])

    reading = [asyncio.create_task(read(*both)) for both in zip(opened, said, strict=True)]

    def broken(*_: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(opened[0].core.listening, "_sound", broken)
    for window in sound(0):
        for session in opened:
            await session.handle(AppendAudio(window, 16_000))
    await quiet([session.core.listening.ear for session in opened[1:]])  # type: ignore[misc]
    for session in opened:
        await session.close()
    await asyncio.wait(reading, timeout=5)
    assert all(task.done() for task in reading)
    assert [event.code for event in said[0] if isinstance(event, Ended)] == ["internal_error"]
    assert not [event for events in said[1:] for event in events if isinstance(event, Ended)]
    assert "a mistake" in caplog.text
