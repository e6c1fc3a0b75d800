"""Silero's voice detector through onnxruntime: one model, one thread, and a state for each session.

Sessions that wait are heard together, in one run of the model.
"""

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_server.turns.detector import Heard
from omni_tokenizers.optional import remedy

log = logging.getLogger(__name__)

CONTEXT = 64  # samples of the window before that the model sees again
RATE = np.array(16_000, np.int64)
TOGETHER = 32  # sessions in one run


def model_path() -> Path:
    """Where the package keeps the model; the package itself, which imports torch, is not imported."""
    found = find_spec("silero_vad")
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"voice detection needs the package silero-vad: {remedy('server')}")
    return Path(found.submodule_search_locations[0]) / "data" / "silero_vad.onnx"


@dataclass(eq=False)
class SileroEar:
    """One session's state."""

    silero: "Silero"
    state: NDArray[np.float32] = field(default_factory=lambda: np.zeros((2, 128), np.float32))
    context: NDArray[np.float32] = field(default_factory=lambda: np.zeros(CONTEXT, np.float32))
    due: deque[tuple[NDArray[np.float32], Heard]] = field(default_factory=deque)
    era: int = 0  # goes up when everything is forgotten

    @property
    def waiting(self) -> int:
        """Windows whose probability is still due."""
        return len(self.due)

    def hear(self, window: NDArray[np.float32], heard: Heard) -> None:
        """Take the next window."""
        self.due.append((window, heard))
        if len(self.due) == 1:
            self.silero.wants(self)

    def forget(self) -> None:
        """Begin anew."""
        self.era += 1
        self.due.clear()
        self.state = np.zeros((2, 128), np.float32)
        self.context = np.zeros(CONTEXT, np.float32)


class Silero:
    """The detector of the process. The model is loaded by `load`, or else with the first window."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="silero")
        self._model: Any = None
        self._queue: deque[SileroEar] = deque()
        self._running: asyncio.Future[None] | None = None

    def ear(self) -> SileroEar:
        """For one session."""
        return SileroEar(self)

    def wants(self, ear: SileroEar) -> None:
        """An ear has a window."""
        if ear not in self._queue:
            self._queue.append(ear)
        self._run()

    async def load(self) -> None:
        """Load the model before anybody speaks: it takes some tenths of a second."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open_model)

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        if self._running is not None and not self._running.done():
            return
        ears: list[SileroEar] = []
        while self._queue and len(ears) < TOGETHER:
            ear = self._queue.popleft()
            if ear.due:
                ears.append(ear)
        if ears:  # what they want heard is taken now: a moment later one of them may have forgotten it
            sound = np.stack([np.concatenate((ear.context, ear.due[0][0])) for ear in ears])  # [sessions, 576]
            state = np.stack([ear.state for ear in ears], 1)  # [2, sessions, 128]
            self._running = asyncio.ensure_future(self._hear(ears, [ear.era for ear in ears], sound, state))

    async def _hear(
        self, ears: list[SileroEar], eras: list[int], sound: NDArray[np.float32], state: NDArray[np.float32]
    ) -> None:
        loop = asyncio.get_running_loop()
        probabilities: NDArray[np.float32] | None = None
        try:
            probabilities, state = await loop.run_in_executor(self._thread, self._model_run, sound, state)
        except Exception:
            log.exception("the voice detector failed on one window of %d sessions", len(ears))
        finally:
            self._running = None
        for at, (ear, era) in enumerate(zip(ears, eras, strict=True)):
            if ear.era != era:  # it forgot this meanwhile, and asked again if it heard more
                continue
            ear.state, ear.context = state[:, at], sound[at, -CONTEXT:]
            _, heard = ear.due.popleft()
            if ear.due:
                self._queue.append(ear)
            if probabilities is not None:
                heard(float(probabilities[at, 0]))
        self._run()

    def _open_model(self) -> Any:
        if self._model is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.inter_op_num_threads = options.intra_op_num_threads = 1
            self._model = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
        return self._model

    def _model_run(self, sound: NDArray[np.float32], state: NDArray[np.float32]) -> Any:
        return self._open_model().run(None, {"input": sound, "state": state, "sr": RATE})
