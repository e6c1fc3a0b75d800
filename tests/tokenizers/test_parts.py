from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omni_tokenizers.audio import LogMel
from omni_tokenizers.audio.mixing import mix
from omni_tokenizers.audio.quantizer import GumbelQuantizer
from omni_tokenizers.image import Patches
from omni_tokenizers.sequence import Audio, Encoded, Film, Frames, Ids, Image, Omni, Sequence, Tagged, join
from omni_tokenizers.text import Text
from tests.tokenizers.mixed_parts import noise
from tests.tokenizers.small_modalities import Heartbeat

OMNI = Omni(audio=LogMel(floor="fixed"))
NUMBERS = np.arange(24.0, dtype=np.float32).reshape(3, 2, 4)
HOLES = torch.tensor([1.0, float("nan")])


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (Image(torch.tensor(NUMBERS)), Image(torch.tensor(NUMBERS)), Image(torch.tensor(NUMBERS + 1))),
        (Image(torch.tensor(NUMBERS)), Image(torch.tensor(NUMBERS)), Image(torch.tensor(NUMBERS, dtype=torch.float64))),
        (Image(torch.tensor(NUMBERS)), Image(torch.tensor(NUMBERS)), Image(NUMBERS)),
        (Audio(HOLES, 16_000), Audio(HOLES.clone(), 16_000), Audio(HOLES.flip(0), 16_000)),
        (Film([NUMBERS, NUMBERS], 0.5), Film([NUMBERS.copy(), NUMBERS], 0.5), Film([NUMBERS, NUMBERS + 1], 0.5)),
        (Film([NUMBERS], 0.5), Film([NUMBERS.copy()], 0.5), Film([NUMBERS, NUMBERS], 0.5)),
        (Tagged("a", {"z": NUMBERS}), Tagged("a", {"z": NUMBERS.copy()}), Tagged("a", {"z": NUMBERS + 1})),
    ],
)
def test_parts_are_equal_where_what_they_hold_is(one: Any, same: Any, other: Any) -> None:
    assert one == same
    assert one != other


def test_results_that_hold_arrays_can_be_compared_and_kept_in_a_set() -> None:
    sound = np.ones(400, np.float32)
    makes: list[Any] = [
        lambda: Encoded({"values": NUMBERS}),
        lambda: LogMel().window(sound),
        lambda: mix(sound, seed=3, share=0),
        lambda: GumbelQuantizer(width=4, entries=4, size=4)(torch.zeros(1, 2, 4)),
    ]
    for make in makes:
        one, another = make(), make()
        assert one != another
        assert len({one, another, one}) == 2


@pytest.mark.parametrize("wrong", [5, {1, 2}, iter((1, 2)), np.ones((1, 2), int)])
def test_ids_are_one_row(wrong: Any) -> None:
    with pytest.raises(TypeError, match="ids are one row of whole numbers, not"):
        Omni(text=Text.of_bytes()).encode(Ids(wrong))


@pytest.mark.parametrize("channels", [1, 2])
def test_sound_in_lists_is_counted_as_it_is_encoded(channels: int) -> None:
    sound = noise(0, 4_000)
    samples: Any = sound.tolist() if channels == 1 else np.stack([sound, sound]).tolist()
    assert OMNI.count(Audio(samples, 16_000)) == len(OMNI.encode(Audio(samples, 16_000))) == 7


@pytest.mark.parametrize("rate", [44.1, 16_000.0, "16000", True])
def test_a_rate_is_a_whole_number_of_hertz_in_a_part_too(rate: Any) -> None:
    for call in (OMNI.encode, OMNI.count, OMNI.stream().push):
        with pytest.raises(TypeError, match="a sample rate is a whole number of Hz"):
            call(Audio(noise(0, 4_000), rate))
    assert OMNI.encode(Audio(noise(0, 4_000), np.int64(16_000))) == OMNI.encode(Audio(noise(0, 4_000), 16_000))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
@pytest.mark.parametrize("rows", [8, 10])
def test_ready_frames_keep_their_type_in_a_stream(rows: int, dtype: Any) -> None:
    frames = np.arange(rows * 80).reshape(rows, 80).astype(dtype)
    stream = OMNI.stream()
    out = [stream.push(Frames("audio", frames[:5])), stream.push(Frames("audio", frames[5:])), stream.finish()]
    assert join(out) == OMNI.encode(Frames("audio", frames))


@pytest.mark.parametrize("step", [Fraction(1, 2), np.float32(0.5), 1])
def test_a_film_is_saved_whatever_kind_of_number_its_step_is(step: Any, tmp_path: Path) -> None:
    omni = Omni(image=Patches(2))
    film = Film(np.zeros((3, 4, 4, 3), np.uint8), step)
    sequence = omni.encode(film)
    sequence.save(tmp_path)
    assert omni.load(tmp_path) == sequence
    assert omni.decode(sequence) == [film]
    for wrong in (0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="must be finite and above 0"):
            omni.encode(Film([film.pictures[0]], wrong))


def test_what_a_plugin_says_of_its_tokens_in_lists_or_numpy_is_saved_too(tmp_path: Path) -> None:
    class Listed(Heartbeat):
        def encode(self, part: Any) -> Encoded:
            return Encoded(
                {"strength": np.zeros((4, 2), np.float32)}, grids=[np.array([1, 2, 2])], step=np.float32(0.5),
                group=np.int64(2), units=np.int64(7), meta={"near": np.float32(0.5), "size": np.array([3, 4])},
            )  # fmt: skip

    sequence = Omni(beats=Listed()).encode(Tagged("beats", None))
    sequence.save(tmp_path)
    assert Sequence.load(tmp_path) == sequence
    assert hash(sequence.spans[0]) == hash(Sequence.load(tmp_path).spans[0])
