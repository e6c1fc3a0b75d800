"""Where somebody speaks: a recogniser that decodes only there cannot invent words about silence."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from omni_tokenizers.optional import need

RATE = 16_000  # Hz

Wave = npt.NDArray[np.float32]
Span = tuple[float, float]  # seconds, from and to
Voice = Callable[[Wave], Sequence[Span]]  # samples at 16 kHz → where somebody speaks, in order


def silero(*, threshold: float = 0.5, margin: float = 0.2, shortest: float = 0.25) -> Voice:
    """Voice activity by the Silero model, which its package carries; no download.

    `margin` seconds are kept around what was found; shorter speech than `shortest` seconds is noise.
    """
    threads = torch.get_num_threads()
    package = need("silero_vad", extra="server", use="voice activity before decoding")
    need("onnxruntime", extra="server", use="voice activity before decoding")
    torch.set_num_threads(threads)  # importing the package sets it to 1 for everybody
    model = package.load_silero_vad(onnx=True)

    def voice(samples: Wave) -> list[Span]:
        found = package.get_speech_timestamps(
            torch.from_numpy(samples),
            model,
            threshold=threshold,
            sampling_rate=RATE,
            min_speech_duration_ms=round(shortest * 1000),
            speech_pad_ms=round(margin * 1000),
        )
        return [(span["start"] / RATE, span["end"] / RATE) for span in found]

    return voice


def join(spans: Sequence[Span], gap: float) -> list[Span]:
    """Join spans with less than `gap` seconds between them: a sentence with a breath in it is decoded as one.

    >>> join([(0.0, 1.0), (1.5, 2.0), (9.0, 9.5)], gap=1.0)
    [(0.0, 2.0), (9.0, 9.5)]
    """
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
