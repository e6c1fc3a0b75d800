"""Ids equal those of tiktoken, tokenizers, transformers and sentencepiece for the same vocabulary."""

import base64
import json
from functools import cache
from itertools import product
from typing import Any

import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omni_tokenizers.text import PATTERNS, Text
from omni_tokenizers.text.patterns import GPT2, LLAMA3, O200K, QWEN2, TEKKEN
from omni_tokenizers.text.spelling import for_tiktoken
from omni_tokenizers.tokenizer import CannotStream
from tests.tokenizers.text_vocabularies import (
    ALL_PATTERNS,
    ANY_TEXT,
    SPECIAL,
    corpus,
    hub_json,
    merges_text,
    ranks,
    vocabulary,
    whisper_file,
)
from tokenizers import Tokenizer

fast = settings(max_examples=100, deadline=None)
HUB_PATTERNS = {"gpt2": GPT2, "llama3": LLAMA3, "qwen2": QWEN2, "o200k": O200K, "tekken": TEKKEN}


@cache
def published(name: str) -> tiktoken.Encoding:
    special = {token: len(ranks()) + i for i, token in enumerate(SPECIAL[:3])}  # no name is the head of another
    return tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks(), special_tokens=special)


@fast
@given(ANY_TEXT, st.sampled_from(ALL_PATTERNS))
def test_ids_equal_tiktoken(text: str, pattern: str):
    text = text.replace("<|end|>+", "")
    ours, theirs = vocabulary(pattern), published(pattern)
    assert ours.encode(text, special="text") == theirs.encode(text, disallowed_special=())
    assert ours.encode(text, special="allow") == theirs.encode(text, allowed_special="all")


@pytest.mark.parametrize("name", ["gpt2", "multilingual"])
def test_ids_equal_openai_whisper(name: str):
    from whisper.tokenizer import get_encoding

    theirs = get_encoding(name)
    ours = Text.load(whisper_file(name), pattern="gpt2", special=theirs._special_tokens)
    assert ours.size == theirs.n_vocab
    for text in corpus():
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text
    text = "<|startoftranscript|><|en|><|0.00|> hello<|2.00|>"
    assert ours.encode(text, special="allow") == theirs.encode(text, allowed_special="all")


def variants() -> dict[str, dict[str, Any]]:
    """Files that tiktoken can express, and files that it cannot."""
    found = {name: hub_json(pattern) for name, pattern in HUB_PATTERNS.items()}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    found["gpt2 as published"] = hub_json(GPT2, pre_tokenizer=level)
    found["llama3, whole pieces first"] = hub_json(LLAMA3, model={"ignore_merges": True})
    found["qwen2, composed"] = hub_json(QWEN2, normalizer={"type": "NFC"})
    old = hub_json(QWEN2, model={"merges": [" ".join(pair) for pair in json.loads(merges_text())]})
    old["pre_tokenizer"]["pretokenizers"][0] |= {"behavior": "Removed", "invert": True}
    found["qwen2, older files"] = old
    words = hub_json(QWEN2)
    for i, token in enumerate(("<think>", "  ", "</think>")):
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
        words["added_tokens"].append({"id": 2004 + i, "content": token, **flags})
    found["added tokens that are not special"] = words
    # From here on tiktoken cannot.
    merges = json.loads(merges_text())
    found["! merges out of order"] = hub_json(
        LLAMA3, model={"merges": [*merges[900:901], *merges[:900], *merges[901:]]}
    )
    found["! a token without a merge"] = hub_json(LLAMA3, model={"merges": merges[:700] + merges[701:]})
    found["! space in front"] = hub_json(GPT2, pre_tokenizer={**level, "add_prefix_space": True})
    found["! lowercase"] = hub_json(LLAMA3, normalizer={"type": "Lowercase"})
    several = hub_json(LLAMA3)
    digits = {"type": "Digits", "individual_digits": True}
    several["pre_tokenizer"]["pretokenizers"].insert(0, digits)
    found["! several splits"] = several
    strip = hub_json(LLAMA3)
    strip["added_tokens"][1]["lstrip"] = True
    found["! stripping special"] = strip
    return found


VARIANTS = variants()


@cache
def loaded(name: str) -> tuple[Text, Tokenizer, Tokenizer]:
    data = json.dumps(VARIANTS[name])
    as_text = Tokenizer.from_str(data)
    as_text.encode_special_tokens = True
    return Text.load(data.encode()), as_text, Tokenizer.from_str(data)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_engine_is_tiktoken_exactly_where_it_gives_the_same_ids(name: str):
    text = loaded(name)[0]
    assert text.engine == ("tokenizers" if name.startswith("!") else "tiktoken")
    assert (text.why is None) == (text.engine == "tiktoken")


@settings(max_examples=200, deadline=None)
@example("e\u0301 <think>  x</think>", "added tokens that are not special")
@given(ANY_TEXT, st.sampled_from(list(VARIANTS)))
def test_ids_equal_tokenizers(text: str, name: str):
    ours, as_text, as_special = loaded(name)
    expected = as_text.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, special="text") == expected
    assert ours.count(text, special="text") == len(expected)
    expected = as_special.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, special="allow") == expected
    assert ours.decode(expected) == as_special.decode(expected, skip_special_tokens=False)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_published_file_survives_our_own_format(tmp_path, name: str):
    ours = loaded(name)[0]
    again = Text.load(ours.save(tmp_path / "v.json"))
    assert (again.engine, again.special, again.size) == (ours.engine, ours.special, ours.size)
    for text in corpus():
        assert again.encode(text) == ours.encode(text)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_stream_equals_encode_for_every_published_file_that_can(data: st.DataObject):
    ours = loaded(data.draw(st.sampled_from(list(VARIANTS))))[0]
    text = data.draw(ANY_TEXT)
    try:
        stream = ours.stream(special="allow")
    except CannotStream:
        assert ours.engine == "tokenizers"
        return
    size = data.draw(st.integers(1, 9))
    ids = [number for at in range(0, len(text), size) for number in stream.push(text[at : at + size])]
    assert ids + stream.finish() == ours.encode(text, special="allow")


def test_ids_equal_transformers_from_a_folder(tmp_path):
    from transformers import PreTrainedTokenizerFast

    (tmp_path / "tokenizer.json").write_text(json.dumps(hub_json(LLAMA3)))
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    ours = Text.load(tmp_path)
    for text in corpus():
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
    text = "a<|end|> b <|user|>"
    assert ours.encode(text, special="allow") == theirs.encode(text, add_special_tokens=False)
    split = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert ours.encode(text, special="text") == split


def test_a_published_vocabulary_with_a_hole_is_refused():
    content = hub_json(LLAMA3)
    halves = {half for pair in content["model"]["merges"] for half in pair}
    gone = next(left + right for left, right in content["model"]["merges"][-50:] if left + right not in halves)
    del content["model"]["vocab"][gone]
    content["model"]["merges"] = [pair for pair in content["model"]["merges"] if "".join(pair) != gone]
    with pytest.raises(ValueError, match="hole"):
        Text.load(json.dumps(content).encode())
    with pytest.raises(ValueError, match="not whole JSON"):
        Text.load(json.dumps(content).encode()[:-20])


def test_tekken_files_put_their_special_tokens_first():
    entries = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for token, rank in ranks().items()
    ]
    config = {"pattern": TEKKEN, "num_vocab_tokens": 2100, "default_vocab_size": 1510, "default_num_special_tokens": 10}
    content = {
        "config": config,
        "vocab": entries,
        "special_tokens": [{"rank": 1, "token_str": "<s>", "is_control": True}],
    }
    ours = Text.load(json.dumps(content).encode())
    theirs = tiktoken.Encoding(
        "t", pat_str=TEKKEN, special_tokens={}, mergeable_ranks={t: r for t, r in ranks().items() if r < 1500}
    )
    assert ours.encode(corpus()[1]) == [10 + number for number in theirs.encode(corpus()[1])]
    assert ours.encode("<s>", special="allow") == [1]
    assert ours.size == 1510


def test_seams_hold_on_every_short_string_of_every_kind_of_character():
    import regex

    from omni_tokenizers.text.patterns import class_of, seams_of

    alphabet = ["a", "A", "あ", "\u0301", "1", "'", " ", "\n", "!", "/", "s"]
    for pattern in (*PATTERNS.values(), GPT2):
        split, seams = regex.compile(pattern, regex.V1), seams_of(pattern)
        assert seams is not None
        for letters in (t for size in (2, 3, 4) for t in product(alphabet, repeat=size)):
            text, whole = "".join(letters), None
            for at in range(1, len(text)):
                if class_of(text[at]) in seams.get(class_of(text[at - 1]), ()):
                    whole = whole or split.findall(text)
                    assert split.findall(text[:at]) + split.findall(text[at:]) == whole, (pattern, text, at)


def test_our_spelling_of_each_pattern_splits_every_short_string_as_the_published_one():
    import regex

    for pattern in (*PATTERNS.values(), GPT2):
        published_one, ours = regex.compile(pattern, regex.V1), regex.compile(for_tiktoken(pattern), regex.V1)
        for letters in (
            t for size in (1, 2, 3, 4) for t in product(["a", "A", "\u0301", "1", *"'\n\t !/s"], repeat=size)
        ):
            text = "".join(letters)
            assert ours.findall(text) == published_one.findall(text), (pattern, text)


def test_a_run_of_white_space_too_long_for_the_engine_is_a_clear_error():
    long = " " * 2_000_000 + "a"
    with pytest.raises(ValueError, match=r"2,000,001 characters.*cut the text"):
        vocabulary("llama3").encode(long)
    for name in ALL_PATTERNS:
        fits = " " * 50_000 + "a"
        assert vocabulary(name).decode(vocabulary(name).encode(fits)) == fits


# Sentencepiece

SHAPES = [
    {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
    },
    {"model_type": "unigram", "byte_fallback": False},
    {"model_type": "bpe", "byte_fallback": True, "add_dummy_prefix": False, "remove_extra_whitespaces": False},
    {"model_type": "unigram", "byte_fallback": True, "user_defined_symbols": ["<tool>"]},
]


@cache
def piece_models() -> list[bytes]:
    import io

    import sentencepiece

    made = []
    for shape in SHAPES:
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter("\n".join(corpus()).splitlines()[:1500]),
            model_writer=out,
            vocab_size=700,
            character_coverage=0.99,
            minloglevel=2,
            hard_vocab_limit=False,
            num_threads=1,
            **shape,
        )
        made.append(out.getvalue())
    return made


@cache
def piece_pair(index: int) -> tuple[Text, Any]:
    import sentencepiece

    data = piece_models()[index]
    return Text.load(data), sentencepiece.SentencePieceProcessor(model_proto=data)


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT, st.integers(0, len(SHAPES) - 1))
def test_ids_and_text_equal_sentencepiece(text: str, index: int):
    ours, theirs = piece_pair(index)
    ids = theirs.encode(text)
    assert ours.encode(text, special="text") == ids
    assert ours.count(text, special="text") == len(ids)
    assert ours.decode(ids) == theirs.decode(ids)
    decoder = ours.decoder()
    assert "".join([decoder.push(number) for number in ids]) + decoder.finish() == theirs.decode(ids)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(0, len(SHAPES) - 1))
def test_decode_equals_sentencepiece_for_any_pieces(data: st.DataObject, index: int):
    ours, theirs = piece_pair(index)
    plain = [i for i in range(ours.size) if not theirs.is_byte(i) and not theirs.is_control(i)]
    ids = data.draw(st.lists(st.sampled_from(plain), max_size=12))
    assert ours.decode(ids) == theirs.decode(ids)


def test_sentencepiece_models_are_saved_and_refuse_to_stream(tmp_path):
    ours, theirs = piece_pair(0)
    again = Text.load(ours.save(tmp_path / "v.json"))
    assert again.encode(corpus()[0]) == theirs.encode(corpus()[0])
    assert ours.special == {"<s>": 1, "</s>": 2}
    with pytest.raises(ValueError, match="special token '</s>'"):
        ours.encode("over</s>")
    assert 2 not in ours.encode("over</s>", special="text")
    assert ours.encode("over</s>", special="allow")[-1] == 2
    with pytest.raises(CannotStream, match="whole text"):
        ours.stream()
    with pytest.raises(ValueError, match="surrogate"):
        ours.encode("\ud800")


@pytest.mark.parametrize("kept", [3, 40, 5000])
def test_a_sentencepiece_model_cut_short_is_refused(kept: int):
    with pytest.raises(ValueError):  # noqa: PT011
        Text.load(piece_models()[0][:kept])
