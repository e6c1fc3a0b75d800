"""The page in a real Chromium when something is away: the server, the microphone, what the browser keeps."""

import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
import soundfile as sf
from playwright.async_api import Browser

from omni.engine.scripted import Say, Speak
from tests.server import chromium
from tests.server.chromium import page, scripted

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 16_000  # Hz
ANSWER = (Say("It is a red circle."), Speak(0.4))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with chromium.hearing_a_tone(tmp_path_factory.mktemp("microphone")) as browser:
        yield browser


async def test_a_microphone_that_is_on_talks_to_the_other_mode_too(chrome: Browser) -> None:
    engines = {name: scripted((Say(f"I am {name}."), Speak(0.2))) for name in ("native", "pipeline")}
    async with page(chrome, engines) as seen:
        await seen.page.click("#microphone")
        await seen.reads(".said.assistant", "I am native.")
        await seen.page.locator("#modes label", has_text="pipeline").click()
        await seen.reads(".said.assistant", "I am pipeline.")


async def test_sound_that_comes_right_behind_a_stop_is_played(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.page.click("#attach")
        await seen.page.evaluate("""async () => {
          const { loudspeaker } = omni.talk;
          window.finished = [];
          loudspeaker.finished = (item, ms) => finished.push([item, Math.round(ms)]);
          await loudspeaker.start();
          loudspeaker.play("old", new Float32Array(24000));
        }""")
        await seen.until("omni.talk.loudspeaker.now.item === 'old'")
        await seen.page.evaluate("""() => {
          const { loudspeaker } = omni.talk;
          loudspeaker.stop();
          loudspeaker.play("new", new Float32Array(2400));
          loudspeaker.end("new");
        }""")
        await seen.until("finished.length === 1")
        assert await seen.page.evaluate("finished") == [["new", 100]]


async def test_a_browser_that_keeps_nothing_shows_the_page_all_the_same(chrome: Browser) -> None:
    before = """for (const name of ["localStorage", "sessionStorage"])
      Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });"""
    engines = {name: scripted((Say(f"I am {name}."), Speak(0.2))) for name in ("native", "pipeline")}
    async with page(chrome, engines, before=before) as seen:
        await seen.page.locator("#modes label", has_text="pipeline").click()
        await seen.page.click("#open-settings")
        await seen.page.click("#settings-form [value=save]")
        await seen.say("Who are you?")
        await seen.reads(".said.assistant", "I am pipeline.")


async def test_a_message_to_a_server_that_is_away_is_not_lost_and_goes_when_it_is_back(chrome: Browser) -> None:
    before = """const add = AudioWorklet.prototype.addModule;
      AudioWorklet.prototype.addModule = function (...of) {
        return window.away ? Promise.reject(new DOMException("no module", "AbortError")) : add.apply(this, of);
      };"""
    async with page(chrome, scripted(ANSWER), before=before) as seen:
        await seen.page.evaluate("window.away = true")
        await seen.say("What is it?")
        await seen.reads("#notice", "The server does not answer")
        assert await seen.page.input_value("#message") == "What is it?"
        await seen.page.evaluate("window.away = false")
        await seen.page.press("#message", "Enter")
        await seen.reads(".said.assistant", "It is a red circle.")


async def test_a_view_that_cannot_be_fetched_says_so(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER), expected=lambda trouble: "ERR_FAILED" in trouble) as seen:
        await seen.page.route("**/js/tokens_view.js", lambda route: route.abort())
        await seen.page.click("a[href='#tokens']")
        await seen.reads("#tokens", "The server does not answer")


async def test_a_recording_ends_with_its_microphone(chrome: Browser) -> None:
    before = """const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await open(wanted));"""
    async with page(chrome, scripted(ANSWER), view="#masked", before=before) as seen:
        button = seen.page.locator("#masked button", has_text="recording")
        await seen.page.click("#masked button:text('Record speech')")
        await button.wait_for(timeout=chromium.PATIENCE)
        await seen.page.wait_for_timeout(500)
        await seen.page.evaluate("stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
        await button.wait_for(state="hidden", timeout=chromium.PATIENCE)
        assert await seen.page.get_attribute("#masked button:text('Record speech')", "aria-pressed") == "false"


async def test_a_sound_file_is_read_before_anybody_touched_the_page(chrome: Browser) -> None:
    """A browser starts no loudspeaker then; a file needs none."""
    before = "AudioContext.prototype.resume = () => new Promise(() => {});"
    async with page(chrome, scripted(ANSWER), view="#masked", before=before) as seen:
        wave = io.BytesIO()
        sf.write(wave, np.zeros(RATE), RATE, format="WAV")
        sound = {"name": "silence.wav", "mimeType": "audio/wav", "buffer": wave.getvalue()}
        await seen.page.set_input_files("#masked input[type=file]", sound)  # type: ignore[arg-type]
        await seen.reads("#masked", "49 frames")


async def test_a_microphone_at_a_rate_of_its_own_leaves_nothing_behind(chrome: Browser) -> None:
    """As in Firefox, which connects a microphone only at the rate of its device."""
    before = """window.contexts = [];
      const Context = AudioContext;
      window.AudioContext = class extends Context {
        constructor(...of) { super(...of); contexts.push(this); }
        createMediaStreamSource(stream) {
          if (this === contexts[0]) throw new DOMException("another rate", "NotSupportedError");
          return super.createMediaStreamSource(stream);
        }
      };"""
    async with page(chrome, scripted(ANSWER), before=before) as seen:
        for opened in (2, 3):
            await seen.page.click("#microphone")
            await seen.until(f"omni.talk.microphone.on && contexts.length === {opened}")
            await seen.page.click("#microphone")
            await seen.until(f"contexts.filter((one) => one.state === 'closed').length === {opened - 1}")


async def test_a_microphone_without_a_server_is_given_back(chrome: Browser) -> None:
    before = """AudioWorklet.prototype.addModule = () => Promise.reject(new DOMException("no module", "AbortError"));
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await open(wanted));"""
    async with page(chrome, scripted(ANSWER), view="#masked", before=before) as seen:
        await seen.page.click("#masked button:text('Record speech')")
        await seen.reads("#masked .notice", "The server does not answer")
        assert await seen.page.evaluate("stream.getTracks()[0].readyState") == "ended"
