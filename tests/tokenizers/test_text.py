import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.text import SpecialTokenInText, Text
from omni_tokenizers.text.bytelevel import ByteLevel
from omni_tokenizers.text.patterns import LLAMA3, QWEN2
from tests.tokenizers.text_vocabularies import (
    ALL_PATTERNS,
    ANY_TEXT,
    SPECIAL,
    corpus,
    hub_json,
    ranks,
    tiktoken_file,
    vocabulary,
    whisper_file,
)

fast = settings(max_examples=50, deadline=None)


@fast
@given(ANY_TEXT, st.sampled_from(ALL_PATTERNS))
def test_decode_gives_every_text_back(text: str, pattern: str):
    one = vocabulary(pattern)
    ids = one.encode(text, special="text")
    assert one.decode(ids) == text
    assert one.decode_bytes(ids) == text.encode()
    assert one.decode(one.encode(text, special="allow")) == text


@fast
@given(st.binary(max_size=80))
def test_every_byte_string_has_ids_and_comes_back(data: bytes):
    one = vocabulary("cl100k")
    ids = [ranks()[bytes([byte])] for byte in data]
    assert one.decode_bytes(ids) == data
    assert one.decode(ids) == data.decode("utf-8", "replace")


@fast
@given(ANY_TEXT, st.sampled_from(["text", "allow"]))
def test_count_and_array_and_batch_agree_with_encode(text: str, policy: str):
    one = vocabulary("o200k")
    ids = one.encode(text, special=policy)
    assert one.count(text, special=policy) == len(ids)
    array = one.encode_array(text, special=policy)
    assert array.dtype == np.int32
    assert array.tolist() == ids
    assert one.encode_batch([text, "", text], special=policy, threads=2) == [ids, [], ids]


def test_a_special_name_in_text_is_an_error_by_default_and_says_what_to_do():
    one = vocabulary("cl100k")
    for call in (one.encode, one.count, one.encode_array, lambda text: one.encode_batch(["fine", text])):
        with pytest.raises(SpecialTokenInText, match=r"'<\|user\|>' at character 3.*special=\"text\"") as caught:
            call("hi <|user|>")
        assert caught.value.name == "<|user|>"
    assert one.special["<|user|>"] not in one.encode("hi <|user|>", special="text")
    assert one.encode("hi <|user|>", special="allow")[-1] == one.special["<|user|>"]


def test_a_set_of_names_allows_those_and_refuses_the_others():
    one = vocabulary("cl100k")
    assert one.encode("<|user|>", special={"<|user|>"}) == [one.special["<|user|>"]]
    with pytest.raises(SpecialTokenInText):
        one.encode("<|user|><|end|>", special={"<|user|>"})
    with pytest.raises(ValueError, match="not a special token of this vocabulary"):
        one.encode("x", special={"<|nobody|>"})
    with pytest.raises(ValueError, match="not a policy"):
        one.encode("x", special="yes")
    with pytest.raises(TypeError, match="set of names"):
        one.encode("x", special=None)


def test_the_longest_special_name_wins():
    one = vocabulary("cl100k")
    assert one.encode("<|end|>+", special="allow") == [one.special["<|end|>+"]]
    assert one.encode("<|end|>-", special="allow")[0] == one.special["<|end|>"]


def test_what_is_not_text_is_refused():
    one = vocabulary("cl100k")
    for call in (one.encode, one.count, one.encode_array):
        with pytest.raises(TypeError, match="not bytes"):
            call(b"bytes")
        with pytest.raises(ValueError, match=r"surrogate U\+D800 at character 2"):
            call("ab\ud800")
    composing = Text(ByteLevel(ranks(), QWEN2, special={}, added={}, composes=True))
    for call in (composing.encode, composing.count, composing.encode_array):
        with pytest.raises(ValueError, match=r"surrogate U\+D800 at character 2"):
            call("ab\ud800")
    with pytest.raises(TypeError, match="use encode"):
        one.encode_batch("one text")


@pytest.mark.parametrize("wrong", [-1, 10**6, 2**40, "a", None, [1], 1.5])
def test_an_id_that_is_not_in_the_vocabulary_is_refused_by_name(wrong: object):
    one = vocabulary("cl100k")
    with pytest.raises(ValueError, match="not in this vocabulary"):
        one.decode([5, wrong])
    decoder = one.decoder()
    with pytest.raises(ValueError, match="not in this vocabulary"):
        decoder.push(wrong)


def test_decode_takes_arrays_and_skips_special_tokens_on_demand():
    one = vocabulary("cl100k")
    ids = np.array(one.encode("a<|end|>b", special="allow"))
    assert one.decode(ids) == "a<|end|>b"
    assert one.decode(ids, skip_special=True) == "ab"
    with pytest.raises(TypeError):
        one.decode("12")
    for single in (3, np.int64(3), np.array(3), torch.tensor(3)):
        with pytest.raises(TypeError, match=r"pass \[3\]"):
            one.decode(single)


def test_training_is_reproducible_and_respects_its_size():
    first = Text.train(corpus(), vocab_size=600, special=SPECIAL)
    again = Text.train(iter(corpus()), vocab_size=600, special=SPECIAL)
    assert first.size == 600
    assert sorted(first.special.values()) == [596, 597, 598, 599]
    sample = corpus()[0][:3000]
    assert first.encode(sample) == again.encode(sample)
    assert len(first.encode(sample)) < len(sample) / 1.5
    assert first.engine == "tiktoken"


def test_training_refuses_what_cannot_be_trained():
    with pytest.raises(ValueError, match="vocab_size is 100"):
        Text.train(["x"], vocab_size=100)
    with pytest.raises(TypeError, match="not one str"):
        Text.train("x", vocab_size=300)
    with pytest.raises(TypeError, match="text 1 is int"):
        Text.train(["x", 3], vocab_size=300)
    with pytest.raises(ValueError, match="different"):
        Text.train(["x"], vocab_size=300, special=["<s>", "<s>"])


@pytest.mark.parametrize("pattern", ["cl100k_base", r"\w+", r"[ -~]+", r"\S+"])
def test_a_pattern_that_would_lose_text_is_refused(pattern: str):
    with pytest.raises(ValueError, match=r"does not match every character.*cl100k"):
        Text.load(tiktoken_file(ranks()), pattern=pattern)
    with pytest.raises(ValueError, match="does not match every character"):
        Text.train(map(pytest.fail, ["the texts were read"]), vocab_size=300, pattern=pattern)
    assert Text.load(tiktoken_file(ranks()), pattern=r"\w+|\W").decode([104, 105]) == "hi"


def test_a_pattern_that_does_not_compile_is_refused_before_training():
    with pytest.raises(ValueError, match="does not compile"):
        Text.train(["x"], vocab_size=300, pattern="(")


@pytest.mark.parametrize("pattern", ALL_PATTERNS)
def test_save_and_load_keep_every_id(tmp_path, pattern: str):
    one = vocabulary(pattern)
    again = Text.load(one.save(tmp_path / "v.json"))
    assert (again.size, again.special, again.engine) == (one.size, one.special, one.engine)
    for text in corpus():
        assert again.encode(text) == one.encode(text)
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_is_loaded_by_what_is_in_it(tmp_path):
    with pytest.raises(ValueError, match="no vocabulary"):
        Text.load(tmp_path)
    vocabulary("cl100k").save(tmp_path)
    assert Text.load(tmp_path).encode("hello") == vocabulary("cl100k").encode("hello")
    with pytest.raises(ValueError, match="no file or folder"):
        Text.load(tmp_path / "nowhere")
    with pytest.raises(TypeError):
        Text.load(7)


def test_a_tiktoken_file_needs_its_pattern():
    with pytest.raises(ValueError, match="pass pattern="):
        Text.load(whisper_file("gpt2"))


def test_damaged_tiktoken_files_are_refused_with_the_line():
    good = tiktoken_file(ranks())
    lines = good.splitlines(keepends=True)
    with pytest.raises(ValueError, match="hole at 700"):
        Text.load(b"".join(lines[:700] + lines[701:]), pattern="cl100k")
    with pytest.raises(ValueError, match="no token for 1 of the 256 bytes"):
        Text.load(tiktoken_file({t: r - (r > 65) for t, r in ranks().items() if t != b"A"}), pattern="cl100k")
    with pytest.raises(ValueError, match="line 2000"):
        Text.load(good.rstrip()[:-5], pattern="cl100k")
    with pytest.raises(ValueError, match="twice"):
        Text.load(good + lines[0], pattern="cl100k")
    with pytest.raises(ValueError, match="does not compile"):
        Text.load(good, pattern="(")
    with pytest.raises(ValueError, match="which another token has"):
        Text.load(good, pattern="cl100k", special={"<s>": 3})


def test_special_tokens_need_a_name_and_an_id_that_can_be_one():
    file = tiktoken_file(ranks())
    with pytest.raises(ValueError, match="id 2000 has an empty name"):
        Text.load(file, pattern="cl100k", special=[""])
    for number in (-1, 2**31):
        with pytest.raises(ValueError, match=f"{number}.*must lie in"):
            Text.load(file, pattern="cl100k", special={"<s>": number})
    passed_over = Text.load(json.dumps(hub_json(LLAMA3, special=("",))).encode())
    assert passed_over.encode("hello") == Text.load(file, pattern="llama3").encode("hello")
    assert passed_over.special == {}


def test_a_special_token_may_stand_between_the_ranks_where_its_id_is_given():
    moved = {token: rank + (rank >= 700) for token, rank in ranks().items()}
    one = Text.load(tiktoken_file(moved), pattern="cl100k", special={"<s>": 700})
    plain = Text.load(tiktoken_file(ranks()), pattern="cl100k").encode(corpus()[0])
    assert one.encode(corpus()[0]) == [number + (number >= 700) for number in plain]
    assert one.decode([700]) == "<s>"
    for special in ({}, {"<s>": 2001}, ["<s>"]):
        with pytest.raises(ValueError, match="hole at 700"):
            Text.load(tiktoken_file(moved), pattern="cl100k", special=special)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n1234", b"{", b'{"a": 1}', b"hello world", b"[1, 2]", b"\x0a\x0eabc", b"\xff" * 40]
)
def test_other_kinds_of_file_are_refused(data: bytes):
    with pytest.raises(ValueError):  # noqa: PT011
        Text.load(data)


def test_our_own_file_cut_short_or_from_the_future_is_refused(tmp_path):
    path = vocabulary("cl100k").save(tmp_path / "v.json")
    data = path.read_bytes()
    with pytest.raises(ValueError, match="not whole JSON"):
        Text.load(data[:-100])
    content = json.loads(data)
    with pytest.raises(ValueError, match="version 9"):
        Text.load(json.dumps({**content, "version": 9}).encode())
    del content["state"]["pattern"]
    with pytest.raises(ValueError, match="damaged"):
        Text.load(json.dumps(content).encode())
