"""The masked views: a picture of which a quarter is seen, and a recording of which spans are hidden."""

from random import Random
from typing import Any

import numpy as np
from PIL import Image as Pictures

from omni_server.inspect.asks import MaskedAsk, Pixels, SpansAsk
from omni_server.inspect.painter import PATCH, RATIO, SIDE, paint, painter
from omni_tokenizers import LogMel
from omni_tokenizers.audio.at_rate import samples_at
from omni_tokenizers.audio.spans import LENGTH, SHARE, span_mask
from omni_tokenizers.audio.wav2vec_encoder import ConvShape
from omni_tokenizers.sequence.raster import data_uri, heat

RATE = 16_000  # Hz
FEATURES = ConvShape()  # of wav2vec 2.0: a frame every 20 ms
HIDDEN = 0  # alpha of what the encoder does not see


def masked(ask: MaskedAsk) -> dict[str, Any]:
    """The picture as drawn, as seen, and as painted."""
    painting = paint(_drawn(ask.seed) if ask.image is None else _square(ask.image), ask.seed)
    grid = SIDE // PATCH
    alpha = np.where(painting.hidden.reshape(grid, grid), HIDDEN, 255).repeat(PATCH, 0).repeat(PATCH, 1)
    seen = np.dstack([painting.drawn, alpha.astype(np.uint8)])
    return {
        "drawn": data_uri(painting.drawn),
        "seen": data_uri(seen),
        "painted": data_uri(painting.painted),
        "patches": grid * grid,
        "hidden": int(painting.hidden.sum()),
        "ratio": RATIO,
        "error": round(painting.error, 5),
        "plain": round(painting.plain, 5),
        "trained_on": painter()[1],
    }


def spans(ask: SpansAsk) -> dict[str, Any]:
    """The recording as Mel frames, and which stretches of it wav2vec hides."""
    wave = samples_at(ask.sound.source, ask.sound.rate, RATE)
    frames = FEATURES.frames(len(wave))
    mask = span_mask(frames, ask.seed)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return {
        "frames": frames,
        "seconds": len(wave) / RATE,
        "step_s": FEATURES.hop / RATE,
        "hidden": int(mask.sum()),
        "stretches": edges.reshape(-1, 2).tolist(),
        "span": LENGTH,
        "share": SHARE,
        "picture": data_uri(heat(LogMel(bins=80).encode(wave).T[::-1])),
    }


def _square(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = Pictures.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(
        cut.resize((SIDE, SIDE), Pictures.Resampling.BOX if side >= SIDE else Pictures.Resampling.BICUBIC)
    )


def _drawn(seed: int) -> Pixels:
    from omni.train.pictures import draw, random_scene

    return _square(draw(random_scene(Random(f"shown {seed}"), "figures")))
