"""The spoken data: made the same every time, never heard in two splits, and labelled where speech really ends."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from omni.train import pool
from omni.train.exam import MEASURES, noisy, questions
from omni.train.keeping import replacing
from omni.train.mixing import FLOOR, HEARD, Take, added, decades, scaled, stretched, take, warped
from omni.train.noises import KINDS, Kind, noise
from omni.train.pool import (
    AFTER,
    BEFORE,
    HOP,
    MEL,
    Utterance,
    heard,
    keep_version,
    make_noises,
    make_shard,
    read_noises,
    read_shard,
)  # fmt: skip
from omni.train.skills import draw_dialogue
from omni.train.speakers import RATE, RECORDED, Speaker, cut, espeak_speaker, espeak_variants, family, say
from omni_tokenizers.audio import LogMel

SILENT = np.zeros((1, 80), np.float16)
SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shard(tmp_path_factory.mktemp("pool"), "train", 0, 12, "espeak")


def test_no_speaker_is_in_two_splits() -> None:
    families = {split: {family(v) for v in espeak_variants(split)} for split in SPLITS}
    assert len(families["train"]) > 40
    assert families["test"]
    assert not families["train"] & families["test"]
    assert not families["train"] & families["dev"]
    assert not families["dev"] & families["test"]


def test_the_recorded_test_voice_and_the_test_noises_are_never_trained_on() -> None:
    assert [name for name, (_, split) in RECORDED.items() if split == "test"] == ["awb"]
    kinds = [kind for split in SPLITS for kind in KINDS[split]]
    assert len(kinds) == len(set(kinds))


def test_what_is_examined_is_not_in_the_pool(shard: Path) -> None:
    trained = {d.key for d, _ in read_shard(shard).dialogues} - {""}
    trained |= {draw_dialogue(Random(i), "train").key for i in range(2000)} - {""}
    examined = {draw_dialogue(Random(i), "test").key for i in range(500)} - {""}
    assert not trained & examined


def test_a_shard_holds_the_same_words_by_the_same_voices_every_time(shard: Path, tmp_path: Path) -> None:
    one, two = (read_shard(s).dialogues for s in (shard, make_shard(tmp_path, "train", 0, 12, "espeak")))
    assert [d for d, _ in one] == [d for d, _ in two]
    for (_, first), (_, second) in zip(one, two, strict=True):
        for a, b in zip(first, second, strict=True):
            assert (a.text, a.voice, a.begin) == (b.text, b.voice, b.begin)
            assert abs(a.frames - b.frames) <= 5  # espeak-ng's flutter


def test_a_shard_that_is_there_is_left_alone(shard: Path) -> None:
    before = shard.stat().st_mtime_ns
    assert make_shard(shard.parent, "train", 0, 12, "espeak") == shard
    assert shard.stat().st_mtime_ns == before


def test_exercises_are_spoken_by_both_kinds_of_voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "recorded_speaker", lambda *_: Speaker("flite", "kal"))  # flite may not be there
    monkeypatch.setattr(pool, "heard", lambda text, who, _n, at: (Utterance(text, who.name, at, 1, 0, 1), SILENT))
    held = read_shard(make_shard(tmp_path, "train", 3, 300, "exercises"))
    assert held.kind == "exercises"
    assert 30 < sum(utterances[0].voice == "flite kal" for _, utterances in held.dialogues) < 90
    assert len({dialogue.skill for dialogue, _ in held.dialogues}) >= 12
    assert len({utterances[0].text for _, utterances in held.dialogues}) > 270  # little of it twice


def test_utterances_lie_in_their_shard_one_after_another(shard: Path) -> None:
    read = read_shard(shard)
    at = 0
    for dialogue, utterances in read.dialogues:
        assert [u.text for u in utterances] == [turn.question for turn in dialogue.turns]
        for u in utterances:
            assert u.first == at
            assert 0 < u.begin < u.end <= u.frames
            if u.pause is not None:
                assert u.begin < u.pause[0] < u.pause[1] < u.end
            at += u.frames
    assert at == len(read.frames)


def test_noises_are_made_once_and_read_as_they_were_written(tmp_path: Path) -> None:
    file = make_noises(tmp_path, "dev", pieces=4)
    held = read_noises(tmp_path, "dev")
    assert len(held) == 4
    assert all(200 <= len(frames) <= 501 and frames.shape[1] == 80 for frames in held)
    assert not all(np.array_equal(held[0][:200], other[:200]) for other in held[1:])
    before = file.stat().st_mtime_ns
    assert make_noises(tmp_path, "dev", pieces=4) == file
    assert file.stat().st_mtime_ns == before


def test_damaged_files_of_a_pool_are_named_with_what_to_do(shard: Path, tmp_path: Path) -> None:
    for suffix in (".jsonl", ".safetensors"):
        (tmp_path / shard.with_suffix(suffix).name).write_bytes(shard.with_suffix(suffix).read_bytes())
    for suffix, remedy in (
        (".safetensors", "remove it and train-espeak-0000.jsonl, and they are spoken again"),
        (".jsonl", "remove it, and it is spoken again"),
    ):
        file = tmp_path / f"train-espeak-0000{suffix}"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(ValueError, match=rf"{file.name} is damaged \(.*\): {remedy}"):
            read_shard(tmp_path / shard.name)
    file = make_noises(tmp_path, "dev", pieces=1)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"dev-noises\.safetensors is damaged \(.*\): remove it"):
        read_noises(tmp_path, "dev")


def test_a_file_takes_the_place_of_another_when_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state"
    file.write_text("old")
    seen = []
    monkeypatch.setattr("os.fsync", lambda _: seen.append((file.read_text(), (tmp_path / "state.new").read_text())))
    with replacing(file) as beside:
        beside.write_text("new")
    assert seen == [("old", "new")]
    assert file.read_text() == "new"
    assert [left.name for left in tmp_path.iterdir()] == ["state"]


def test_a_pool_of_another_version_is_refused(tmp_path: Path) -> None:
    keep_version(tmp_path / "new")
    keep_version(tmp_path / "new")
    (tmp_path / "train-espeak-0000.jsonl").write_text("")
    with pytest.raises(ValueError, match="of version older, and this recipe reads version 2: remove the folder"):
        keep_version(tmp_path)


@pytest.mark.parametrize("kind", [kind for split in SPLITS for kind in KINDS[split]], ids=lambda kind: kind.__name__)
def test_every_kind_of_noise_is_as_long_as_asked_and_sounds(kind: Kind) -> None:
    for seed, samples in enumerate((4000, 32_000, 48_001)):
        made = kind(np.random.default_rng(seed), samples)
        assert made.shape == (samples,)
        assert made.dtype == np.float32
        assert np.isfinite(made).all()
        assert made.std() > 0


def test_the_pool_holds_what_a_live_log_mel_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = Speaker("espeak", espeak_speaker(Random(1), "train").voice)
    sound = say("What is two plus two?", speaker)
    monkeypatch.setattr(pool, "spoken", lambda *_: (sound, None))
    monkeypatch.setattr(pool, "in_a_place", lambda samples, _: samples)
    utterance, frames = heard("What is two plus two?", speaker, np.random.default_rng(8), 0)
    padded = np.concatenate([np.zeros(BEFORE * HOP), sound, np.zeros(AFTER * HOP + -len(sound) % HOP)])
    stream = LogMel(bins=80, floor="fixed").stream(RATE)
    live = [stream.push(piece.astype(np.float32)) for piece in np.array_split(padded, 23)] + [stream.finish()]
    assert np.abs(np.concatenate(live) - frames).max() < 2e-3  # half precision
    quiet = frames[utterance.end + 3 :].astype(np.float32)
    assert np.allclose(quiet, scaled(np.full_like(quiet, FLOOR)), atol=1e-3)


def test_the_end_of_a_turn_is_fifty_milliseconds_after_the_last_speech() -> None:
    frames = np.zeros((40, 80), np.float32)
    over = Take(frames, 2, 17).turn
    first = int(np.argmax(over))
    assert over.tolist() == [0.0] * first + [1.0] * (10 - first)
    assert 0 <= (first + 1) * 4 - (17 + HEARD) < 4
    assert not Take(frames, 0, 0).turn.any()


def test_a_take_keeps_speech_where_it_says() -> None:
    draw = np.random.default_rng(0)
    for _ in range(40):
        utterance = np.full((100, 80), FLOOR, np.float32)
        utterance[20:70] = 0.0
        took = take(utterance, 20, 70, draw, before=int(draw.integers(0, 30)), after=int(draw.integers(0, 60)))
        assert len(took.frames) % 4 == 0
        loud = np.flatnonzero(took.frames.max(axis=1) > took.frames.min() + 0.1)
        assert abs(loud[0] - took.begin) <= 1
        assert abs(loud[-1] + 1 - took.end) <= 2


def test_mixing_in_the_mel_domain_is_on_average_what_mixing_samples_gives() -> None:
    draw = np.random.default_rng(3)
    a, b = (0.05 * draw.normal(0, 1, 32_000).astype(np.float32) for _ in range(2))
    b *= np.linspace(0.2, 2, len(b)).astype(np.float32)
    mixed = added(decades(MEL.encode(a)), decades(MEL.encode(b)))
    truth = decades(MEL.encode(a + b))
    assert abs(float((mixed - truth)[:, 20:].mean())) < 0.1  # decades: 1 dB


def test_bending_moves_what_it_should() -> None:
    log = np.tile(np.arange(80, dtype=np.float32), (50, 1))
    assert stretched(log, 1.1).shape == (55, 80)
    assert np.allclose(warped(log, 1.0), log, atol=1e-4)
    peak = np.zeros((3, 80), np.float32)
    peak[:, 30] = 1
    assert warped(peak, 1.08)[0].argmax() in (32, 33)
    assert np.allclose(scaled(decades(scaled(log - 6))), scaled(log - 6), atol=1e-5)


def test_noise_is_as_loud_as_asked() -> None:
    draw = Random(4)
    sound = np.zeros(16_000, np.float32)
    sound[1600:12_800] = 0.1 * np.sin(np.arange(11_200) / 5)
    mixed = noisy(sound, draw, "test", 10.0)
    rest = mixed - sound * (mixed.max() / max(mixed.max(), 1e-9))
    ratio = 10 * np.log10((sound[1600:12_800] ** 2).mean() / (rest**2).mean())
    assert ratio == pytest.approx(10, abs=1.0)
    for split in SPLITS:
        assert np.sqrt((noise(np.random.default_rng(1), 8000, split) ** 2).mean()) == pytest.approx(1, abs=1e-3)


def test_silence_at_both_ends_is_cut_and_nothing_else() -> None:
    sound = np.concatenate([np.zeros(100), [0.2, 0.0, -0.4], np.zeros(50)]).astype(np.float32)
    assert cut(sound) == pytest.approx([0.45, 0, -0.9])
    with pytest.raises(ValueError, match="silent"):
        cut(np.zeros(10, np.float32))


def test_the_same_questions_are_asked_every_time() -> None:
    for measure in MEASURES:
        if "recorded" not in measure.name:  # flite may not be there
            asked = [
                [(q.about, [turn.expected for turn in q.turns]) for q in questions(measure, "dev", 2)] for _ in range(2)
            ]
            assert asked[0] == asked[1]
