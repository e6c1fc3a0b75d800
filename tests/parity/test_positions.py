"""Positions against the published models' own functions, called without building their weights."""

from dataclasses import replace
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.sequence import (
    SECTIONS,
    Sequence,
    Span,
    axis_of_frequency,
    interleave,
    mrope,
    qwen_audio_tokens,
    tmrope,
)
from omni_tokenizers.sequence.span import laid_out

TEXT, IMAGE, VIDEO, AUDIO, VISION_START, VISION_END, AUDIO_START, AUDIO_END = range(8)
MERGE = 2

sides = st.integers(1, 6)
pictures = st.tuples(st.just("image"), sides, sides)
videos = st.tuples(st.just("video"), st.integers(1, 5), sides, sides, st.sampled_from([0.4, 0.5, 2 / 3, 1.0, 2.0]))
sounds = st.tuples(st.just("audio"), st.integers(3, 400))
words = st.tuples(st.just("text"), st.integers(1, 9))


def text(length: int) -> Span:
    return Span("text", 0, length)


def picture(times: int, rows: int, columns: int, step: float = 0.0) -> Span:
    return Span("image", 0, times * rows * columns, grids=((times, rows, columns),), step=step, whole=True)


def vision_model(kind: str) -> Any:
    if kind == "qwen2-vl":
        from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel as Model
    elif kind == "qwen2.5-vl":
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel as Model
    else:
        from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel as Model
    vision = SimpleNamespace(spatial_merge_size=MERGE, tokens_per_second=25)
    model = SimpleNamespace(config=SimpleNamespace(vision_config=vision))
    model.get_vision_position_ids = MethodType(Model.get_vision_position_ids, model)
    model.get_rope_index = MethodType(Model.get_rope_index, model)
    return model


def omni_model(kind: str) -> Any:
    if kind == "qwen2.5-omni":
        from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as module

        Model, per_second = module.Qwen2_5OmniPreTrainedModelForConditionalGeneration, 25
    else:
        from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as module

        Model, per_second = module.Qwen3OmniMoePreTrainedModelForConditionalGeneration, 13
    model = SimpleNamespace(
        spatial_merge_size=MERGE,
        config=SimpleNamespace(
            image_token_id=IMAGE, video_token_id=VIDEO, audio_token_id=AUDIO, vision_start_token_id=VISION_START,
            audio_start_token_id=AUDIO_START, position_id_per_seconds=per_second, seconds_per_chunk=2,
            audio_config=SimpleNamespace(n_window=50),
        ),
    )  # fmt: skip
    for name in ("get_llm_pos_ids_for_vision", "get_chunked_index", "get_rope_index"):
        setattr(model, name, MethodType(getattr(Model, name), model))
    return model


@pytest.mark.parametrize("kind", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl"])
@settings(max_examples=40, deadline=None)
@given(plan=st.lists(words | pictures, min_size=1, max_size=8))
def test_mrope_gives_the_positions_of_the_vision_language_models(kind: str, plan: list[Any]) -> None:
    spans, types, grids = [], [], []
    for what, *size in plan:
        # A picture never follows another without a token between: the published function tells them apart by it.
        spans.append(text(size[0] if what == "text" else 1))
        types += [0] * spans[-1].length
        if what == "image":
            spans.append(picture(1, *size))
            types += [1] * spans[-1].length
            grids.append([1, size[0] * MERGE, size[1] * MERGE])
    theirs, delta = vision_model(kind).get_rope_index(
        torch.zeros(1, len(types), dtype=torch.long),
        torch.tensor([types], dtype=torch.int),
        image_grid_thw=torch.tensor(grids) if grids else None,
    )
    ours = mrope(laid_out(spans))
    np.testing.assert_array_equal(ours, theirs[:, 0].numpy())
    assert ours.max() + 1 - ours.shape[1] == int(delta)


@pytest.mark.parametrize("kind", ["qwen2.5-omni", "qwen3-omni"])
@settings(max_examples=40, deadline=None)
@given(plan=st.lists(words | pictures | videos | sounds, min_size=1, max_size=6))
def test_tmrope_gives_the_positions_of_the_omni_models(kind: str, plan: list[Any]) -> None:
    # The published function needs a picture to leave its text-only branch, which counts the same way.
    plan = [*plan, ("image", 1, 2)]
    spans: list[Span] = []
    ids: list[int] = []
    images, films, seconds, frames = [], [], [], []
    for what, *size in plan:
        if what == "text":
            spans.append(text(size[0]))
            ids += [TEXT] * size[0]
        elif what == "audio":
            length = qwen_audio_tokens(size[0]) if kind == "qwen2.5-omni" else qwen3_audio_tokens(size[0])
            spans += [text(1), Span("audio", 0, length), text(1)]
            ids += [AUDIO_START, *[AUDIO] * length, AUDIO_END]
            frames.append(size[0])
        else:
            times, rows, columns, step = (1, *size, 0.0) if what == "image" else size
            spans += [text(1), picture(times, rows, columns, step), text(1)]
            token = IMAGE if what == "image" else VIDEO
            ids += [VISION_START, *[token] * spans[-2].length, VISION_END]
            (images if what == "image" else films).append([times, rows * MERGE, columns * MERGE])
            seconds += [step] if what == "video" else []
    theirs, _ = omni_model(kind).get_rope_index(
        torch.tensor([ids]),
        image_grid_thw=torch.tensor(images),
        video_grid_thw=torch.tensor(films) if films else None,
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        audio_seqlens=torch.tensor(frames) if frames else None,
        second_per_grids=torch.tensor(seconds) if seconds else None,
    )
    per_second, fractional = (25, False) if kind == "qwen2.5-omni" else (13, True)
    ours = tmrope(laid_out(spans), ids_per_second=per_second, fractional=fractional)
    np.testing.assert_array_equal(ours, theirs[:, 0].numpy())


def film_with_sound(times: int, rows: int, columns: int, step: float, tokens: int) -> Sequence:
    film = Sequence(np.zeros(times * rows * columns, int), (picture(times, rows, columns, step),), ({},))
    sound = Sequence(np.zeros(tokens, int), (Span("audio", 0, tokens, step=0.04),), ({},))
    return interleave(film, sound)


@settings(max_examples=60, deadline=None)
@given(
    times=st.integers(1, 12), rows=st.integers(1, 3), columns=st.integers(1, 3),
    step=st.sampled_from([0.4, 0.5, 2 / 3, 1.0, 2.0]), longer=st.integers(8, 300),
)  # fmt: skip
def test_a_film_with_its_sound_lies_and_counts_as_in_qwen2_5_omni(
    times: int, rows: int, columns: int, step: float, longer: int
) -> None:
    # The sound ends last: otherwise the published function goes on from the last chunk, not from the largest id.
    frames = int(times * step * 100) + 4 * longer
    row = film_with_sound(times, rows, columns, step, qwen_audio_tokens(frames))
    ids = [TEXT, VISION_START, AUDIO_START]
    for span in row.spans:
        ids += [VIDEO if span.modality == "image" else AUDIO] * span.length
    ids += [AUDIO_END, VISION_END, TEXT]
    theirs, _ = omni_model("qwen2.5-omni").get_rope_index(
        torch.tensor([ids]),
        video_grid_thw=torch.tensor([[times, rows * MERGE, columns * MERGE]]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        use_audio_in_video=True,
        audio_seqlens=torch.tensor([frames]),
        second_per_grids=torch.tensor([step]),
    )
    # Both opening markers stand on one position, and so do both closing ones: two tokens on a clock.
    opening = [replace(text(1), clock=1), replace(text(1), clock=1)]
    closing = [replace(text(1), clock=2), replace(text(1), clock=2)]
    ours = tmrope(laid_out([text(1), *opening, *row.spans, *closing, text(1)]))
    np.testing.assert_array_equal(ours, theirs[:, 0].numpy())


@settings(max_examples=40, deadline=None)
@given(
    times=st.integers(1, 12), step=st.sampled_from([0.4, 0.5, 2 / 3, 1.0, 2.0]), tokens=st.integers(1, 600)
)  # fmt: skip
def test_the_published_processor_cuts_a_film_and_its_sound_into_the_same_chunks(
    times: int, step: float, tokens: int
) -> None:
    from transformers.models.qwen2_5_omni.processing_qwen2_5_omni import Qwen2_5OmniProcessor as Processor

    processor = SimpleNamespace(
        audio_token="a", video_token="v", audio_bos_token="", audio_eos_token="",
        video_processor=SimpleNamespace(merge_size=MERGE),
    )  # fmt: skip
    processor.get_chunked_index = MethodType(Processor.get_chunked_index, processor)
    theirs = Processor.replace_video_with_audio_token(
        processor,
        {"video_grid_thw": np.array([[times, 2 * MERGE, MERGE]]), "video_second_per_grid": [step]},
        0,
        {"num_audio_tokens": [tokens]},
        0,
        position_id_per_seconds=25,
        seconds_per_chunk=2,
    )
    row = film_with_sound(times, 2, 1, step, tokens)
    assert "".join(("v" if span.modality == "image" else "a") * span.length for span in row.spans) == theirs


def qwen3_audio_tokens(frames: int) -> int:
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import _get_feat_extract_output_lengths

    return int(_get_feat_extract_output_lengths(torch.tensor(frames)))


@settings(max_examples=100, deadline=None)
@given(frames=st.integers(3, 100_000))
def test_audio_tokens_are_counted_as_qwen2_5_omni_counts_them(frames: int) -> None:
    from transformers.models.qwen2_5_omni.processing_qwen2_5_omni import _get_feat_extract_output_lengths

    assert qwen_audio_tokens(frames) == int(_get_feat_extract_output_lengths(torch.tensor(frames)))


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_two_frames_or_fewer_make_no_audio_token(frames: int) -> None:
    assert qwen_audio_tokens(frames) == 0


@pytest.mark.parametrize("kind", ["qwen2-vl", "qwen3-vl"])
def test_each_rotary_frequency_turns_by_the_axis_that_the_published_model_uses(kind: str) -> None:
    sections = SECTIONS[kind]
    # Frequencies that carry the number of their axis come out with the axis that the model picked.
    axes = torch.arange(3.0)[:, None, None, None].expand(3, 1, 1, sum(sections.sizes)).clone()
    model = SimpleNamespace(mrope_section=list(sections.sizes))
    if kind == "qwen2-vl":
        from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding as Rotary
    else:
        from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding as Rotary
    theirs = Rotary.recomposition_frequencies(model, axes)[0, 0, : sum(sections.sizes)]
    assert axis_of_frequency(sections).tolist() == theirs.int().tolist()


def test_after_a_long_video_the_published_mrope_goes_on_inside_it_and_ours_behind_it() -> None:
    types = [2] * 4 + [0]
    theirs, _ = vision_model("qwen2-vl").get_rope_index(
        torch.zeros(1, 5, dtype=torch.long),
        torch.tensor([types], dtype=torch.int),
        video_grid_thw=torch.tensor([[4, MERGE, MERGE]]),
    )
    ours = mrope(laid_out([picture(4, 1, 1), text(1)]))
    assert theirs[:, 0, -1].tolist() == [1, 1, 1]  # the video itself reaches to 3
    assert ours[:, -1].tolist() == [4, 4, 4]


def test_after_a_sound_that_ends_early_the_published_tmrope_goes_on_inside_the_film_and_ours_behind_it() -> None:
    row = film_with_sound(6, 1, 1, 1.0, 60)  # 6 s of film, 2.4 s of sound: the last chunk is film
    assert row.spans[-1].modality == "image"
    short = film_with_sound(1, 9, 1, 1.0, 2)  # a picture of 9 rows, and 2 tokens of sound after it
    ids = [TEXT, VISION_START, AUDIO_START, *[VIDEO] * 9, *[AUDIO] * 2, AUDIO_END, VISION_END]
    theirs, _ = omni_model("qwen2.5-omni").get_rope_index(
        torch.tensor([ids]),
        video_grid_thw=torch.tensor([[1, 9 * MERGE, MERGE]]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        use_audio_in_video=True,
        audio_seqlens=torch.tensor([8]),
        second_per_grids=torch.tensor([1.0]),
    )
    ours = tmrope(laid_out([text(2), *short.spans, text(1)]))
    assert theirs[0, 0, -1] - 2 == 2  # right after the two tokens of sound, while rows reach to 8
    assert ours[0, -1] - 2 == 9
