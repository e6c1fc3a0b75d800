"""When each word of a transcript was spoken: forced alignment by torchaudio, with the letters of a CTC model."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import SAMPLE_RATE
from omni_server.session.events import Word
from omni_tokenizers.optional import need

LONGEST = 60.0  # s: attention over an utterance grows with its square
log = logging.getLogger(__name__)


class WordTimes(Protocol):
    """Something that finds words in sound."""

    async def find(self, samples: NDArray[np.int16], text: str) -> tuple[Word, ...]:
        """The words of a text that was said in these samples at SAMPLE_RATE, as far as they can be placed."""
        ...


class CtcWords:
    """A wav2vec 2.0, HuBERT or WavLM checkpoint with a CTC head. Works in a thread, one utterance at a time."""

    def __init__(self, source: str | Path) -> None:
        from omni.model.ctc import CtcModel
        from omni.model.load import load

        need("torchaudio", extra="model", use="word times")
        found = load(source)
        if not isinstance(found.model, CtcModel) or "text" not in found.tokenizers:
            raise ValueError(f"{source} cannot spell: word times need a checkpoint with a CTC head and its vocab.json")
        self._model = found.model.eval()
        self._letters = found.tokenizers["text"]
        self._speech = found.tokenizers.get("speech")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="word-times")

    async def find(self, samples: NDArray[np.int16], text: str) -> tuple[Word, ...]:
        """The words, in order. One that this model has no letter of, or that is too fast for it, has no place."""
        if not text.strip() or len(samples) > LONGEST * SAMPLE_RATE:
            return ()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._find, samples, text)

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _find(self, samples: NDArray[np.int16], text: str) -> tuple[Word, ...]:
        import torch
        from torchaudio.functional import forced_align

        words = [(word, ids) for word in text.split() if (ids := self._spell(word))]
        targets = spelled([ids for _, ids in words], self._letters.ids.get(self._letters.gap))
        wave = samples.astype(np.float32) / 32_768
        normalize = getattr(self._speech, "normalize", True)
        if normalize is True:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        elif callable(normalize):
            wave = normalize(wave)
        with torch.inference_mode():
            logits = self._model(torch.from_numpy(wave)[None])[0]  # [1, frames, letters]
            scores = logits.float().log_softmax(-1)
            needed = len(targets) + sum(a == b for a, b in pairwise(targets))
            if not targets or needed > scores.shape[1]:
                return ()
            path = forced_align(scores, torch.tensor([targets]), blank=self._letters.blank)[0][0].tolist()
        frame = len(samples) / SAMPLE_RATE / len(path)
        return tuple(placed(words, path, frame, self._letters.blank, self._letters.ids.get(self._letters.gap)))

    def _spell(self, word: str) -> list[int]:
        found: list[int] = []
        for letter in word:
            try:
                found += self._letters.encode(letter)
            except ValueError:  # a comma, a digit: it has no sound of its own here
                continue
        return found


def spelled(words: Sequence[Sequence[int]], gap: int | None) -> list[int]:
    """The letters of all words, with the gap between them where the model has one.

    >>> spelled([[5, 6], [7]], gap=4)
    [5, 6, 4, 7]
    """
    found: list[int] = []
    for word in words:
        found += [gap] if found and gap is not None else []
        found += word
    return found


def placed(
    words: Sequence[tuple[str, Sequence[int]]], path: Sequence[int], frame: float, blank: int, gap: int | None
) -> list[Word]:
    """Words from the letter of every frame.

    >>> placed([("ab", [1, 2]), ("b", [2])], [0, 1, 1, 2, 0, 4, 2, 0], 0.02, 0, 4)
    [Word(text='ab', start=0.02, end=0.08), Word(text='b', start=0.12, end=0.14)]
    """
    spans: list[tuple[int, int]] = []  # of each letter, first frame and the one behind the last
    before = blank
    for at, letter in enumerate(path):
        if letter not in (blank, before):
            spans.append((at, at + 1))
        elif letter == before != blank:
            spans[-1] = (spans[-1][0], at + 1)
        before = letter
    found: list[Word] = []
    at = 0
    for text, ids in words:
        at += 1 if found and gap is not None else 0
        inside = spans[at : at + len(ids)]
        at += len(ids)
        if inside:
            found.append(Word(text, round(inside[0][0] * frame, 3), round(inside[-1][1] * frame, 3)))
    return found


async def timed(finder: WordTimes, samples: Any, text: str) -> tuple[Word, ...] | None:
    """The words, or None where that failed: a transcript without times is better than none."""
    try:
        return await finder.find(samples, text)
    except Exception:
        log.exception("word times failed")
        return None
