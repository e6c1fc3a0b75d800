"""The page at `/` in a real Chromium: what a person does, and what they see and hear."""

import base64
import io
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser

from omni.engine.answering import Reason
from omni.engine.clock import SystemClock
from omni.engine.protocol import Origin, SessionSpec, Transcript
from omni.engine.scripted import Hang, Say, ScriptedEngine, ScriptedSession, Speak, Step
from omni_server.limits.keys import Keyring
from omni_server.session.settings import Interruption, SessionSettings
from omni_server.settings import Settings
from tests.server import chromium
from tests.server.chromium import page, scripted

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = (Say("It is "), Speak(0.4), Say("a red circle."), Speak(0.6))
LONG = (Say("Once upon a time "), Speak(30.0))
HEARD = "document.querySelector('#waterfall .total') && omni.talk.loudspeaker.energy > 0.01"
QUIET = "omni.talk.loudspeaker.now.item === null"


class WritingDown(ScriptedSession):
    """Has understood the whole turn when it begins to answer, as engines with speech to text have."""

    async def answer(self, origin: Origin, turn: Sequence[Step]) -> Reason:
        await self.emit(Transcript("What is on it?", final=True))
        return await super().answer(origin, turn)


class WritesDown(ScriptedEngine):
    def begin(self, spec: SessionSpec) -> ScriptedSession:
        return WritingDown(
            spec, self.clock, scripts=self._scripts, notices=self._notices,
            sees=self.sees, patience=self._patience, closed=self.forget,
        )  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with chromium.hearing_a_tone(tmp_path_factory.mktemp("microphone")) as browser:
        yield browser


def drop(width: int = 64, height: int = 48) -> str:
    """JavaScript that drops a picture on the page, as a file from the desktop comes."""
    data = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(data, "PNG")
    return f"""async () => {{
      const bytes = Uint8Array.from(atob("{base64.b64encode(data.getvalue()).decode()}"), (c) => c.charCodeAt(0));
      const held = new DataTransfer();
      held.items.add(new File([bytes], "red.png", {{ type: "image/png" }}));
      for (const kind of ["dragenter", "dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(kind, {{ dataTransfer: held, bubbles: true, cancelable: true }}));
    }}"""


async def test_a_typed_message_is_answered_in_words_and_sound_and_its_time_is_drawn(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.shot("welcome")
        await seen.say("What is on the picture?")
        await seen.reads(".said.user", "What is on the picture?")
        await seen.reads(".said.assistant", "It is a red circle.")
        await seen.until(HEARD)
        await seen.until("omni.history.answers.size === 1")
        latency = await seen.page.evaluate("[...omni.latencies.values()][0].latency")
        stages = sum(stage["ms"] for stage in latency["stages"])
        assert stages + latency["residual_ms"] == pytest.approx(latency["total_ms"], abs=0.1)
        rows = await seen.page.locator("#waterfall tbody tr").count()
        assert rows >= len(latency["stages"])


async def test_the_waterfall_reaches_from_the_mouth_to_the_ear_once_the_page_has_heard_the_answer(
    chrome: Browser,
) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.page.click("#microphone")
        await seen.until("[...omni.latencies.values()].some(({latency}) => latency.end === 'audible')")
        latency = await seen.page.evaluate("[...omni.latencies.values()][0].latency")
        assert latency["origin"] == "speech_end_sent"
        assert {"uplink", "endpoint", "downlink", "playout"} <= {stage["name"] for stage in latency["stages"]}
        await seen.shot("answered")


async def test_speech_is_heard_written_down_and_answered(chrome: Browser) -> None:
    async with page(chrome, WritesDown(ANSWER, clock=SystemClock(), notices=[(0.5, Transcript("What is"))])) as seen:
        await seen.page.click("#microphone")
        await seen.page.wait_for_selector("#microphone[aria-pressed=true]", timeout=chromium.PATIENCE)
        await seen.reads("#turn", "Hearing you")
        await seen.reads(".said.user .words", "What is")
        await seen.reads(".said.assistant", "It is a red circle.")
        await seen.reads(".said.user", "What is on it?")
        await seen.until(HEARD)
        overs = await seen.page.evaluate("omni.talk.meter.overs.length")
        assert overs >= 1  # the level says when the turn was judged over
        await seen.page.click("#microphone")
        await seen.reads("#turn", "The microphone is off")


async def test_a_voice_interrupts_an_answer_and_the_history_holds_what_was_heard(chrome: Browser) -> None:
    engine = scripted(LONG)
    async with page(chrome, engine) as seen:
        await seen.page.click("#microphone")
        await seen.until("omni.talk.loudspeaker.now.item !== null")
        await seen.reads(".said.assistant .foot", "stopped here")
        await seen.until(QUIET + " || omni.talk.items.size > 1")
        told = next(iter(seen.server.talks)).session._told
        assert told is not None
        shortened = told.noted.shortened  # type: ignore[attr-defined]
        assert shortened
        assert 0.2 < shortened[0] < 10.0


async def test_the_stop_button_and_escape_silence_an_answer(chrome: Browser) -> None:
    async with page(chrome, scripted(LONG)) as seen:
        for press in (lambda: seen.page.click("#stop"), lambda: seen.page.keyboard.press("Escape")):
            await seen.say("Tell me a story.")
            await seen.until("omni.talk.loudspeaker.now.item !== null")
            await press()
            await seen.until(QUIET)
            await seen.page.wait_for_selector("#stop", state="hidden", timeout=chromium.PATIENCE)
        await seen.page.wait_for_timeout(200)  # what the sound thread told before may still be on its way to the page
        energy = await seen.page.evaluate("omni.talk.loudspeaker.energy")
        await seen.page.wait_for_timeout(400)
        assert await seen.page.evaluate("omni.talk.loudspeaker.energy") == energy


async def test_a_dropped_picture_goes_with_the_next_message(chrome: Browser) -> None:
    engine = scripted(ANSWER)
    async with page(chrome, engine) as seen:
        await seen.page.evaluate(drop())
        await seen.page.wait_for_selector("#pictures img", timeout=chromium.PATIENCE)
        await seen.shot("picture-to-send")
        await seen.say("What is this?")
        await seen.page.wait_for_selector(".said.user .shown img", timeout=chromium.PATIENCE)
        await seen.reads(".said.assistant", "It is a red circle.")
        assert next(iter(seen.server.talks)).session._told.noted.images == 1  # type: ignore[union-attr]
        assert await seen.page.locator("#pictures img").count() == 0


async def test_a_picture_dropped_while_the_microphone_is_on_is_shown_at_once(chrome: Browser) -> None:
    async with page(chrome, scripted((Hang(),))) as seen:
        await seen.page.click("#microphone")
        await seen.page.wait_for_selector("#microphone[aria-pressed=true]", timeout=chromium.PATIENCE)
        await seen.page.evaluate(drop())
        await seen.page.wait_for_selector(".said.user .shown img", timeout=chromium.PATIENCE)


async def test_a_file_that_is_no_picture_is_refused_with_what_to_take_instead(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.page.set_input_files(
            "#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"}
        )
        await seen.reads("#notice", "notes.png is no picture that the browser can read. Take a PNG, JPEG or WebP.")


async def test_the_mode_switch_offers_what_the_server_has_and_the_other_one_answers(chrome: Browser) -> None:
    engines = {name: scripted((Say(f"I am {name}."), Speak(0.2))) for name in ("native", "pipeline")}
    async with page(chrome, engines) as seen:
        await seen.say("Who are you?")
        await seen.reads(".said.assistant", "I am native.")
        await seen.page.locator("#modes label", has_text="pipeline").click()
        await seen.say("And you?")
        await seen.reads(".said.assistant", "I am pipeline.")
        await seen.until("omni.history.answers.size === 2")
        assert await seen.page.evaluate("[...omni.history.answers.values()].map((one) => one.mode)") == list(engines)


async def test_a_lost_connection_is_taken_up_again_and_the_answer_goes_on(chrome: Browser) -> None:
    script = (Say("one "), Speak(0.4, after=0.2), Say("two ", after=1.5), Speak(0.4), Say("three", after=0.5))
    async with page(chrome, scripted(script), expected=lambda trouble: "WebSocket" in trouble) as seen:
        await seen.say("Count.")
        await seen.reads(".said.assistant", "one")
        for connection in list(seen.server._connections):
            connection.transport.abort()
        await seen.reads("#status", "Connected again")
        await seen.reads(".said.assistant", "one two three")
        await seen.say("Again.")
        await seen.until("document.querySelectorAll('.said.assistant').length === 2")
        assert seen.server.metrics.resumed._value.get() == 1


async def test_without_a_microphone_the_page_says_what_to_do_and_typing_still_works(chrome: Browser) -> None:
    before = """navigator.mediaDevices.getUserMedia =
        () => Promise.reject(new DOMException("Requested device not found", "NotFoundError"))"""
    async with page(chrome, scripted(ANSWER), before=before) as seen:
        await seen.page.click("#microphone")
        await seen.reads("#notice", "There is no microphone. Connect one and try again, or type your message below.")
        assert await seen.page.get_attribute("#microphone", "aria-pressed") == "false"
        await seen.say("Then in writing.")
        await seen.reads(".said.assistant", "It is a red circle.")


async def test_a_server_that_wants_a_key_gets_it_from_the_settings(chrome: Browser) -> None:
    key = "correct-horse-battery"
    keyring = Keyring.of([("anna", key)])
    refused = "401"
    async with page(chrome, scripted(ANSWER), keyring=keyring, expected=lambda trouble: refused in trouble) as seen:
        await seen.reads("#notice", "This server wants a key. Enter it in the settings.")
        await seen.page.click("#open-settings")
        await seen.page.fill("[name=key]", key)
        await seen.page.click("#settings-form .main")
        await seen.say("Hello.")
        await seen.reads(".said.assistant", "It is a red circle.")
        await seen.page.click("a[href='#tokens']")  # the other views bring the key as well
        await seen.page.wait_for_selector("#tokens .costs", timeout=chromium.PATIENCE)


async def test_a_full_server_says_so(chrome: Browser) -> None:
    engine = scripted((Hang(),), sessions=1)
    async with page(chrome, engine, expected=lambda trouble: "WebSocket" in trouble) as seen:
        await seen.say("I was here first.")
        await seen.reads("#status", "Connected to")
        other = await seen.page.context.new_page()
        await other.goto(seen.page.url)
        await other.fill("#message", "And I?")
        await other.press("#message", "Enter")
        await other.locator("#notice", has_text="The server is full").wait_for(timeout=chromium.PATIENCE)


async def test_settings_reach_the_session_and_are_kept(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.page.click("#open-settings")
        await seen.page.fill("[name=instructions]", "Be brief.")
        await seen.page.select_option("[name=turns]", "meaning")
        await seen.page.select_option("[name=eagerness]", "high")
        await seen.page.uncheck("[name=speaks]")
        await seen.shot("settings")
        await seen.page.click("#settings-form .main")
        await seen.say("Hello.")
        await seen.reads(".said.assistant", "It is a red circle.")
        setup = next(iter(seen.server.talks)).session.core.ground.setup
        assert setup.instructions == "Be brief."
        assert setup.speaks is False
        assert getattr(setup.turns, "eagerness", None) == "high"
        await seen.page.reload()
        await seen.until("window.omni !== undefined")
        await seen.page.click("#open-settings")
        assert await seen.page.input_value("[name=instructions]") == "Be brief."


async def test_everything_is_reached_by_keyboard(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        reached = []
        for _ in range(20):
            await seen.page.keyboard.press("Tab")
            reached.append(await seen.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        for name in ("Skip to the content", "Tokens", "open-settings", "microphone", "message", "attach", "send"):
            assert name in reached
        await seen.page.focus("#message")
        await seen.page.keyboard.type("Hello")
        await seen.page.keyboard.press("Enter")
        await seen.reads(".said.assistant", "It is a red circle.")


async def test_push_to_talk_sends_what_was_said_when_the_button_says_so(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.page.click("#open-settings")
        await seen.page.select_option("[name=turns]", "client")
        await seen.page.click("#settings-form .main")
        await seen.page.click("#microphone")
        await seen.until("omni.talk.meter.count > 50")
        assert await seen.page.locator(".said").count() == 0
        await seen.page.click("#done-speaking")
        await seen.reads(".said.assistant", "It is a red circle.")


async def test_while_an_interruption_is_in_doubt_the_answer_is_quiet_and_not_yet_over(chrome: Browser) -> None:
    settings = Settings(port=0, session=SessionSettings(interruption=Interruption(speech_ms=600)))
    async with page(chrome, scripted(LONG), settings=settings) as seen:
        await seen.page.evaluate(
            """() => {
              const { loudspeaker } = omni.talk;
              const duck = loudspeaker.duck.bind(loudspeaker);
              window.gains = [];
              loudspeaker.duck = (on) => { gains.push([on, loudspeaker.now.item !== null]); duck(on); };
            }"""
        )
        await seen.page.click("#microphone")
        await seen.reads(".said.assistant .foot", "stopped here")
        assert [True, True] in await seen.page.evaluate("gains")  # quiet while it still played


async def test_sound_that_comes_too_slowly_is_counted_as_gaps_and_buffered_for_longer(chrome: Browser) -> None:
    async with page(chrome, scripted((Say("Slowly."), Speak(1.2, pace=0.6)))) as seen:
        await seen.say("Speak slowly.")
        await seen.until("omni.talk.loudspeaker.now.underruns >= 1")
        assert await seen.page.evaluate("omni.talk.loudspeaker.now.target") > 20
        await seen.reads("#facts", "Gaps in play-out")


async def test_a_picture_taken_with_the_camera_waits_to_be_sent(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.page.click("#open-camera")
        await seen.page.wait_for_selector("#shoot:enabled", timeout=chromium.PATIENCE)
        await seen.page.click("#shoot")
        await seen.page.wait_for_selector("#pictures img", timeout=chromium.PATIENCE)
        assert (
            await seen.page.evaluate("document.querySelector('#viewfinder').srcObject") is None
        )  # and it is off again


async def test_an_engine_that_only_echoes_is_said_to_have_no_words(chrome: Browser) -> None:
    async with page(chrome, scripted((Speak(0.3),))) as seen:
        await seen.say("Echo.")
        await seen.reads(".said.assistant .foot", "sound without words")


async def test_nothing_is_fetched_from_elsewhere(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        asked: list[str] = []
        seen.page.on("request", lambda request: asked.append(request.url))
        await seen.page.reload()
        await seen.until("window.omni !== undefined")
        own = f"http://127.0.0.1:{seen.server.port}/"
        assert asked
        assert all(url.startswith(own) for url in asked)


async def test_an_item_is_over_when_its_last_sound_was_played_whenever_its_end_is_said(chrome: Browser) -> None:
    """Late, behind sound that has run dry; and with the next item right behind it."""
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.page.click("#attach")  # a touch, without which no browser plays
        await seen.page.evaluate("""async () => {
          const { loudspeaker } = omni.talk;
          window.finished = [];
          loudspeaker.finished = (item, ms) => finished.push([item, Math.round(ms)]);
          await loudspeaker.start();
          loudspeaker.play("late", new Float32Array(2400));
        }""")
        await seen.until("omni.talk.loudspeaker.now.item === 'late' && omni.talk.loudspeaker.now.underruns === 1")
        await seen.page.evaluate("omni.talk.loudspeaker.end('late')")
        await seen.until("finished.length === 1")
        assert await seen.page.evaluate("[omni.talk.busy, omni.talk.loudspeaker.now.underruns]") == [False, 0]
        await seen.page.evaluate("""() => {
          for (const item of ["first", "second"]) {
            omni.talk.loudspeaker.play(item, new Float32Array(2400));
            omni.talk.loudspeaker.end(item);
          }
        }""")
        await seen.until("finished.length === 3")
        assert await seen.page.evaluate("finished") == [["late", 100], ["first", 100], ["second", 100]]


async def test_a_microphone_that_is_switched_on_twice_at_once_is_opened_once_and_ends(chrome: Browser) -> None:
    before = """window.captures = []; window.opened = 0;
      const Node = AudioWorkletNode;
      window.AudioWorkletNode = class extends Node {
        constructor(context, name, options) {
          super(context, name, options);
          if (name === "capture") captures.push(this);
        }
      };
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (wanted) => { opened += 1; return open(wanted); };"""
    async with page(chrome, scripted(ANSWER), before=before) as seen:
        await seen.page.click("#attach")
        await seen.page.evaluate("""async () => {
          const { microphone } = omni.talk;
          await Promise.all([microphone.start(), microphone.start()]);
        }""")
        assert await seen.page.evaluate("[opened, captures.length, omni.talk.microphone.on]") == [1, 1, True]
        heard = await seen.page.evaluate("""async () => {
          omni.talk.microphone.stop();
          await new Promise((done) => setTimeout(done, 200));
          const [node] = captures;
          let heard = 0;
          node.port.onmessage = () => { heard += 1; };
          const tone = new OscillatorNode(node.context);
          tone.connect(node);
          tone.start();
          await new Promise((done) => setTimeout(done, 300));
          tone.disconnect();
          return heard;
        }""")
        assert heard == 0


async def test_a_conversation_that_ended_leaves_no_timer_and_comes_back_by_one_connection(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        dialled, timers = await seen.page.evaluate("""async () => {
          const { Wire } = await import("/js/wire.js");
          const { WebSocket, setInterval, clearInterval } = window;
          const sockets = [], timers = new Set();
          window.WebSocket = class {
            static OPEN = 1;
            readyState = 0;
            constructor() { sockets.push(this); }
            send() {}
            close() {}
          };
          window.setInterval = (...of) => { const one = setInterval(...of); timers.add(one); return one; };
          window.clearInterval = (one) => { timers.delete(one); clearInterval(one); };
          const wire = new Wire({ model: null, key: "", told() {}, changed() {} });
          wire.open();
          const say = (socket, message) => socket.onmessage({ data: JSON.stringify(message) });
          sockets[0].onopen();
          say(sockets[0], { type: "transport.resumable", token: "t", grace_s: 60 });
          sockets[0].readyState = 3;
          sockets[0].onclose({ code: 1006 });
          wire.link.retry();
          window.dispatchEvent(new Event("online"));
          const dialled = sockets.length;
          sockets.at(-1).readyState = 3;
          sockets.at(-1).onclose({ code: 1001 });
          Object.assign(window, { WebSocket, setInterval, clearInterval });
          return [dialled, timers.size];
        }""")
        assert (dialled, timers) == (2, 0)


async def test_a_key_that_a_browser_cannot_send_is_not_saved(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        await seen.page.click("#open-settings")
        await seen.page.fill("[name=key]", "with/slash=and")
        await seen.page.click("#settings-form [value=save]")
        await seen.page.wait_for_timeout(200)
        assert await seen.page.evaluate("[omni.talk.settings.key, document.querySelector('#settings').open]") == [
            "",
            True,
        ]
        await seen.page.fill("[name=key]", "correct-horse.battery~1")
        await seen.page.click("#settings-form [value=save]")
        await seen.until("omni.talk.settings.key === 'correct-horse.battery~1'")


async def test_a_photograph_too_many_is_refused_with_a_sentence(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER)) as seen:
        for number in range(1, 5):
            await seen.page.evaluate(drop())
            await seen.page.wait_for_selector(f"#pictures li:nth-child({number})", timeout=chromium.PATIENCE)
        await seen.page.click("#open-camera")
        await seen.page.wait_for_selector("#shoot:enabled", timeout=chromium.PATIENCE)
        await seen.page.click("#shoot")
        await seen.reads("#notice", "A message takes 4 pictures")
