"""A sequence's ids, spans and payloads stay together, whatever is done to it."""

import copy
import json
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.audio import LogMel
from omni_tokenizers.sequence import (
    Encoded,
    Frames,
    Image,
    Omni,
    Sequence,
    Span,
    Tagged,
    concatenate,
    join,
    pack,
    pack_into,
    pad_together,
    unpack,
)
from omni_tokenizers.sequence.positions import linear, mrope, tmrope
from tests.tokenizers.mixed_parts import anything, noise, omni, pixels, several

OMNI = omni()
quick = settings(max_examples=40, deadline=None)


def tracked(sequence: Sequence) -> Sequence:
    """The same sequence with one more array a span: the number of each token, to follow it wherever it goes."""
    payloads = tuple(
        {**payload, "number": np.arange(span.start, span.stop)}
        for span, payload in zip(sequence.spans, sequence.payloads, strict=True)
    )
    return Sequence(sequence.ids, sequence.spans, payloads, sequence.kinds, sequence.pad_id, sequence.scheme)


def numbers(sequence: Sequence) -> list[int]:
    return [
        int(n) for span, p in zip(sequence.spans, sequence.payloads, strict=True) if "number" in p for n in p["number"]
    ]


def allowed_cuts(sequence: Sequence) -> list[int]:
    inside = {at for span in sequence.spans if span.whole for at in range(span.start + 1, span.stop)}
    return [at for at in range(len(sequence) + 1) if at not in inside]


@quick
@given(parts=several, data=st.data())
def test_a_slice_keeps_every_token_with_its_id_its_payload_and_its_modality(parts: list[Any], data: Any) -> None:
    whole = tracked(OMNI.encode(parts))
    start, stop = sorted(data.draw(st.tuples(*[st.sampled_from(allowed_cuts(whole))] * 2)))
    piece = whole.slice(start, stop)
    assert numbers(piece) == list(range(start, stop))
    assert piece.ids.tolist() == whole.ids[start:stop].tolist()
    assert piece.modality.tolist() == whole.modality[start:stop].tolist()
    assert len(piece.mask()) == len(piece) == piece.positions.shape[-1]


@quick
@given(parts=several, data=st.data())
def test_the_pieces_of_a_cut_sequence_join_to_the_same_sequence(parts: list[Any], data: Any) -> None:
    whole = OMNI.encode(parts)
    # Without a single token, every cut would be all of it.
    cuts = sorted(data.draw(st.lists(st.sampled_from(allowed_cuts(whole)), max_size=4 if len(whole) else 0)))
    edges = [0, *cuts, len(whole)]
    assert join([whole.slice(a, b) for a, b in pairwise(edges)]) == whole


def test_a_cut_inside_a_picture_is_refused_and_names_the_places_that_are_free() -> None:
    sequence = OMNI.encode(["ab", Image(pixels(0, 2, 2)), "c"])
    with pytest.raises(ValueError, match=r"tokens 2 to 6, which is one whole: cut at 2 or 6"):
        sequence.slice(0, 4)
    with pytest.raises(ValueError, match=r"slice\(3, 99\) is outside 0 … 7"):
        sequence.slice(3, 99)


@quick
@given(parts=several, limit=st.integers(0, 60), keep=st.sampled_from(["start", "end"]), cut=st.booleans())
def test_truncation_never_cuts_a_span_and_says_all_that_it_dropped(
    parts: list[Any], limit: int, keep: Any, cut: bool
) -> None:
    whole = tracked(OMNI.encode(parts))
    kept, dropped = whole.truncate(limit, keep=keep, cut=("text",) if cut else ())
    assert len(kept) <= limit or kept == whole
    gone = [number for span in dropped for number in range(span.start, span.stop)]
    assert sorted(numbers(kept) + gone) == list(range(len(whole)))
    whole_spans = {(span.modality, span.part, span.length) for span in whole.spans}
    for span in kept.spans:
        assert (span.modality, span.part, span.length) in whole_spans or (cut and span.modality == "text")
    if not cut and dropped:  # it kept as much as fits: one more span would have been too many
        nearest = dropped[0] if keep == "start" else dropped[-1]
        assert len(kept) + nearest.length > limit or nearest.length == 0


def test_truncation_in_words() -> None:
    sequence = OMNI.encode(["abc", Image(pixels(0, 2, 3)), "de"])
    assert str(sequence.truncate(8)) == "kept 3 of 11 tokens, dropped image 6 at 3, text 2 at 9"
    assert str(sequence.truncate(99)) == "kept all 11 tokens"
    with pytest.raises(ValueError, match=r"cut names smell"):
        sequence.truncate(3, cut=("smell",))


@quick
@given(rows=st.lists(several, min_size=1, max_size=4), side=st.sampled_from(["left", "right"]))
def test_a_pack_gives_its_documents_back_and_counts_positions_anew(rows: list[Any], side: Any) -> None:
    sequences = [OMNI.encode(parts) for parts in rows]
    packed = pack(sequences)
    padded = packed.pad(len(packed) + 3, side=side)
    full = [sequence for sequence in sequences if sequence.spans]
    assert unpack(padded) == full
    assert packed.documents == len(full)
    for scheme in (linear, mrope, tmrope):
        apart = [scheme(sequence.spans) for sequence in sequences]
        np.testing.assert_array_equal(scheme(packed.spans), np.concatenate(apart, axis=-1))
    assert pack([packed, packed]) == pack([*sequences, *sequences])


@quick
@given(parts=several, extra=st.integers(0, 5), side=st.sampled_from(["left", "right"]))
def test_padding_adds_only_padding(parts: list[Any], extra: int, side: Any) -> None:
    sequence = OMNI.encode(parts)
    padded = sequence.pad(len(sequence) + extra, side=side)
    begin = extra if side == "left" else 0
    assert padded.slice(begin, begin + len(sequence)).ids.tolist() == sequence.ids.tolist()
    assert (padded.ids == sequence.pad_id).sum() == extra
    assert (padded.modality == padded.kinds.index("pad")).sum() == extra
    assert OMNI.decode(padded) == OMNI.decode(sequence)
    with pytest.raises(ValueError, match="truncate it first"):
        padded.pad(len(padded) - 1)


@quick
@given(rows=st.lists(several, min_size=2, max_size=3))
def test_appending_sequences_is_encoding_their_parts_in_a_row(rows: list[Any]) -> None:
    assert concatenate([OMNI.encode(parts) for parts in rows]) == OMNI.encode(
        [part for parts in rows for part in parts]
    )


@quick
@given(lengths=st.lists(st.integers(0, 20), min_size=1, max_size=9))
def test_bins_hold_every_sequence_once_and_never_more_than_their_limit(lengths: list[int]) -> None:
    packs = pack_into([OMNI.encode("x" * length) for length in lengths], 20)
    assert all(len(packed) <= 20 for packed in packs)
    assert sorted(len(document) for packed in packs for document in unpack(packed)) == sorted(lengths)


def test_rows_of_a_batch_are_equally_long() -> None:
    rows = pad_together([OMNI.encode("abc"), OMNI.encode("a")], multiple=8)
    assert [len(row) for row in rows] == [8, 8]


def test_sequences_may_come_from_a_generator() -> None:
    rows = [OMNI.encode("abc"), OMNI.encode("de")]
    assert pad_together(row for row in rows) == pad_together(rows)
    assert pack_into((row for row in rows), 8) == pack_into(rows, 8) == [pack(row for row in rows)]


def test_a_batch_of_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple=0 must be 1 or more"):
        pad_together([OMNI.encode("a")], multiple=0)


@quick
@given(parts=several)
def test_a_saved_sequence_is_loaded_to_the_bit(parts: list[Any], tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("saved")
    sequence = pack([OMNI.encode(parts), OMNI.encode("end")]).in_scheme("mrope").pad(200)
    sequence.save(folder)
    loaded = OMNI.load(folder)
    assert loaded == sequence
    assert OMNI.decode(loaded) == OMNI.decode(sequence)


def test_a_sequence_from_another_process_has_everything_but_what_shows_its_words() -> None:
    whole = OMNI.encode(["ab", Image(pixels(0, 4, 6)), "c"])
    assert whole.positions.shape == (len(whole),)
    came = pickle.loads(pickle.dumps(whole))  # noqa: S301
    assert came == whole
    assert came.reader is None
    assert not came.ids.flags.writeable
    assert not came.payloads[1]["values"].flags.writeable
    assert not came.positions.flags.writeable
    assert pack([came, came.slice(0, 2)]) == pack([whole, whole.slice(0, 2)])
    assert OMNI.decode(came)[0] == "ab"
    assert "#97 #98" in came.show(colour=False)
    assert '"ab"' in replace(came, reader=OMNI).show(colour=False)
    for again in (copy.copy(whole), copy.deepcopy(whole)):
        assert again == whole
        assert again.reader is OMNI


def test_another_byte_order_and_keys_that_are_numbers_are_saved_too(tmp_path: Path) -> None:
    class Odd:
        def encode(self, part: Any) -> Encoded:
            return Encoded({"values": np.arange(3, dtype=">f4")}, meta={"sizes": {1: (2, 3)}})

        count = decode = stream = encode

    sequence = Omni(odd=Odd()).encode(Tagged("odd", None))
    sequence.save(tmp_path)
    assert Sequence.load(tmp_path) == sequence
    assert sequence.to("cpu").values["odd"]["values"].tolist() == [0, 1, 2]


def test_a_folder_that_is_no_saved_sequence_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sequence.json is missing"):
        Sequence.load(tmp_path)
    OMNI.encode("abc").save(tmp_path)
    about = json.loads((tmp_path / "sequence.json").read_text())
    (tmp_path / "sequence.json").write_text(json.dumps({**about, "spans": [5]}))
    with pytest.raises(ValueError, match="do not belong together"):
        Sequence.load(tmp_path)
    (tmp_path / "sequence.safetensors").write_bytes(b"\x00" * 7)
    with pytest.raises(ValueError, match="cannot be read"):
        Sequence.load(tmp_path)
    (tmp_path / "sequence.json").write_text('{"format": "other"}')
    with pytest.raises(ValueError, match='"format" is not "omni-sequence"'):
        Sequence.load(tmp_path)


@quick
@given(rows=st.lists(several, min_size=1, max_size=3), extra=st.integers(0, 4), window=st.integers(1, 9) | st.none())
def test_the_mask_is_what_its_formula_says_token_by_token(rows: list[Any], extra: int, window: int | None) -> None:
    packed = pack([OMNI.encode(parts).slice(0, None) for parts in rows])
    packed = packed.pad(len(packed) + extra)
    # One prefix span in each document, to have all three policies.
    spans = tuple(
        Span(**{**vars(span), "attention": "prefix"}) if span.modality == "codec" else span for span in packed.spans
    )
    owner = [span for span in spans for _ in range(span.length)]
    mask = Sequence(packed.ids, spans, packed.payloads, packed.kinds).mask(window=window)

    def sees(q: int, k: int) -> bool:
        looking, seen = owner[q], owner[k]
        if q == k:
            return True
        if "pad" in (looking.modality, seen.modality) or looking.document != seen.document:
            return False
        if looking is seen and looking.attention == "bidirectional":
            return True
        if looking.attention == seen.attention == "prefix":
            return True
        return k < q and (window is None or q - k < window)

    expected = [[sees(q, k) for k in range(len(owner))] for q in range(len(owner))]
    assert mask.tolist() == expected


def test_a_step_of_decoding_asks_for_its_own_rows_of_the_mask() -> None:
    sequence = OMNI.encode(["ab", Image(pixels(0, 2, 2)), "cd"])
    np.testing.assert_array_equal(sequence.mask(queries=slice(6, 8)), sequence.mask()[6:8])


def test_tensors_carry_every_payload_to_the_tokens_it_belongs_to() -> None:
    sequence = pack([OMNI.encode(["ab", Image(pixels(i, 2, 2)), Frames("audio", noise(i, 9, 80))]) for i in (0, 1)])
    tensors = sequence.in_scheme("mrope").pad(30).to("cpu", dtype=torch.bfloat16)
    assert tensors.positions.shape == (3, 30)
    assert tensors.values["image"]["values"].dtype == torch.bfloat16
    assert tensors.values["image"]["places"].dtype == torch.int32
    where = tensors.where["audio"]
    assert tensors.ids[where].unique().tolist() == [OMNI.placeholders["audio"]]
    expected = torch.tensor(np.concatenate([p["values"] for p in (sequence.payloads[2], sequence.payloads[5])]))
    torch.testing.assert_close(tensors.values["audio"]["values"], expected.bfloat16())
    np.testing.assert_array_equal(tensors.mask().numpy(), sequence.pad(30).mask())
    row = tensors.mask(additive=torch.float32).softmax(-1)
    assert torch.isfinite(row).all()


def test_tensors_of_payloads_that_do_not_fit_together_are_refused() -> None:
    other = omni(audio=LogMel(bins=128, floor="fixed"))
    mixed = concatenate(
        [OMNI.encode(Frames("audio", noise(0, 8, 80))), other.encode(Frames("audio", noise(0, 8, 128)))]
    )
    with pytest.raises(ValueError, match="the audio spans do not have one shape"):
        mixed.to("cpu")


@pytest.mark.parametrize("names", [("", "a"), ("a", ""), ("a", "ab"), ("ab", "a")])
def test_tensors_never_leave_out_an_array_that_only_some_spans_have(names: tuple[str, str]) -> None:
    payloads = tuple({name: np.zeros((2, 3)) for name in of_one} for of_one in names)
    uneven = Sequence(np.zeros(4, int), (Span("audio", 0, 2), Span("audio", 2, 2, part=1)), payloads)
    with pytest.raises(ValueError, match=r"one shape of '[ab]' a token, they have \(3,\), none"):
        uneven.to("cpu")


@quick
@given(part=anything)
def test_a_sequence_never_hands_out_memory_that_could_be_changed(part: Any) -> None:
    sequence = OMNI.encode(part)
    for array in (sequence.ids, sequence.modality, *(a for payload in sequence.payloads for a in payload.values())):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_payloads_that_do_not_match_their_span_are_refused() -> None:
    span = Span("audio", 0, 3)
    with pytest.raises(ValueError, match=r"audio at token 0 has 3 tokens, but its array 'values' has 2 rows"):
        Sequence(np.zeros(3, int), (span,), ({"values": np.zeros((2, 4))},))
    with pytest.raises(ValueError, match="the spans cover 3 tokens, the sequence has 4"):
        Sequence(np.zeros(4, int), (span,), ({},))
    with pytest.raises(ValueError, match="the modality 'smell' is not one of"):
        Sequence(np.zeros(3, int), (Span("smell", 0, 3),), ({},))
    with pytest.raises(ValueError, match="13 units do not fill 3 audio tokens of 4 units each"):
        Span("audio", 0, 3, group=4, units=13)


def test_sequences_of_different_settings_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="made by different settings"):
        pack([OMNI.encode("a"), omni(positions="mrope").encode("a")])


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_cut_sound_knows_its_real_frames(cut: int) -> None:
    rows = noise(0, 21, 80)
    sequence = OMNI.encode(Frames("audio", rows))
    head, tail = OMNI.decode(sequence.slice(0, cut)), OMNI.decode(sequence.slice(cut))
    np.testing.assert_array_equal(np.concatenate([head[0].frames, *(part.frames for part in tail)]), rows)


@pytest.mark.parametrize("parts", [["", "", "ab"], ["ab", "", ""], ["", "a", "", "b", ""]])
def test_empty_parts_survive_a_cut_at_either_end(parts: list[str]) -> None:
    whole = OMNI.encode(parts)
    for cut in range(len(whole) + 1):
        assert OMNI.decode(join([whole.slice(0, cut), whole.slice(cut)])) == parts
