"""Whisper-type models through transformers, from a folder or a hub name.

    --stt "whisper:/models/whisper-base?language=en"

They read whole windows of 30 s and cannot stream: the turn is written down when it is over. `partials=1.5` shows what
was said so far after so many seconds each, where the model is free; the end of a turn then stops the one that runs.
"""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from omni.engine.pipeline.published import place_of, usual_dtype
from omni.engine.pipeline.stages import Samples
from omni.engine.pipeline.thread import ModelThread
from omni.engine.protocol import SAMPLE_RATE
from omni_tokenizers.optional import need

WINDOW = 30.0  # s that the model reads at once
SEARCH = 5.0  # s at the end of a window in which the quietest moment is where it is cut
QUIET = 0.05  # s over which loudness is measured
SHORTEST = 0.1  # s; less is no word
LONGEST = 220  # tokens of a window: 30 s of fast speech
PROMPT = 4  # tokens that the model is given at most: the start, the language, the task, that no times are wanted


class Whisper:
    """One model for all sessions, in a thread of its own."""

    def __init__(
        self, source: str, *, language: str | None = None, partials: float | str | None = None, device: str = "cpu",
        longest: int | str | None = None,
    ) -> None:  # fmt: skip
        transformers = need("transformers", extra="model", use="a Whisper model")
        source = place_of(source)
        self._processor = transformers.AutoProcessor.from_pretrained(source)
        self._model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(source, dtype=usual_dtype(device))
        self._model.eval().to(device)
        most = self._model.config.max_target_positions - PROMPT
        if longest is not None and not 0 < int(longest) <= most:
            raise ValueError(f"longest is {longest}: this model writes 1 to {most} tokens of a window")
        self._options: dict[str, Any] = {"max_new_tokens": min(LONGEST, most) if longest is None else int(longest)}
        codes = transformers.models.whisper.tokenization_whisper.TO_LANGUAGE_CODE
        if language is not None and hears(self._model.generation_config, codes.get(language.lower(), language)):
            self._options |= {"language": language, "task": "transcribe"}
        self._stop_list = transformers.StoppingCriteriaList
        self.partials = None if partials is None else float(partials)
        self._thread = ModelThread("whisper")

    def listen(self) -> "WhisperHearing":
        """A new turn."""
        return WhisperHearing(self)

    async def transcribe(self, samples: Samples) -> str:
        """What is said. A cancel stops the model at its next token."""
        found = [text async for text in self._thread.stream(lambda stop: self._windows(samples, stop))]
        return " ".join(text for text in found if text)

    def _windows(self, samples: Samples, stop: threading.Event) -> Iterator[str]:
        for window in windows(samples):
            if stop.is_set():
                return
            inputs = self._processor(window, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
            inputs = inputs.to(self._model.device, self._model.dtype)

            def stopped(ids: torch.Tensor, _scores: object) -> torch.Tensor:
                return torch.full((len(ids),), stop.is_set(), device=ids.device)

            with torch.inference_mode():
                ids = self._model.generate(**inputs, **self._options, stopping_criteria=self._stop_list([stopped]))
            yield self._processor.batch_decode(ids, skip_special_tokens=True)[0].strip()

    async def close(self) -> None:
        """Free the model."""
        await self._thread.close()


class WhisperHearing:
    """One turn."""

    def __init__(self, model: Whisper) -> None:
        self._model = model
        self._samples: list[Samples] = []
        self._new = 0.0  # s since the last partial transcript began
        self._partial: asyncio.Task[str] | None = None

    async def push(self, samples: Samples) -> str | None:
        """Keep it; now and then begin to write down what there is."""
        self._samples.append(samples)
        self._new += len(samples) / SAMPLE_RATE
        text = None
        if self._partial is not None and self._partial.done():
            done, self._partial = self._partial, None
            text = done.result()
        if self._model.partials is not None and self._partial is None and self._new >= self._model.partials:
            self._new = 0.0
            self._partial = asyncio.create_task(self._model.transcribe(np.concatenate(self._samples)))
        return text

    async def finish(self) -> str:
        """Write down all of it."""
        self.drop()
        samples = np.concatenate(self._samples) if self._samples else np.zeros(0, np.float32)
        return await self._model.transcribe(samples) if len(samples) >= SHORTEST * SAMPLE_RATE else ""

    def drop(self) -> None:
        """Stop what runs."""
        partial, self._partial = self._partial, None
        if partial is not None:
            partial.cancel()


def hears(config: Any, language: str) -> bool:
    """Whether a model can be told that this is the language; one of English alone cannot, and needs not."""
    known = [name[2:-2] for name in getattr(config, "lang_to_id", None) or ("<|en|>",)]
    if language.lower() not in known:
        raise ValueError(f"language is {language!r}; this model knows {', '.join(known)}")
    return bool(getattr(config, "is_multilingual", True))


def windows(samples: Samples) -> list[Samples]:
    """Windows of at most 30 s, cut where it is quietest.

    >>> [len(window) / SAMPLE_RATE for window in windows(np.zeros(SAMPLE_RATE * 40, np.float32))]
    [25.0, 15.0]
    """
    size, step, found = round(WINDOW * SAMPLE_RATE), round(QUIET * SAMPLE_RATE), []
    while len(samples) > size:
        first = size - round(SEARCH * SAMPLE_RATE)
        loud = np.square(samples[first:size]).reshape(-1, step).sum(axis=1)
        cut = first + int(loud.argmin()) * step
        found.append(samples[:cut])
        samples = samples[cut:]
    return [*found, samples]
