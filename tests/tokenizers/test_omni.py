"""Parts of any modality become one sequence, are counted without it, come back out of it, and may arrive live."""

import io
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.audio import LogMel
from omni_tokenizers.image import Patches, SmartResize, Tiles
from omni_tokenizers.sequence import (
    Audio,
    AudioTokens,
    Codes,
    Film,
    Frames,
    Ids,
    Image,
    Omni,
    Special,
    Speech,
    SpeechTokens,
    Tagged,
    TextPart,
    audio_tokens,
    interleave,
    join,
    tmrope,
)
from omni_tokenizers.text import Text
from omni_tokenizers.tokenizer import CannotStream
from tests.tokenizers.mixed_parts import Codebook, anything, exact, noise, omni, pixels, several
from tests.tokenizers.small_modalities import Bytes
from tests.tokenizers.small_speech import small_wav2vec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

OMNI = omni()
quick = settings(max_examples=50, deadline=None)


@quick
@given(parts=several)
def test_count_is_the_length_of_encode(parts: list[Any]) -> None:
    assert OMNI.count(parts) == len(OMNI.encode(parts))


@quick
@given(parts=st.lists(exact, max_size=6))
def test_decoding_gives_the_parts_back(parts: list[Any]) -> None:
    assert OMNI.decode(OMNI.encode(parts)) == parts


@quick
@given(parts=several)
def test_every_id_has_a_row_in_a_table_of_that_size_and_placeholders_are_no_text(parts: list[Any]) -> None:
    sequence = OMNI.encode(parts).pad(300)
    assert sequence.ids.min() >= 0
    assert sequence.ids.max() < OMNI.size
    text = sequence.modality == sequence.kinds.index("text")
    assert (sequence.ids[text] < Bytes.size).all()
    assert (sequence.ids[~text] >= Bytes.size).all()


def pieces_of(part: Any, draw: Any) -> list[Any]:
    """A part cut into pieces at drawn places, as a live source would hand them over."""

    def cut(length: int, step: int = 1) -> list[slice]:
        cuts = sorted(draw(st.lists(st.integers(0, length // step), max_size=4)))
        return [slice(a * step, b * step) for a, b in zip([0, *cuts], [*cuts, -(-length // step)], strict=True)]

    if isinstance(part, str):
        return [part[at] for at in cut(len(part))]
    if isinstance(part, Ids):
        return [Ids(part.ids[at]) for at in cut(len(part.ids))]
    if isinstance(part, Audio):
        return [Audio(part.source[at], part.rate) for at in cut(len(part.source))]
    if isinstance(part, Frames):
        return [Frames("audio", part.frames[at]) for at in cut(len(part.frames))]
    if isinstance(part, Codes) and part.rate is not None:
        return [Codes(part.source[at], part.rate) for at in cut(len(part.source))]
    if isinstance(part, Codes):
        return [Codes(part.source[at]) for at in cut(len(part.source))]
    if isinstance(part, Tagged):
        return [Tagged(part.modality, part.source[at]) for at in cut(len(part.source))]
    return [part]


coded_sounds = st.builds(
    lambda seed, length: Codes(noise(seed, length), 8000), st.integers(0, 99), st.integers(0, 2000)
)


@quick
@given(parts=st.lists(anything | coded_sounds, max_size=5), data=st.data())
def test_what_comes_out_of_a_stream_joined_is_the_encoding_to_the_bit(parts: list[Any], data: Any) -> None:
    stream = OMNI.stream()
    out = [OMNI.empty()]
    for part in parts:
        out += [stream.push(piece) for piece in pieces_of(part, data.draw)]
        out.append(stream.end())
    out.append(stream.finish())
    assert join(out) == OMNI.encode(parts)
    assert len(stream) == OMNI.count(parts)


def test_sound_comes_out_while_it_goes_in() -> None:
    stream = OMNI.stream()
    early = stream.push(Audio(noise(0, 8000), 16000))
    assert len(early) == 12  # 0.5 s are 49 certain frames, so 12 tokens of 4
    assert early.spans[0].modality == "audio"


def test_another_kind_of_piece_ends_the_part_before_it() -> None:
    stream = OMNI.stream()
    out = [
        stream.push("look "),
        stream.push("here"),
        stream.push(Image(pixels(0, 1, 1))),
        stream.push("ok"),
        stream.finish(),
    ]
    assert join(out) == OMNI.encode(["look here", Image(pixels(0, 1, 1)), "ok"])
    with pytest.raises(ValueError, match="finished"):
        stream.push("more")


def test_what_cannot_stream_refuses_with_the_reason_and_is_taken_whole() -> None:
    clipped = omni(audio=LogMel(floor="clip"))
    sound = Audio(noise(0, 4000), 16000)
    stream = clipped.stream()
    out = [stream.push("hm")]
    with pytest.raises(CannotStream, match="clip"):
        stream.push(sound)
    with pytest.raises(CannotStream, match="largest of the whole recording"):
        stream.push(Tagged("heartbeat", [1.0, 2.0]))
    out += [stream.push("m"), stream.push_whole(sound), stream.finish()]
    assert join(out) == clipped.encode(["hmm", sound])


def test_a_live_sound_that_changes_its_rate_or_ends_too_short_says_so_and_goes_on() -> None:
    stream = OMNI.stream()
    stream.push(Audio(noise(0, 100), 16000))
    with pytest.raises(ValueError, match="began at 16000 Hz and cannot go on at 8000 Hz"):
        stream.push(Audio(noise(0, 100), 8000))
    with pytest.raises(ValueError, match="201"):
        stream.end()
    out = [stream.push("still here"), stream.finish()]
    assert OMNI.decode(join(out)) == ["still here"]


def test_a_live_source_may_use_its_memory_again() -> None:
    frames, codes = noise(0, 18, 80), np.random.default_rng(0).integers(0, 8, (6, 3))
    stream, out = OMNI.stream(), []
    frame_buffer, code_buffer = np.empty((6, 80), np.float32), np.empty((2, 3), codes.dtype)
    for start in range(0, 18, 6):
        frame_buffer[:] = frames[start : start + 6]
        out.append(stream.push(Frames("audio", frame_buffer)))
    for start in range(0, 6, 2):
        code_buffer[:] = codes[start : start + 2]
        out.append(stream.push(Codes(code_buffer)))
    assert join([*out, stream.finish()]) == OMNI.encode([Frames("audio", frames), Codes(codes)])


@pytest.mark.parametrize("first", ["codes", "sound"])
def test_ready_codes_and_sound_are_not_mixed_in_one_part(first: str) -> None:
    pieces = {"codes": Codes(np.zeros((1, 3), int)), "sound": Codes(noise(0, 500), rate=8000)}
    stream = OMNI.stream()
    stream.push(pieces.pop(first))
    with pytest.raises(ValueError, match=r"this part began with .* call end\(\) first"):
        stream.push(*pieces.values())


@pytest.mark.parametrize(
    "piece", [TextPart("ab"), Ids((1, 2)), Codes(np.zeros((1, 3), int)), Audio(noise(0, 999), 8000)]
)
def test_a_finished_stream_of_any_modality_takes_nothing_more(piece: Any) -> None:
    stream = OMNI.modality_of(piece).stream()
    stream.push(piece)
    stream.finish()
    for again in (lambda: stream.push(piece), stream.finish):
        with pytest.raises(ValueError, match="finished"):
            again()


@quick
@given(frames=st.integers(0, 50), per_token=st.integers(1, 7))
def test_sound_tokens_come_from_frames_and_the_last_one_knows_how_full_it_is(frames: int, per_token: int) -> None:
    mel = noise(0, frames, 80)
    tokens = omni(audio=AudioTokens(LogMel(floor="fixed"), frames_per_token=per_token))
    sequence = tokens.encode(Frames("audio", mel))
    assert len(sequence) == audio_tokens(frames, per_token) == -(-frames // per_token)
    assert sequence.spans[0].units == frames
    assert tokens.decode(sequence) == [Frames("audio", mel)]


def test_the_mel_frames_of_a_sound_are_those_of_the_log_mel() -> None:
    samples = noise(3, 16000)
    frames = OMNI.decode(OMNI.encode(Audio(samples, 16000)))[0].frames
    np.testing.assert_array_equal(frames, LogMel(floor="fixed").encode(samples))


@pytest.mark.parametrize("size", [(30, 20), (64, 64), (7, 90)])
def test_merged_patches_are_one_token_and_come_back_as_pixels(size: tuple[int, int]) -> None:
    qwen = Omni(image=Patches(14, resize=SmartResize(), order="qwen"), positions="mrope")
    picture = Image(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))
    sequence = qwen.encode(picture)
    patches = qwen.modalities["image"].patches  # type: ignore[attr-defined]
    assert len(sequence) == qwen.count(picture) == patches.count(*size) // 4
    assert sequence.payloads[0]["values"].shape == (len(sequence), 4, 1176)
    expected = patches.decode(patches.encode(picture.source))
    assert qwen.decode(sequence) == [Image(expected)]


def test_tiles_are_one_span_of_several_grids() -> None:
    tiled = Omni(image=Patches(8, resize=Tiles(32)), positions="mrope")
    picture = Image(pixels(0, 16, 24))
    sequence = tiled.encode(picture)
    assert len(sequence.spans) == 1
    assert len(sequence.spans[0].grids) > 2
    assert len(sequence) == tiled.count(picture)
    starts = np.cumsum([0, *(rows * columns for _, rows, columns in sequence.spans[0].grids)])[:-1]
    time = sequence.positions[0]
    assert (np.diff(time[starts]) > 0).all()  # each tile begins behind the one before


def test_class_and_register_slots_count_and_do_not_disturb_the_pixels() -> None:
    with_slots = Omni(image=Patches(4, cls=True, registers=2))
    picture = Image(pixels(5, 2, 3))
    sequence = with_slots.encode(picture)
    assert len(sequence) == with_slots.count(picture) == 3 + 6
    assert with_slots.decode(sequence) == [picture]


def test_files_are_counted_from_their_headers_and_encoded_like_their_contents(tmp_path: Path) -> None:
    PIL.Image.fromarray(pixels(1, 4, 6)).save(tmp_path / "a.png")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((noise(1, 8000) * 3000).astype("<i2").tobytes())
    (tmp_path / "a.txt").write_text("grüezi", encoding="utf-8")
    parts = [tmp_path / "a.txt", tmp_path / "a.png", tmp_path / "a.wav", PIL.Image.fromarray(pixels(1, 4, 6))]
    sequence = OMNI.encode(parts)
    assert sequence.counts() == {"text": 7, "image": 48, "audio": 13}
    assert OMNI.count(parts) == len(sequence)
    assert OMNI.decode(sequence)[1] == Image(pixels(1, 4, 6))


def test_a_bare_source_that_could_be_anything_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"which with Image\(data\) or Audio\(data\)"):
        OMNI.encode(b"\x89PNG")
    with pytest.raises(ValueError, match=r"suffix \.xyz"):
        OMNI.encode(tmp_path / "a.xyz")
    with pytest.raises(TypeError, match="a part is a str"):
        OMNI.encode([3])
    with pytest.raises(ValueError, match="samples do not say their rate"):
        OMNI.encode(Audio(noise(0, 999)))
    with pytest.raises(ValueError, match="no tokenizer for speech"):
        OMNI.encode(Speech(noise(0, 999), 16000))
    with pytest.raises(ValueError, match="id 258 is outside the vocabulary"):
        OMNI.encode(Ids((1, 258)))
    with pytest.raises(TypeError, match="ids are float64"):
        OMNI.encode(Ids((1.5, 2.0)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got dict"):
        OMNI.encode({"text": "hello"})
    with pytest.raises(ValueError, match="no special token '<x>'"):
        OMNI.encode(Special("<x>"))
    with pytest.raises(ValueError, match="code 9 at frame 1, book 2 is out of range"):
        OMNI.encode(Codes(np.array([[0, 0, 0], [0, 0, 9]])))
    with pytest.raises(ValueError, match=r"frames have the shape \(3, 7\), expected \[frames, 80\]"):
        OMNI.encode(Frames("audio", np.zeros((3, 7))))
    picture = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(picture, "png")
    assert len(OMNI.encode(Image(picture.getvalue()))) == 1


def test_an_omni_of_nothing_or_of_the_wrong_thing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one tokenizer"):
        Omni()
    with pytest.raises(TypeError, match="it is no audio tokenizer"):
        Omni(audio=object())
    with pytest.raises(ValueError, match="no positions are named 'polar'"):
        Omni(text=Bytes(), positions="polar")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="below 0"):
        Omni(text=Bytes(), placeholders={"image": -1})


def test_a_published_placeholder_can_be_used() -> None:
    own = omni(placeholders={"image": 151655})
    assert set(own.encode(Image(pixels(0, 2, 2))).ids.tolist()) == {151655}
    assert own.size == 151656


def test_no_two_placeholders_are_the_same_id() -> None:
    usual = omni().placeholders
    own = omni(placeholders={"image": usual["pad"], "depth": usual["audio"]})
    assert len({*own.placeholders.values()}) == len(usual)
    assert {name: own.placeholders[name] for name in ("image", "depth", "speech")} == {
        "image": usual["pad"], "depth": usual["audio"], "speech": usual["speech"],
    }  # fmt: skip
    assert own.size == max(own.placeholders.values()) + 1
    with pytest.raises(ValueError, match="image and audio have the same placeholder, 7"):
        omni(placeholders={"image": 7, "audio": 7})


@pytest.mark.parametrize("modality", ["audio", "speech", "codec"])
@pytest.mark.parametrize("group", [1, 2])
def test_memory_that_the_caller_uses_again_changes_no_sequence(modality: str, group: int) -> None:
    own = Omni(
        audio=AudioTokens(LogMel(), frames_per_token=group),
        speech=SpeechTokens(small_wav2vec(), features_per_token=group),
        codec=Codebook(),
    )
    rows = np.ones((4, 80 if modality == "audio" else 3), np.int32 if modality == "codec" else np.float32)
    part = Codes(rows) if modality == "codec" else Frames(modality, rows)
    first = own.encode(part)
    rows[:] = 2
    assert first != own.encode(part)
    assert all((array == 1).all() for array in first.payloads[0].values())


@pytest.mark.parametrize("policy", ["allow", {"<|end|>"}, ["<|end|>"]])
def test_the_policy_for_special_tokens_travels_with_the_text(policy: Any, tmp_path: Path) -> None:
    text = Text.train(["ab ab ab"], vocab_size=260, special=["<|end|>"])
    own = Omni(text=text)
    part = TextPart("ab<|end|>", policy)
    sequence = own.encode(part)
    sequence.save(tmp_path)
    assert own.load(tmp_path) == sequence
    assert own.decode(sequence) == [part]
    assert sequence.ids[-1] == text.special["<|end|>"]
    assert own.count(part) == len(sequence)
    with pytest.raises(ValueError, match=r"<\|end\|>"):
        own.encode("ab<|end|>")


@quick
@given(text=st.text(max_size=40), data=st.data())
def test_text_of_a_trained_vocabulary_streams_to_the_ids_of_the_whole(text: str, data: Any) -> None:
    stream = TRAINED.stream()
    out = [stream.push(piece) for piece in pieces_of(text, data.draw)]
    assert join([*out, stream.finish()]) == TRAINED.encode(text)


TRAINED = Omni(text=Text.train(["the cat and the hat and the bat, 3.14 é 日本"] * 9, vocab_size=300))


@quick
@given(times=st.integers(1, 9), step=st.sampled_from([0.4, 0.5, 1.0, 2.0]), length=st.integers(0, 260))
def test_a_film_and_its_sound_on_one_clock_come_back_apart(times: int, step: float, length: int) -> None:
    film = Film(np.stack([pixels(i, 2, 1) for i in range(times)]), step)
    sound = Frames("audio", noise(0, length, 80))
    row = interleave(OMNI.encode(film), OMNI.encode(sound))
    assert len(row) == OMNI.count([film, sound])
    parts = OMNI.decode(row)
    assert parts[0] == film
    assert parts[1:] == ([sound] if length else [])
    # On one clock, a token's place in time is its second times 25, whichever chunk it is in.
    time = tmrope(row.spans)[0]
    for span in row.spans:
        assert time[span.start] == int(np.float32(span.first) * np.float32(span.step) * np.float32(25) + 1e-4)


@pytest.mark.parametrize("seconds", [0, 0.03, float("inf"), float("nan")])
def test_a_chunk_without_a_whole_position_is_refused(seconds: float) -> None:
    film, sound = OMNI.encode(Film([pixels(0, 1, 1)], 0.5)), OMNI.encode(Frames("audio", noise(0, 9, 80)))
    with pytest.raises(ValueError, match=r"holds no position: use 0\.04 s or more"):
        interleave(film, sound, seconds=seconds)


@quick
@given(seed=st.integers(0, 99))
def test_encoding_changes_nothing_that_it_was_given(seed: int) -> None:
    sources = [pixels(seed, 2, 2), noise(seed, 900), noise(seed, 9, 80), np.ones((3, 3), np.int32)]
    before = [source.copy() for source in sources]
    parts = [Image(sources[0]), Audio(sources[1], 16000), Frames("audio", sources[2]), Codes(sources[3])]
    OMNI.decode(OMNI.encode(parts).pad(99))
    for source, copy in zip(sources, before, strict=True):
        np.testing.assert_array_equal(source, copy)
        assert source.flags.writeable


def speech_omni(norm: str, **settings: Any) -> Omni:
    from omni_tokenizers.audio.wav2vec import Wav2Vec
    from omni_tokenizers.audio.wav2vec_encoder import ConvShape, FeatureEncoder

    torch.manual_seed(0)
    return Omni(speech=Wav2Vec(FeatureEncoder(ConvShape(channels=(4,) * 7, norm=norm)), **settings))  # type: ignore[arg-type]


@settings(max_examples=10, deadline=None)
@given(length=st.integers(0, 4000), rate=st.sampled_from([8000, 16000, 24000]), data=st.data())
def test_speech_features_of_any_rate_are_counted_and_stream_to_the_bit(length: int, rate: int, data: Any) -> None:
    part = Speech(noise(length, length), rate)
    sequence = SPEECH.encode(part)
    assert SPEECH.count(part) == len(sequence)
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=3)))
    stream = SPEECH.stream()
    out = [stream.push(Speech(part.source[a:b], rate)) for a, b in pairwise([0, *cuts, length])]
    assert join([*out, stream.finish()]) == sequence


SPEECH = speech_omni("layer", normalize=False)


def test_speech_that_needs_its_whole_utterance_refuses_before_any_sound() -> None:
    with pytest.raises(CannotStream, match="whole utterance"):
        speech_omni("group").stream().push(Speech(noise(0, 999), 16000))


def test_a_speech_stream_without_sound_ends_without_tokens() -> None:
    assert SPEECH.modalities["speech"].stream().finish().length == 0


def test_the_seconds_of_speech_follow_the_rate_of_its_encoder() -> None:
    half = speech_omni("layer", normalize=False, rate=8000).encode(Speech(noise(0, 8000), 8000))
    assert half.spans[0].step == 1 / 25
    assert SPEECH.encode(Speech(noise(0, 16000), 16000)).spans[0].step == 0.02


def test_a_vocabulary_whose_ids_have_no_bytes_of_their_own_reads_and_shows_its_text() -> None:
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "hell": 1, "##o": 2, "you": 3}, unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    words = Omni(text=Text.load(made.to_str().encode()))
    sequence = words.encode(["hello you"])
    assert (words.decode(sequence), words.pieces([1, 2, 3])) == (["hello you"], ["hell", "##o", "you"])
    assert "hello you" in sequence.show()
