"""What may go into an engine: one check, in front of everything, so that no engine meets a wrong unit."""

import numpy as np

from omni.engine.protocol import SAMPLE_RATE, AudioIn, Cancel, ImageIn, Refused, TextIn, Unit

LOUDEST = 8.0  # full scale is 1; a float that is really an int16 value is far beyond this
LONGEST_TEXT = 1_000_000  # characters of one unit
MOST_PIXELS = 64_000_000  # of one picture


def accept(unit: Unit, *, sees: bool) -> None:
    """Raise `Refused`, and say why, for a unit that no engine (or none without eyes) can take.

    >>> accept(AudioIn(np.zeros(640, np.float32)), sees=False)
    >>> accept(AudioIn(np.zeros(640, np.float32), rate=24_000), sees=False)
    Traceback (most recent call last):
    omni.engine.protocol.Refused: audio comes at 24000 Hz and an engine hears 16000 Hz: resample it first
    """
    if not isinstance(unit, Unit):
        raise Refused(f"{type(unit).__name__} is no unit: see omni.engine.protocol.Unit")
    match unit:
        case AudioIn(samples=samples, rate=rate):
            _audio(samples, rate)
        case ImageIn(pixels=pixels):
            if not sees:
                raise Refused("this engine has no eyes: it takes audio and text")
            _picture(pixels)
        case TextIn(text=text):
            if not isinstance(text, str):
                raise Refused(f"text is {type(text).__name__}: it has to be str")
            if len(text) > LONGEST_TEXT:
                raise Refused(f"text is {len(text)} characters long: at most {LONGEST_TEXT} are taken at once")
        case Cancel(heard=heard):
            if heard is not None and not 0 <= heard < float("inf"):
                raise Refused(f"heard is {heard}: it is seconds of the answer, 0 or more")


def _audio(samples: object, rate: int) -> None:
    if rate != SAMPLE_RATE:
        raise Refused(f"audio comes at {rate} Hz and an engine hears {SAMPLE_RATE} Hz: resample it first")
    if not isinstance(samples, np.ndarray) or samples.dtype != np.float32 or samples.ndim != 1:
        is_a = f"{samples.dtype} {list(samples.shape)}" if isinstance(samples, np.ndarray) else type(samples).__name__
        raise Refused(f"audio is {is_a}: it has to be a float32 array [samples]")
    # One pass each over 640 samples: 3 µs, against 20 µs for handing the unit on.
    loudest = float(np.abs(samples).max(initial=0.0))
    if not loudest <= LOUDEST:  # NaN fails this too
        raise Refused(f"audio reaches {loudest}: samples are finite and lie between -1 and 1 (divide int16 by 32768)")


def _picture(pixels: object) -> None:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        is_a = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise Refused(f"a picture is {is_a}: it has to be a uint8 array [height, width, 3]")
    if not 0 < pixels.shape[0] * pixels.shape[1] <= MOST_PIXELS:
        raise Refused(f"a picture is {pixels.shape[1]}×{pixels.shape[0]}: it has 1 to {MOST_PIXELS:,} pixels")
