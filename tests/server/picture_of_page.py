"""Write docs/pictures/page.png: the page in a real Chromium after a spoken question, answered by a real engine.

    python -m tests.server.picture_of_page [FILE]

The engine is nano where its weights are installed, else the echo; nothing in the picture is made up.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf

from omni import nano
from omni.engine.protocol import Engine
from omni_server import engines
from omni_server.settings import Settings
from tests.server import chromium

ROOT = Path(__file__).parents[2]
QUESTION = ROOT / "demos" / "recordings" / "question.wav"
PAUSE = 8.0  # s of silence behind the question: the microphone hears it again and again


async def take(file: Path) -> None:
    wave, rate = sf.read(QUESTION, dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        heard = Path(folder, "question.wav")
        sf.write(heard, np.concatenate((wave, np.zeros(round(PAUSE * rate), np.float32))), rate)
        async with chromium.browser(heard) as browser, chromium.page(browser, await engine()) as seen:
            await seen.page.click("#microphone")
            await seen.until("[...omni.latencies.values()].some(({latency}) => latency.end === 'audible')")
            await seen.until("omni.talk.answer === null")
            await seen.page.screenshot(path=file)
    print(f"{file}: the page after {QUESTION.name}")


async def engine() -> Engine:
    kind = "native" if (nano.WEIGHTS / "model.safetensors").is_file() else "echo"
    (started,) = (await engines.start(Settings(engine=(kind,)))).values()
    return started


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures" / "page.png"))
