"""The modelled ear and mouth beside slow and plain models of a loudspeaker and a microphone."""

import asyncio
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.engine.clock import LoopClock
from omni_server.client.answer import Stage
from omni_server.client.ear import Ear
from omni_server.client.mouth import Mouth
from omni_server.client.own_server import _listening, own_server
from omni_server.client.recording import Recording, where_speech_is
from omni_server.client.refusals import NoServer
from omni_server.client.waterfall_text import draw
from tests.virtual_time import run

TICK = 2**-10  # s; sums of a power of two are exact, so that "just in time" is the same for both
RATE = 1000  # Hz: a sample a tick, so that the plain models can count

arrivals = st.lists(
    st.tuples(st.integers(0, 120), st.integers(1, 80)), min_size=1, max_size=12
)  # (ticks later, samples)


def plain_loudspeaker(pieces: list[tuple[int, int]], buffer: int, stop: int | None) -> tuple[int, int, int]:
    """Tick by tick: first audible tick, samples heard, underruns. An arrival that finds it dry waits `buffer`."""
    arrived: dict[int, int] = {}
    at = 0
    for later, samples in pieces:
        at += later
        arrived[at] = arrived.get(at, 0) + samples
    waiting, starts, first, heard, underruns, playing = 0, None, -1, 0, 0, False
    for tick in range(at + sum(samples for _, samples in pieces) + buffer * len(pieces) + 2):
        if stop is not None and tick >= stop:
            break
        if playing and waiting == 0 and tick not in arrived:
            playing, starts = False, None
        if tick in arrived:
            waiting += arrived[tick]
            if not playing and starts is None:
                starts = tick + buffer
                underruns += first >= 0
        if not playing and starts is not None and tick >= starts and waiting:
            playing = True
            first = tick if first < 0 else first
        if playing and waiting:
            waiting -= 1
            heard += 1
    return first, heard, underruns


@settings(deadline=None, max_examples=100)
@given(arrivals, st.integers(0, 60), st.one_of(st.none(), st.integers(0, 900)))
def test_the_ear_hears_what_a_loudspeaker_plays(pieces: list[tuple[int, int]], buffer: int, stop: int | None) -> None:
    ear, at = Ear(buffer * TICK), 0
    stopped = False
    for later, samples in pieces:
        at += later
        if stop is not None and not stopped and stop <= at:
            ear.stop(stop * TICK)
            stopped = True
        if stop is None or stop > 0 or ear.items:
            ear.arrive("answer", "item", samples * TICK, at * TICK)
    ear.complete("item")
    if stop is not None and not stopped:
        ear.stop(stop * TICK)
    playing = ear.items.get("item")
    if playing is None or (stop is not None and stop <= pieces[0][0]):
        return  # it was silenced before anything came: that is another test
    first, heard, underruns = plain_loudspeaker(pieces, buffer, stop)
    assert playing.heard(1e9) == pytest.approx(heard * TICK, abs=1.01 * TICK)
    if stop is None:
        assert playing.first_at == pytest.approx(first * TICK)
        assert playing.underruns == underruns
        assert ear.quiet_at == pytest.approx(playing.ends)
        length = playing.ends - playing.first_at
        assert length == pytest.approx(sum(samples for _, samples in pieces) * TICK + playing.starved)


def test_what_comes_of_an_answer_after_it_was_silenced_is_not_heard() -> None:
    ear = Ear(0.0)
    ear.arrive("a", "one", 1.0, 0.0)
    assert [one.item for one in ear.stop(0.25)] == ["one"]
    ear.arrive("a", "one", 1.0, 0.3)
    ear.arrive("a", "two", 1.0, 0.4)
    ear.arrive("b", "three", 1.0, 0.5)
    assert [round(ear.items[name].heard(9.0), 3) for name in ("one", "two", "three")] == [0.25, 0.0, 1.0]
    assert ear.items["one"].dropped == 1.0


def test_a_second_item_follows_the_first_without_a_gap() -> None:
    ear = Ear(0.02)
    ear.arrive("a", "one", 0.5, 0.0)
    ear.arrive("a", "two", 0.5, 0.1)
    assert ear.items["two"].first_at == pytest.approx(0.52)
    assert ear.quiet_at == pytest.approx(1.02)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, 300)), min_size=1, max_size=6),
    st.booleans(),
    st.lists(st.floats(0, 0.05), max_size=8),
)
def test_every_sample_leaves_once_in_order_and_at_its_moment(
    said: list[tuple[float, int]], keeps_open: bool, stalls: list[float]
) -> None:
    """Also when sending stalls: what is late is caught up with, and nothing is lost."""

    async def main() -> None:
        sent: list[np.ndarray] = []
        moments: list[tuple[float, float]] = []
        stalling = iter(stalls)

        async def send(samples: np.ndarray, left_at: float) -> None:
            await asyncio.sleep(next(stalling, 0.0))
            sent.append(samples)
            moments.append((left_at, clock.now()))

        clock = LoopClock()
        mouth = Mouth(RATE, clock, send, keeps_open=keeps_open)
        leaving = asyncio.create_task(mouth.run())
        number, firsts = 1, []
        for pause, count in said:
            await asyncio.sleep(pause)
            samples = np.arange(number, number + count, dtype=np.float32)
            first = mouth.put(samples)
            firsts.append((first, count, number))
            assert mouth.moment(first) >= clock.now() - mouth.late_between() - 2 * mouth.chunk - sum(stalls)
            number += count
        last = firsts[-1][0] + firsts[-1][1]
        async with asyncio.timeout(60):
            await mouth.said(last)
        leaving.cancel()
        line = np.concatenate(sent)
        for first, count, begin in firsts:
            assert np.array_equal(line[first : first + count], np.arange(begin, begin + count, dtype=np.float32))
        assert np.count_nonzero(line) == number - 1  # everything else is silence
        for left_at, now in moments:
            assert now >= left_at - 1e-9  # nothing leaves before its last sample was taken
        if keeps_open and not stalls:
            assert all(now - left_at < 1e-6 for left_at, now in moments)

    run(main())


def test_the_end_of_speech_is_where_its_energy_ends() -> None:
    rate = 16_000
    tone = 0.5 * np.sin(np.arange(rate) / 5)
    wave = np.concatenate((np.zeros(4_000), tone, np.zeros(8_000))).astype(np.float32)
    quiet = wave + 0.001 * np.random.default_rng(0).normal(size=len(wave)).astype(np.float32)
    for samples in (wave, wave * 0.01, quiet):
        begin, end = where_speech_is(samples, rate) or (0, 0)
        assert begin == pytest.approx(0.25, abs=0.011)
        assert end == pytest.approx(1.25, abs=0.011)
    assert where_speech_is(np.zeros(1000, np.float32), rate) is None
    assert Recording.of(wave, rate, speech=(0.1, 0.2)).speech == (0.1, 0.2)
    assert Recording.of(Recording.of(wave, rate), speech=(0.1, 0.2)).speech == (0.1, 0.2)


@given(st.lists(st.floats(-50, 2_000), min_size=1, max_size=9))
def test_a_waterfall_in_the_terminal_sums_its_stages_and_stays_in_its_width(times: list[float]) -> None:
    text = draw([Stage(f"s{at}", ms) for at, ms in enumerate(times)], width=40)
    lines = text.splitlines()
    assert len(lines) == len(times) + 1
    assert f"{sum(times):6.0f} ms" in lines[-1]
    assert max(map(len, lines)) <= len("together") + len(" 123456 ms  ") + 40 + 2


async def test_an_own_server_that_does_not_start_says_why() -> None:
    with pytest.raises(NoServer, match="quantum"):
        async with own_server(["--engine", "quantum"]):
            pass


async def test_an_own_server_is_as_its_flags_say_whatever_another_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOST": "::1", "LOG_LEVEL": "error", "KEYS_FILE": "gone", "CONFIG": "gone.toml"}.items():
        monkeypatch.setenv(f"OMNI_{name}", value)
    async with own_server(["--engine", "echo"], patience=30.0) as url:
        assert url.startswith("http://127.0.0.1:")


def test_a_bar_is_as_long_as_its_stage_where_another_is_negative() -> None:
    stages = [Stage("endpoint", 200.0), Stage("llm", 300.0), Stage("rest", -150.0), Stage("play-out", 50.0)]
    bars = [line.partition("ms  ")[2] for line in draw(stages, width=50).splitlines()]
    assert [bar.count("█") for bar in bars] == [20, 30, 0, 5, 0]
    assert [len(bar) - bar.count("█") for bar in bars] == [0, 20, 0, 35, 0]  # the last one ends at the sum, 400 ms


async def test_a_line_of_another_program_is_no_sign_of_a_server() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b'17\n["x"]\nnull\n{"message": "listening", "page": "http://here/"}\n')
    assert await _listening(stream, deque()) == "http://here/"


def test_an_ear_forgets_what_is_over() -> None:
    ear = Ear(0.0)
    for number in range(10):
        ear.arrive(str(number), f"i{number}", 1.0, float(number))
        ear.stop(number + 0.5)
        ear.forget(str(number))
    assert (ear.items, ear._silenced) == ({}, set())
