"""What the codec learns from: nano's voice saying the sentences of its world, one after the other, taken apart once."""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from omni.nano.codec.codec import FIRST_OCTAVES, NanoCodec
from omni.nano.codec.hearing import hear, windows
from omni.nano.codec.network import Memory, pitch_codes, pitch_values
from omni.nano.codec.source_filter import FRAME, RATE, STEPS
from omni.train.codec.analysis import Parts, take_apart
from omni.train.dialogue import Split
from omni.train.espeak import Voice, speak
from omni.train.skills import WORDS, draw_dialogue
from omni_tokenizers.audio import resample
from omni_tokenizers.audio.codec import CodeArray

# A voice without echo, breath, roughness or flutter: what is left is the words.
NANO_VOICE = Voice("en-us", "steph", words_per_minute=150, pitch=50, pitch_range=50)
SEEDS, UTTERANCES = (10, 11, 12, 13), 450  # of the parts of what it is trained on, and how many are in each
BEFORE = 960  # samples of silence before an utterance, one frame
HALF_TURN = 1 << 15  # a pitch cycle is kept as 16 bits


def sentence(random: Random, split: Split) -> str:
    """Something nano may have to say: an answer, a question, or words in any order."""
    kind = random.random()
    if kind < 0.2:
        return " ".join(random.choices(WORDS, k=random.randint(2, 6))).capitalize() + "."
    turn = random.choice(draw_dialogue(random, split).turns)
    return turn.answer if kind < 0.7 else turn.question


@cache
def trained() -> frozenset[str]:
    """All sentences that the codec is trained on. An answer may be the same to many questions, whatever their split."""
    drawn = (Random(seed) for seed in SEEDS)
    return frozenset(sentence(random, "train") for random in drawn for _ in range(UTTERANCES))


def utterance(text: str, before: int = BEFORE, after: int = 2400) -> Tensor:
    """The text in nano's voice at 24 kHz, whole frames, with silence on both sides (samples)."""
    sound, rate = speak(text, NANO_VOICE)
    sound = resample(sound, rate, RATE)
    whole = np.pad(sound, (before, after + (-len(sound) - before - after) % FRAME))
    return torch.from_numpy(whole.astype(np.float32))


@dataclass(frozen=True)
class Speech:
    """Utterances on end, with what the encoder hears and what the decoder should say; kept small."""

    sound: Tensor  # [frames · FRAME], float16
    turns: Tensor  # [frames · FRAME], int16
    features: Tensor  # [frames, FEATURES], float16
    octaves: Tensor  # [frames], float32, what book 0 says
    pitch: Tensor  # [frames · STEPS], float32
    voiced: Tensor  # [frames · STEPS], uint8
    tone: Tensor  # [frames · STEPS, BANDS], float16
    noise: Tensor  # [frames · STEPS, NOISE_BANDS], float16

    @property
    def frames(self) -> int:
        """How many frames of 40 ms."""
        return len(self.octaves)

    def cut(self, at: int, frames: int) -> dict[str, Tensor]:
        """A piece, by the names of the fields, as floats."""
        piece = {}
        for name in (field.name for field in fields(self)):
            column: Tensor = getattr(self, name)
            each = len(column) // self.frames
            piece[name] = column[at * each : (at + frames) * each].float()
        piece["turns"] = (piece["turns"] + HALF_TURN) / (2 * HALF_TURN)
        return piece


def held(octaves: Tensor, weight: Tensor) -> Tensor:
    """The pitch of frames where the voice sings, and the last one where it does not, as book 0 says it."""
    last, said = FIRST_OCTAVES, []
    for value, known in zip(octaves.tolist(), (weight > 0).tolist(), strict=True):
        last = value if known else last
        said.append(last)
    return pitch_values(pitch_codes(torch.tensor(said)))


def observed(sound: Tensor) -> Speech:
    """One utterance of whole frames, heard and taken apart."""
    features, octaves, weight = hear(windows(sound))
    parts: Parts = take_apart(sound)
    assert len(parts.pitch) == len(features) * STEPS
    return Speech(
        sound.half(),
        (parts.turns * 2 * HALF_TURN - HALF_TURN).round().clamp(-HALF_TURN, HALF_TURN - 1).to(torch.int16),
        features.half(),
        held(octaves, weight),
        parts.pitch,
        parts.voiced.to(torch.uint8),
        parts.tone.half(),
        parts.noise.half(),
    )


@torch.inference_mode()
def codes_of(codec: NanoCodec, sound: Tensor) -> CodeArray:
    """What `codec.encode` gives for sound at 24 kHz, all frames at once and several times as fast: for training data.

    Kernels round differently for another length, so now and then a channel that is near a tie falls to the other side.
    """
    sound = F.pad(sound, (0, -len(sound) % FRAME + codec.net.spec.ahead * FRAME))
    features, octaves, weight = hear(windows(sound))
    z = codec.net.encoder(features[None], Memory())[0, codec.net.spec.ahead :]
    pitches = pitch_codes(held(octaves, weight))[: len(z), None]
    return torch.cat([pitches, codec.net.fsq.codes(z)], dim=1).to(torch.int32).numpy()


def speech(count: int, seed: int, split: Split, cache: Path) -> Speech:
    """`count` utterances drawn with the seed; made once and kept in the file `cache`."""
    if not cache.exists():
        random = Random(seed)
        pieces = [observed(utterance(sentence(random, split))) for _ in range(count)]
        names = [field.name for field in fields(Speech)]
        whole = {name: torch.cat([getattr(piece, name) for piece in pieces]) for name in names}
        cache.parent.mkdir(parents=True, exist_ok=True)
        save_file(whole, cache.with_suffix(".new"))
        cache.with_suffix(".new").replace(cache)
    return Speech(**load_file(cache))
