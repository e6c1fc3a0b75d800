import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.text import Text
from omni_tokenizers.tokenizer import CannotStream
from tests.tokenizers.text_vocabularies import (
    ALL_PATTERNS,
    SPECIAL,
    corpus,
    cut_text,
    hub_json,
    ranks,
    tiktoken_file,
    vocabulary,
    whisper_file,
)

fast = settings(max_examples=200, deadline=None)


@fast
@given(cut_text(), st.sampled_from(ALL_PATTERNS), st.sampled_from(["text", "allow"]))
def test_stream_equals_encode_for_every_cut(pieces: list[str], pattern: str, policy: str):
    one = vocabulary(pattern)
    stream = one.stream(special=policy)
    ids = [number for piece in pieces for number in stream.push(piece)]
    assert ids + stream.finish() == one.encode("".join(pieces), special=policy)


@fast
@given(cut_text(), st.sampled_from(ALL_PATTERNS), st.sampled_from(["text", "allow"]))
def test_counter_equals_encode_after_every_append(pieces: list[str], pattern: str, policy: str):
    one = vocabulary(pattern)
    counter, so_far = one.counter(special=policy), ""
    assert counter.count == 0
    for piece in pieces:
        counter.append(piece)
        so_far += piece
        assert counter.count == len(one.encode(so_far, special=policy))


def composing() -> Text:
    import json

    from omni_tokenizers.text.patterns import QWEN2

    return Text.load(json.dumps(hub_json(QWEN2, normalizer={"type": "NFC"})).encode())


COMPOSING = composing()


@fast
@given(cut_text(), st.sampled_from(["text", "allow"]))
def test_stream_equals_encode_where_text_is_composed_first(pieces: list[str], policy: str):
    stream = COMPOSING.stream(special=policy)
    ids = [number for piece in pieces for number in stream.push(piece)]
    assert ids + stream.finish() == COMPOSING.encode("".join(pieces), special=policy)


@pytest.mark.parametrize("pattern", ALL_PATTERNS)
def test_every_chunk_size_gives_the_same_ids_on_real_text(pattern: str):
    one, text = vocabulary(pattern), corpus()[0][:6000] + corpus()[-1][:400]
    whole = one.encode(text)
    for size in (1, 2, 3, 7, 64, 1000):
        stream = one.stream()
        ids = [number for at in range(0, len(text), size) for number in stream.push(text[at : at + size])]
        assert ids + stream.finish() == whole


def test_a_stream_gives_ids_as_soon_as_a_word_is_over():
    one = vocabulary("cl100k")
    stream = one.stream()
    assert stream.push("hello") == []
    assert stream.push(" ") == one.encode("hello")
    assert stream.push("w") == []


def test_a_special_name_cut_in_two_is_still_found():
    stream = vocabulary("cl100k").stream()
    stream.push("hi <|us")
    with pytest.raises(ValueError, match="special token"):
        stream.push("er|> x")


@pytest.mark.parametrize("unit", ["a", " "])
def test_an_endless_run_costs_no_more_a_character_than_a_short_one(unit: str):
    one = vocabulary("cl100k")

    def seconds(count: int) -> float:
        stream = one.stream(special="allow")
        begin = time.process_time()
        for _ in range(count):
            stream.push(unit)
        return time.process_time() - begin

    seconds(2_000)
    short = min(seconds(4_000) for _ in range(3))
    assert seconds(64_000) < 16 * short * 4  # quadratic would be 16 times over


def test_a_finished_stream_takes_nothing_more():
    stream = vocabulary("cl100k").stream()
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push("x")
    with pytest.raises(ValueError, match="finished"):
        stream.finish()
    with pytest.raises(TypeError):
        vocabulary("cl100k").stream().push(b"x")
    with pytest.raises(TypeError):
        vocabulary("cl100k").counter().append(b"x")


def test_an_unknown_pattern_refuses_to_stream_and_says_why():
    one = Text.load(tiktoken_file(ranks()), pattern=r"\S+|\s+")
    with pytest.raises(CannotStream, match="no safe place to cut"):
        one.stream()
    with pytest.raises(CannotStream):
        one.counter()


# Decoder


@fast
@given(st.binary(max_size=60))
def test_decoder_equals_decode_and_never_splits_a_character(data: bytes):
    one = vocabulary("cl100k")
    decoder = one.decoder()
    pushed = [decoder.push(ranks()[bytes([byte])]) for byte in data]
    assert "".join(pushed) + decoder.finish() == data.decode("utf-8", "replace")


@fast
@given(st.lists(st.integers(0, 2003), max_size=60))
def test_decoder_equals_decode_for_any_ids(ids: list[int]):
    one = vocabulary("gpt2")
    decoder = one.decoder()
    assert "".join([decoder.push(number) for number in ids]) + decoder.finish() == one.decode(ids)


def test_decoder_keeps_a_real_replacement_character():
    one = vocabulary("cl100k")
    decoder = one.decoder()
    said = [decoder.push(number) for number in one.encode("a\ufffd")]
    assert "".join(said) == "a\ufffd"
    assert decoder.finish() == ""


def test_decoder_gives_a_truncated_tail_at_the_end():
    one = vocabulary("cl100k")
    ids = [ranks()[bytes([byte])] for byte in "😀".encode()]
    decoder = one.decoder()
    assert [decoder.push(number) for number in ids[:3]] == ["", "", ""]
    assert decoder.finish() == "\ufffd"
    strict = one.decoder(errors="strict")
    strict.push(ids[0])
    with pytest.raises(UnicodeDecodeError):
        strict.finish()


def test_decoder_skips_special_tokens_on_demand_and_closes():
    one = vocabulary("cl100k")
    decoder = one.decoder(skip_special=True)
    assert decoder.push(one.special[SPECIAL[0]]) == ""
    decoder.finish()
    with pytest.raises(ValueError, match="finished"):
        decoder.push(5)


def test_decoder_gives_whispers_text_piece_by_piece():
    one = Text.load(whisper_file("multilingual"), pattern="gpt2")
    text = corpus()[-1]
    decoder = one.decoder()
    assert "".join([decoder.push(number) for number in one.encode(text)]) + decoder.finish() == text
