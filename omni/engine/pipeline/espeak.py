"""espeak-ng as a voice. It is GPL and optional: install the `train` extra to have it.

--tts "espeak:en-us+f2?words_per_minute=180"
"""

from collections.abc import AsyncGenerator

from omni.engine.pipeline.stages import Samples
from omni.engine.pipeline.thread import ModelThread
from omni.train.espeak import Voice, speak
from omni_tokenizers.optional import need

# The library has one state for the whole process, so all voices share one thread.
THREAD = ModelThread("espeak")
CHUNK = 0.04  # s


class Espeak:
    """One espeak-ng voice: `accent+variant`."""

    rate = 22_050  # Hz, espeak-ng's own

    def __init__(self, name: str = "", *, words_per_minute: int | str = 160, pitch: int | str = 50) -> None:
        need("espeakng_loader", extra="train", use="the espeak voice")
        accent, _, variant = (name or "en-us+f2").partition("+")
        self._voice = Voice(accent, variant or "f2", words_per_minute=int(words_per_minute), pitch=int(pitch))
        _, rate = THREAD.wait(lambda: speak("a", self._voice))  # a voice that is not there is refused now
        if rate != self.rate:
            raise RuntimeError(
                f"espeak-ng speaks at {rate} Hz and {self.rate} Hz is expected: reinstall espeakng-loader"
            )

    async def speak(self, text: str) -> AsyncGenerator[Samples, None]:
        """The clause: made in one go, which takes milliseconds, and handed on in pieces."""
        samples, _ = await THREAD.call(lambda: speak(text, self._voice))
        step = round(CHUNK * self.rate)
        for at in range(0, len(samples), step):
            yield samples[at : at + step]

    async def close(self) -> None:
        """The library stays loaded: other voices use it."""
