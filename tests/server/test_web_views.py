"""The views that look into the library, how every view looks on a small screen, and whether everybody can use them."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import soundfile as sf
from PIL import Image as Pictures
from playwright.async_api import Browser

from omni.engine.scripted import Say, Speak
from omni_server.inspect.tokens import omni, pairs
from omni_tokenizers import Image
from tests.server import chromium
from tests.server.chromium import Seen, page, scripted

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 16_000  # Hz
VIEWS = {"talk": "#composer", "tokens": ".costs", "attention": ".token", "masked": ".three img"}
TOO_WIDE = """[...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".unseen"))
  .map((one) => one.outerHTML.slice(0, 80))"""
ANSWER = (Say("A red circle, a blue square and a yellow triangle."), Speak(0.4))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    file = Path(tmp_path_factory.mktemp("microphone"), "tone.wav")
    sf.write(file, 0.3 * np.sin(np.arange(4 * RATE) * (2 * np.pi * 220 / RATE)), RATE)
    async with chromium.browser(file) as browser:
        yield browser


async def settled(seen: Seen, view: str) -> None:
    await seen.page.goto(seen.page.url.partition("#")[0] + f"#{view}")
    await seen.page.wait_for_selector(f"#{view} {VIEWS[view]}", timeout=chromium.PATIENCE)


async def test_the_tokens_view_counts_as_the_library_does_at_every_patch_size(chrome: Browser) -> None:
    words = "Grün is a colour."
    async with page(chrome, scripted(ANSWER), view="#tokens") as seen:
        await seen.page.fill("#tokens-text", words)
        for place, patch in enumerate((32, 16, 14, 8)):
            await seen.page.fill("#tokens-patch", str(place))
            sequence = omni(patch).encode([Image(np.zeros((224, 224, 3), np.uint8)), words])
            await seen.reads("#tokens .total b", f"{len(sequence):,} tokens")
            await seen.reads("#tokens .costs .chosen", f"{patch} px{len(sequence):,}{pairs(sequence):,}")
        await seen.page.fill("#tokens-budget", "100")
        await seen.reads("#tokens .budget.over", f"{len(sequence) - 100:,} tokens too many for 100")
        pieces = await seen.page.locator("#tokens .pieces span").all_text_contents()
        assert len(pieces) == sequence.counts()["text"]


async def test_speech_becomes_frames_in_the_sequence(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER), view="#tokens") as seen:
        await seen.page.locator("#tokens button", has_text="Record speech").click()
        await seen.page.wait_for_selector("#tokens button[aria-pressed=true]", timeout=chromium.PATIENCE)
        await seen.page.wait_for_timeout(700)
        await seen.page.locator("#tokens button", has_text="Stop recording").click()
        await seen.page.wait_for_selector("#tokens .mel", timeout=chromium.PATIENCE)
        await seen.reads("#tokens .legend", "audio")
        await seen.shot("tokens", whole=True)


async def test_picking_a_word_or_a_patch_shows_where_it_looks(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER), view="#attention") as seen:
        await settled(seen, "attention")
        await seen.page.fill("#attention-text", "what is the color of the blue square")
        await seen.reads("#attention .words-of", "what is the color of the blue square")
        words = seen.page.locator("#attention .words-of .token")
        await words.nth(3).click()
        shares = await seen.page.evaluate(
            "[...document.querySelectorAll('#attention .token')].map((t) => parseFloat(t.ariaLabel.split(': ').at(-1)))"
        )
        assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))  # each is rounded
        later = await words.nth(5).get_attribute("aria-label")
        assert later is not None
        assert later.endswith(": 0.00 %")  # a word does not look ahead
        await seen.page.keyboard.press("ArrowLeft")
        assert await words.nth(2).get_attribute("aria-pressed") == "true"
        await seen.page.select_option("#attention-layer", "1")
        await seen.page.select_option("#attention-head", "2")
        await seen.page.locator("#attention .grid .token").nth(9).click()
        await seen.reads("#attention .said-of", "The patch in row 2, column 2 looks most at")
        await seen.shot("attention", whole=True)


async def test_an_untrained_model_is_called_one(chrome: Browser, tmp_path: Path) -> None:
    async with page(chrome, scripted(ANSWER), view="#attention", model=tmp_path) as seen:
        await seen.reads("#attention .model", "random weights")


async def test_a_masked_picture_is_painted_again_and_speech_is_hidden_in_spans(chrome: Browser) -> None:
    async with page(chrome, scripted(ANSWER), view="#masked") as seen:
        await settled(seen, "masked")
        await seen.reads("#masked figcaption", "Seen: 16 of 64 patches")
        before = await seen.page.get_attribute("#masked .three img", "src")
        await seen.page.locator("#masked button", has_text="Draw another").click()
        await seen.until(f"document.querySelector('#masked .three img').src !== {before!r}")
        await seen.page.locator("#masked button", has_text="Record speech").click()
        await seen.page.wait_for_selector("#masked button[aria-pressed=true]", timeout=chromium.PATIENCE)
        await seen.page.wait_for_timeout(1500)
        await seen.page.locator("#masked button", has_text="Stop recording").click()
        await seen.page.wait_for_selector("#masked .covered rect", state="attached", timeout=chromium.PATIENCE)
        await seen.reads("#masked", "frames are hidden")
        await seen.shot("masked", whole=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_that_keeps_anybody_out(chrome: Browser, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="axe-playwright-python is not installed")
    async with page(chrome, scripted(ANSWER), color_scheme=scheme) as seen:
        await seen.say("What is on the picture?")
        await seen.reads(".said.assistant", "A red circle")
        await seen.until("omni.history.answers.size === 1 && omni.talk.loudspeaker.now.item === null")
        await seen.shot(f"talk-{scheme}")
        for view in VIEWS:
            await settled(seen, view)
            found = await axe.Axe().run(seen.page)
            assert found.violations_count == 0, f"{view}: {found.generate_report()}"
        await settled(seen, "talk")
        await seen.page.click("#open-settings")
        found = await axe.Axe().run(seen.page)
        assert found.violations_count == 0, f"settings: {found.generate_report()}"


@pytest.mark.parametrize("width", [320, 390])
async def test_a_phone_shows_every_view_without_scrolling_sideways(chrome: Browser, width: int) -> None:
    look = {"viewport": {"width": width, "height": 780}, "device_scale_factor": 2, "has_touch": True}
    async with page(chrome, scripted(ANSWER), **look) as seen:  # type: ignore[arg-type]
        await seen.say("What is on the picture?")
        await seen.reads(".said.assistant", "A red circle")
        await seen.until("omni.history.answers.size === 1")
        for view in VIEWS:
            await settled(seen, view)
            await seen.shot(f"phone-{width}-{view}", whole=view != "talk")
            too_wide = await seen.page.evaluate(TOO_WIDE)
            assert too_wide == [], view
        await settled(seen, "talk")
        send = await seen.page.locator("#send").bounding_box()
        assert send is not None
        assert send["x"] + send["width"] <= width
        assert send["y"] + send["height"] <= 780
        assert min(send["width"], send["height"]) >= 44  # px, the least a finger hits


@pytest.mark.parametrize("view", ["tokens", "attention"])
async def test_the_same_picture_may_be_chosen_again(chrome: Browser, view: str, tmp_path: Path) -> None:
    Pictures.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    async with page(chrome, scripted(ANSWER), view=f"#{view}") as seen:
        await settled(seen, view)
        chosen = seen.page.locator(f"#{view} input[type=file]")
        await chosen.set_input_files(tmp_path / "red.png")
        await seen.until(f"document.querySelector('#{view} input[type=file]').files.length === 0")
        await chosen.dispatch_event("change")  # as a browser tells it where the dialog was left without a file
        await seen.page.wait_for_timeout(100)
        assert await seen.page.locator(f"#{view} .notice").is_hidden()
