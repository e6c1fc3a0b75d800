"""The web page in a real Chromium whose microphone is a recording, in front of a real server with a scripted engine."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from playwright.async_api import Browser, Page, async_playwright

from omni.engine.clock import SystemClock
from omni.engine.protocol import Engine
from omni.engine.scripted import ScriptedEngine, Step
from omni_server.dialects.wires import wires
from omni_server.inspect.inspector import PATH, Inspector
from omni_server.limits.keys import Keyring
from omni_server.server import Server
from omni_server.settings import Settings
from tests.server.loud_is_speech import LoudIsSpeech

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 30_000  # ms; a busy machine starts a worklet late
SCREENSHOTS = os.environ.get("SCREENSHOTS")  # a folder
LOUD = ("error", "warning")  # of what a page writes on its console


def find() -> str:
    """The browser; skips where there is none that starts."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("the web page was not tested: no Chromium is on the PATH (apt-get install chromium)")
    works = subprocess.run([found, "--version"], capture_output=True, timeout=60, check=False)
    if works.returncode:
        pytest.skip(f"the web page was not tested: {found} does not start")
    return found


@asynccontextmanager
async def browser(microphone: Path) -> AsyncIterator[Browser]:
    """A Chromium that hears this recording, again and again, from when the microphone is opened."""
    options = [
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
    ]
    path = find()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield running
        finally:
            await running.close()


@asynccontextmanager
async def hearing_a_tone(folder: Path, rate: int = 16_000) -> AsyncIterator[Browser]:
    """One whose microphone hears a tone of a second, then silence for two and a half, again and again."""
    tone = 0.3 * np.sin(np.arange(rate) * (2 * np.pi * 220 / rate))
    file = folder / "tone.wav"
    sf.write(file, np.concatenate((tone, np.zeros(rate * 5 // 2))), rate)
    async with browser(file) as running:
        yield running


@dataclass
class Seen:
    """A page, and everything that went wrong on it."""

    page: Page
    server: Server
    troubles: list[str] = field(default_factory=list)

    async def until(self, condition: str) -> None:
        """Wait for a condition in the page, asked from outside: its own policy lets no string be run inside."""
        try:
            async with asyncio.timeout(PATIENCE / 1000):
                while not await self.page.evaluate(condition):  # noqa: ASYNC110  # it comes true in another process
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"this did not come true on the page: {condition}") from None

    async def say(self, words: str) -> None:
        await self.page.fill("#message", words)
        await self.page.press("#message", "Enter")

    async def reads(self, selector: str, words: str) -> None:
        """Wait until an element says this."""
        await self.page.locator(selector, has_text=words).first.wait_for(timeout=PATIENCE)

    async def shot(self, name: str, *, whole: bool = False) -> None:
        """Keep a picture for human eyes, where a folder for them is given."""
        if SCREENSHOTS:
            await self.page.screenshot(path=Path(SCREENSHOTS, f"{name}.png"), full_page=whole)


def scripted(*scripts: Sequence[Step], **options: object) -> ScriptedEngine:
    return ScriptedEngine(*scripts, clock=SystemClock(), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def page(
    browser: Browser,
    engines: Engine | Mapping[str, Engine],
    *,
    view: str = "",
    before: str | None = None,
    keyring: Keyring | None = None,
    settings: Settings | None = None,
    model: Path | None = None,
    expected: Callable[[str], bool] = lambda _trouble: False,
    **look: object,
) -> AsyncIterator[Seen]:
    """The page of a server of its own; in the end nothing may have gone wrong on it but what is `expected`."""
    server = Server(
        settings or Settings(port=0),
        engines,
        wires(3600.0),
        LoudIsSpeech(),
        also={PATH: Inspector(model)},
        keyring=keyring,
    )
    await server.start()
    context = await browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | look))  # type: ignore[arg-type]
    try:
        if before is not None:
            await context.add_init_script(before)
        shown = await context.new_page()
        seen = Seen(shown, server)
        shown.on("pageerror", lambda error: seen.troubles.append(f"error: {error}"))
        shown.on(
            "console",
            lambda said: seen.troubles.append(f"{said.type}: {said.text}") if said.type in LOUD else None,
        )
        await shown.goto(f"http://127.0.0.1:{server.port}/{view}")
        await seen.until("window.omni !== undefined")
        yield seen
        assert [trouble for trouble in seen.troubles if not expected(trouble)] == []
    finally:
        await context.close()
        await server.close()
        for engine in engines.values() if isinstance(engines, Mapping) else (engines,):
            await engine.close()
