"""The microphone and the loudspeaker, with a device of PortAudio that is made of arrays."""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from omni.engine.scripted import Say, ScriptedEngine, Speak
from omni_server.client.microphone import BLOCK, RATE, Loudspeaker, NoDevice, microphone
from omni_server.commands.talk import _live
from tests.server.close_to_server import question, talking
from tests.server.loopback import until


class Device:
    """Hears a question, and keeps what it plays."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.heard = question(lead=0.1, speech=0.4, tail=1.0).at(RATE)
        self.played: list[np.ndarray] = []
        self.open = 0
        self.refuses = False

    def check_input_settings(self, samplerate: int, channels: int) -> None:
        assert (samplerate, channels) == (RATE, 1)

    def InputStream(self, rate: int, block: int, channels: int, dtype: str, callback: Callable[..., None]) -> "Stream":
        if self.refuses:
            raise self.PortAudioError("Device unavailable")
        pieces = [self.heard[at : at + block, None] for at in range(0, len(self.heard) - block, block)]
        return Stream(self, iter(pieces), lambda data: callback(data, block, None, None), block / rate)

    def OutputStream(self, rate: int, block: int, channels: int, dtype: str, callback: Callable[..., None]) -> "Stream":
        def pull(_data: Any) -> None:
            out = np.full((block, 1), 9.0, np.float32)
            callback(out, block, None, None)
            self.played.append(out[:, 0])

        return Stream(self, iter(range(100_000)), pull, block / rate)


class Stream:
    """Calls back in a thread, in real time."""

    def __init__(self, device: Device, data: Any, call: Callable[[Any], None], seconds: float) -> None:
        self._device, self._data, self._call, self._seconds = device, data, call, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._device.open += 1
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def close(self) -> None:
        self._device.open -= 1

    def _run(self) -> None:
        for piece in self._data:
            if self._stop.wait(self._seconds):
                return
            self._call(piece)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


async def test_what_is_said_is_answered_and_heard_and_the_devices_are_given_back(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    async with talking(ScriptedEngine([Say("Four."), Speak(0.3)])) as talk:
        conversation = asyncio.create_task(_live(talk))
        await until(lambda: sum(np.abs(block).max() > 0.05 for block in device.played) >= 10, 20)
        conversation.cancel()
        await asyncio.gather(conversation, return_exceptions=True)
    assert "Four." in capsys.readouterr().out
    assert device.open == 0
    sound = np.concatenate(device.played)
    assert np.abs(sound).max() == pytest.approx(0.1, abs=0.01)  # the answer's tone, and nothing left as it was


async def test_a_microphone_that_is_refused_ends_the_conversation_with_one_sentence(device: Device) -> None:
    device.refuses = True
    async with talking(ScriptedEngine([Say("?")])) as talk:
        with pytest.raises(NoDevice, match=r"refused \(Device unavailable\): plug one in"):
            await asyncio.wait_for(_live(talk), 10)


def test_an_answer_that_is_interrupted_is_silent_at_once(device: Device) -> None:
    with Loudspeaker() as loudspeaker:
        loudspeaker.play(np.ones(16_000, np.float32), 16_000)
        loudspeaker.silence()
        out = np.full((320, 1), 9.0, np.float32)
        loudspeaker._fill(out, 320, None, None)
    assert not out.any()


async def test_a_source_is_read_in_blocks_at_its_rate(device: Device) -> None:
    source, rate = microphone()
    first = await asyncio.wait_for(anext(source), 5)
    await source.aclose()  # type: ignore[attr-defined]
    assert (len(first), rate) == (BLOCK, RATE)
    assert device.open == 0


async def test_a_loudspeaker_that_is_refused_is_one_sentence(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise device.PortAudioError("Invalid sample rate")

    monkeypatch.setattr(device, "OutputStream", refuse)
    async with talking(ScriptedEngine([Say("Four."), Speak(0.3)])) as talk:
        with pytest.raises(NoDevice, match=r"loudspeaker was refused \(Invalid sample rate\)"):
            await asyncio.wait_for(_live(talk), 10)
