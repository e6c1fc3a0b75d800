"""The pool: spoken dialogues, made once and kept on disk as log-Mel frames, so that a training step costs no synthesis.

A pool is a folder of shards, and of noises beside them. A shard is frames (float16, all utterances one after another)
and a JSON line for each dialogue: what was said, by whom, where its frames lie, and where in them speech begins, pauses
and ends. Shard n of a split holds the same words by the same voices on every machine that has the same recorded voices
(espeak-ng lets a voice flutter, so its samples differ a little each time); shards are made by several processes and can
be added while a training reads the others.
"""

import json
import multiprocessing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from omni.train.dialogue import Call, Dialogue, Split, Turn, split_of
from omni.train.drills import SPOKEN, exercise
from omni.train.keeping import reading, replacing
from omni.train.noises import noise
from omni.train.pictures import Figure, Scene
from omni.train.rooms import in_a_place
from omni.train.skills import NOUNS, WORDS, draw_dialogue, sentence
from omni.train.speakers import RATE, Sound, Speaker, espeak_speaker, recorded_speaker, require_recorded, say
from omni.train.words import QUALITIES, SMALL_WORDS, VERBS, in_words
from omni_tokenizers.audio import LogMel

VERSION = 2  # of what a shard holds: a change of words, voices or augmentation is a new version
HOP = 160  # samples, 10 ms
BEFORE, AFTER = 5, 30  # frames of silence that every utterance is kept with
SHARD = 1000  # dialogues
RECORDED_EXERCISES = 0.2  # of exercises, those of recorded voices
DIALOGUES_A_NOISE = 40  # dialogues of a pool for each piece of noise
MEL = LogMel(bins=80, floor="fixed")

Frames = NDArray[np.float16]
Kind = Literal["espeak", "recorded", "exercises"]  # of shards: whose voices, or exercises in both kinds of voices


@dataclass(frozen=True)
class Utterance:
    """Where one utterance lies in its shard, and in 10 ms frames of its own where speech begins, pauses and ends."""

    text: str
    voice: str
    first: int
    frames: int
    begin: int
    end: int
    pause: tuple[int, int] | None = None  # a silence inside the sentence


@dataclass(frozen=True)
class Shard:
    """One shard in memory."""

    kind: Kind
    frames: Frames  # [frames, 80]
    dialogues: list[tuple[Dialogue, tuple[Utterance, ...]]]

    def of(self, utterance: Utterance) -> Frames:
        """The frames of an utterance: [frames, 80]."""
        return self.frames[utterance.first : utterance.first + utterance.frames]


def word_string(random: Random) -> Dialogue:
    """Words and numbers in no order: what is said has to be heard, not guessed."""
    words = [random.choice(WORDS) for _ in range(random.randint(2, 6))]
    if random.random() < 0.35:
        words.insert(random.randrange(len(words) + 1), in_words(random.randint(0, 100)))
    if random.random() < 0.5:
        words = [random.choice(("the", "a", "my", "this")), random.choice(QUALITIES), random.choice(NOUNS),
                 random.choice(VERBS), random.choice(SMALL_WORDS), *words[:2]]  # fmt: skip
    said = " ".join(words)
    return Dialogue("words", (Turn(sentence(said), ""),), said)


def draw(random: Random, split: Split, kind: Kind) -> Dialogue:
    """A dialogue for the pool: an exercise, or one of the skills, or words to write down."""
    if kind == "exercises":
        return exercise(random, split, SPOKEN)
    if random.random() >= 0.22:
        return draw_dialogue(random, split)
    while True:
        dialogue = word_string(random)
        if split_of(dialogue.key) == split:
            return dialogue


def spoken(text: str, speaker: Speaker, random: np.random.Generator) -> tuple[Sound, tuple[int, int] | None]:
    """The text said, sometimes with a pause between two words: samples, and the pause in samples."""
    words = text.split()
    if len(words) < 4 or random.random() > 0.15:
        return say(text, speaker), None
    at = int(random.integers(1, len(words)))
    first = say(" ".join(words[:at]).rstrip(".,?:") + ("," if random.random() < 0.6 else ""), speaker)
    second = say(" ".join(words[at:]), speaker)
    gap = int(random.uniform(0.15, 1.0) * RATE)
    return np.concatenate([first, np.zeros(gap, np.float32), second]), (len(first), len(first) + gap)


def heard(text: str, speaker: Speaker, random: np.random.Generator, first: int) -> tuple[Utterance, Frames]:
    """One utterance of the pool, and its frames."""
    samples, pause = spoken(text, speaker, random)
    end = BEFORE * HOP + len(samples)
    samples = in_a_place(samples, random)
    padded = np.concatenate(
        [np.zeros(BEFORE * HOP, np.float32), samples, np.zeros(AFTER * HOP + -len(samples) % HOP, np.float32)]
    )
    frames = MEL.encode(padded, rate=RATE).astype(np.float16)  # [frames, 80]
    silent = None if pause is None else (BEFORE + -(-pause[0] // HOP), BEFORE + pause[1] // HOP)
    return Utterance(text, speaker.name, first, len(frames), BEFORE, -(-end // HOP), silent), frames


def make_shard(folder: Path, split: Split, number: int, dialogues: int, kind: Kind) -> Path:
    """Speak so many dialogues and write them: `split-kind-number.safetensors`, `.jsonl`. Nothing if it is there."""
    done = written(folder, split, kind, number)
    if done.exists():
        return done
    seed = f"nano {VERSION} {done.stem}"
    random = Random(seed)
    numbers = np.random.default_rng([*seed.encode()])
    pieces: list[Frames] = []
    lines: list[str] = []
    at = 0
    for _ in range(dialogues):
        dialogue = draw(random, split, kind)
        recorded = random.random() < RECORDED_EXERCISES if kind == "exercises" else kind == "recorded"
        speaker = recorded_speaker(random, split) if recorded else espeak_speaker(random, split)
        utterances = []
        for turn in dialogue.turns:
            utterance, frames = heard(turn.question, speaker, numbers, at)
            utterances.append(utterance)
            pieces.append(frames)
            at += len(frames)
        lines.append(json.dumps({"dialogue": asdict(dialogue), "utterances": [asdict(u) for u in utterances]}))
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(done.with_suffix(".safetensors")) as beside:
        save_file({"frames": np.concatenate(pieces)}, beside)
    with replacing(done) as beside:  # last: a shard whose lines are there is whole
        beside.write_text("\n".join(lines) + "\n")
    return done


def written(folder: Path, split: Split, kind: Kind, number: int) -> Path:
    """Where the lines of a shard are when it is whole."""
    return lines_of(folder, f"{split}-{kind}-{number:04d}")


def lines_of(folder: Path, name: str) -> Path:
    """Where the lines of the shard of this name are."""
    return folder / f"{name}.jsonl"


def shards(folder: Path, split: Split, kind: Kind | None = None) -> Iterator[Path]:
    """The shards of a split, or of one kind of it, that are whole, in the order of their names."""
    yield from sorted(folder.glob(lines_of(Path(), f"{split}-{kind or '*'}-*").name))


def make_noises(folder: Path, split: Split, pieces: int) -> Path:
    """Make so many pieces of the split's noises and write them, one array each. Nothing if the file is there."""
    done = folder / f"{split}-noises.safetensors"
    if done.exists():
        return done
    numbers = np.random.default_rng([*f"nano {VERSION} {split} noises".encode()])
    made = {}
    for piece in range(pieces):
        samples = np.clip(0.2 * noise(numbers, int(numbers.uniform(2, 5) * RATE), split), -1, 1)
        made[f"{piece:05d}"] = MEL.encode(samples.astype(np.float32), rate=RATE).astype(np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(done) as beside:
        save_file(made, beside)
    return done


def read_noises(folder: Path, split: Split) -> list[Frames]:
    """The noises of a pool: [frames, 80] each."""
    file = folder / f"{split}-noises.safetensors"
    with reading(file, "remove it, and it is made again"):
        held = load_file(file)
    return [held[name] for name in sorted(held)]


def make_pool(folder: Path, dialogues: Mapping[Kind, int], processes: int = 1) -> Iterator[Path]:
    """Make what is missing of the noises and of so many training dialogues of each kind.

    The noises come first, then each shard as it is done.
    """
    keep_version(folder)
    work: list[tuple[Path, Split, int, int, Kind]] = [
        (folder, "train", n, SHARD, kind) for kind, count in dialogues.items() for n in range(-(-count // SHARD))
    ]
    if any(kind != "espeak" and not written(folder, "train", kind, n).exists() for _, _, n, _, kind in work):
        require_recorded()  # said before an hour of other voices, not behind it
    yield make_noises(folder, "train", max(20, sum(dialogues.values()) // DIALOGUES_A_NOISE))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_make, work)


def keep_version(folder: Path) -> None:
    """Note in a new pool what version it is; refuse one of another version."""
    file = folder / "version"
    if not file.exists() and not any(folder.glob("*.jsonl")):
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{VERSION}\n")
    found = file.read_text().strip() if file.exists() else "older"
    if found != str(VERSION):
        raise ValueError(
            f"the pool in {folder} is of version {found}, and this recipe reads version {VERSION}: "
            "remove the folder, or name another one with --pool"
        )


def _make(about: tuple[Path, Split, int, int, Kind]) -> Path:
    return make_shard(*about)


def read_shard(lines: Path) -> Shard:
    """A shard as it was written."""
    dialogues = []
    with reading(lines, "remove it, and it is spoken again"):
        for line in lines.read_text().splitlines():
            about = json.loads(line)
            said = tuple(
                Utterance(**{**u, "pause": tuple(u["pause"]) if u["pause"] else None}) for u in about["utterances"]
            )
            dialogues.append((_dialogue(about["dialogue"]), said))
    sounds = lines.with_suffix(".safetensors")
    with reading(sounds, f"remove it and {lines.name}, and they are spoken again"):
        frames = load_file(sounds)["frames"]
    return Shard(cast(Kind, lines.stem.split("-")[1]), frames, dialogues)


def _dialogue(about: Mapping[str, Any]) -> Dialogue:
    turns = tuple(
        Turn(t["question"], t["answer"], _scene(t["picture"]), Call(**t["call"]) if t["call"] else None)
        for t in about["turns"]
    )
    return Dialogue(about["skill"], turns, about["key"], tuple(about["tools"]), tuple(about["also"]))


def _scene(about: Mapping[str, Any] | None) -> Scene | None:
    if about is None:
        return None
    return Scene(**{**about, "figures": tuple(Figure(**figure) for figure in about["figures"])})
