"""VITS-type speech through transformers, from a folder or a hub name: MMS voices and others.

--tts "vits:/models/mms-tts-eng?device=cuda"
"""

from collections.abc import AsyncGenerator
from typing import Any

import torch

from omni.engine.pipeline.published import place_of, usual_dtype
from omni.engine.pipeline.stages import Samples
from omni.engine.pipeline.thread import ModelThread
from omni_tokenizers.optional import need

CHUNK = 0.04  # s


class Vits:
    """One voice. `speaker` chooses among several."""

    def __init__(self, source: str, *, device: str = "cpu", speaker: int | str | None = None) -> None:
        transformers = need("transformers", extra="model", use="a VITS voice")
        source = place_of(source)
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        self._model = transformers.VitsModel.from_pretrained(source, dtype=usual_dtype(device)).eval().to(device)
        self._speaker = None if speaker is None else int(speaker)
        speakers = self._model.config.num_speakers
        if self._speaker is not None and not 0 <= self._speaker < speakers:
            raise ValueError(f"speaker is {speaker}; this voice has {speakers}: 0 to {speakers - 1}")
        self.rate: int = self._model.config.sampling_rate
        self._thread = ModelThread("vits")

    async def speak(self, text: str) -> AsyncGenerator[Samples, None]:
        """The clause: the model makes it in one go, and it is handed on in pieces."""
        samples = await self._thread.call(lambda: self._speak(text))
        step = round(CHUNK * self.rate)
        for at in range(0, len(samples), step):
            yield samples[at : at + step]

    def _speak(self, text: str) -> Any:
        inputs = self._tokenizer(text, return_tensors="pt").to(self._model.device)
        if not inputs["input_ids"].numel():  # no letter that this voice knows
            return []
        if self._speaker is not None:
            inputs["speaker_id"] = self._speaker
        with torch.inference_mode():
            return self._model(**inputs).waveform[0].float().cpu().numpy()

    async def close(self) -> None:
        """Free the model."""
        await self._thread.close()
