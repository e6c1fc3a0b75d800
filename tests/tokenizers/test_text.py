import copy
import enum
import json
import pickle
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

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
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

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
    assert one.encode_batch(iter([text, ""]), special=policy) == [ids, []]


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


@pytest.mark.parametrize("whole", [np.int64, np.uint8, torch.tensor])
def test_an_id_may_be_any_kind_of_whole_number(whole: Any):
    one = vocabulary("cl100k")
    ids = one.encode("hi")
    assert one.decode([whole(number) for number in ids]) == "hi"
    assert one.decode([*ids, whole(ids[0])], skip_special=True) == "hih"
    decoder = one.decoder()
    assert "".join(decoder.push(whole(number)) for number in ids) == "hi"
    for refused in (decoder.push, lambda number: one.decode([number]), lambda number: one.decode(np.array([number]))):
        with pytest.raises(ValueError, match="not in this vocabulary"):
            refused(float(ids[0]))
    words = Text.load(Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).to_str().encode())
    assert words.decode([whole(1), 0]) == "b a"
    for wrong in (whole(7), 1.0, -1, None):
        with pytest.raises(ValueError, match="not in this vocabulary of 2 ids"):
            words.decode([wrong])


def test_added_tokens_of_a_vocabulary_with_byte_fallback_decode_as_their_own_library_decodes_them():
    runs = ["\n\n", "▁▁", "▁▁▁"]
    pieces = ["<eos>", "<unk>", *runs, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "ab"]
    merges = [("▁", "▁"), ("▁▁", "▁"), ("a", "b")]
    theirs = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, merges, byte_fallback=True, unk_token="<unk>")
    )
    theirs.normalizer = normalizers.Replace(" ", "▁")
    theirs.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    theirs.add_special_tokens(["<eos>", "<unk>"])
    theirs.add_tokens([AddedToken(run, normalized=False) for run in runs])
    ours = Text.load(theirs.to_str().encode())
    for text in ("ab  a", "ab   a\n\nb", "a é<eos>", "▁▁"):
        ids = ours.encode(text, special="allow")
        written = theirs.decode(ids, skip_special_tokens=False)
        assert ids == theirs.encode(text).ids
        assert ours.decode(ids) == written
        live = ours.decoder()
        assert "".join(map(live.push, ids)) + live.finish() == written


@pytest.mark.parametrize("again", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])  # noqa: S301
def test_a_vocabulary_and_its_errors_come_through_to_another_process(again: Any):
    one = vocabulary("cl100k")
    other = again(one)
    assert (other.size, other.special, other.engine) == (one.size, one.special, one.engine)
    assert other.encode(corpus()[0], special="text") == one.encode(corpus()[0], special="text")
    with pytest.raises(SpecialTokenInText) as caught:
        other.encode("hi <|user|>")
    error = again(caught.value)
    assert (str(error), error.name, error.at) == (str(caught.value), "<|user|>", 3)


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
    with pytest.raises(ValueError, match=r"surrogate U\+D800 at character 2"):
        Text.train(["x", "ab\ud800"], vocab_size=300)
    with pytest.raises(ValueError, match=r"vocab_size is 300\.5"):
        Text.train(["x"], vocab_size=300.5)
    assert Text.train(["x"], vocab_size=np.int64(300)).size == 256
    with pytest.raises(ValueError, match="has an empty name"):
        Text.train(map(pytest.fail, ["the texts were read"]), vocab_size=300, special=[""])


@pytest.mark.parametrize("names", ["<s>", ["<s>", "<s>"], [3]])
def test_names_of_special_tokens_are_different_strings_and_no_one_string(names: Any):
    with pytest.raises(ValueError, match="different names"):
        Text.train(["x"], vocab_size=300, special=names)
    with pytest.raises(ValueError, match="different names"):
        Text.load(tiktoken_file(ranks()), pattern="cl100k", special=names)


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


def test_special_tokens_need_a_name_and_an_id_that_can_be_one(tmp_path):
    file = tiktoken_file(ranks())
    with pytest.raises(ValueError, match="id 2000 has an empty name"):
        Text.load(file, pattern="cl100k", special=[""])
    for number in (-1, 2**31):
        with pytest.raises(ValueError, match=f"{number}.*must lie in"):
            Text.load(file, pattern="cl100k", special={"<s>": number})
    with pytest.raises(TypeError, match=r"'<s>' has the id 2000\.0; an id is a whole number"):
        Text.load(file, pattern="cl100k", special={"<s>": 2000.0})
    numpys = Text.load(file, pattern="cl100k", special={"<s>": np.int64(2000)})
    assert Text.load(numpys.save(tmp_path / "text.json")).special == {"<s>": 2000}
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


@pytest.mark.parametrize(
    ("place", "value"),
    [("pre_tokenizer", {}), ("normalizer", "NFC"), ("added_tokens", 3), ("model", {"vocab": {"a": "0"}})],
)
def test_a_tokenizer_json_with_a_part_of_another_kind_is_refused(place: str, value: Any):
    with pytest.raises(ValueError, match="these bytes"):
        Text.load(json.dumps({**hub_json(LLAMA3), place: value}).encode())


def test_our_own_file_cut_short_or_from_the_future_is_refused(tmp_path):
    path = vocabulary("cl100k").save(tmp_path / "v.json")
    data = path.read_bytes()
    with pytest.raises(ValueError, match="not whole JSON"):
        Text.load(data[:-100])
    content = json.loads(data)
    with pytest.raises(ValueError, match="version 9"):
        Text.load(json.dumps({**content, "version": 9}).encode())
    for wrong in ({"tokens": ["?"]}, {"special": 3}, {"pattern": None}):
        with pytest.raises(ValueError, match="these bytes: damaged"):
            Text.load(json.dumps({**content, "state": {**content["state"], **wrong}}).encode())
    del content["state"]["pattern"]
    with pytest.raises(ValueError, match="damaged"):
        Text.load(json.dumps(content).encode())


CALLS = """{% for message in messages %}{% if message.content is none %}
{{- '<call>' + message.tool_calls[0].name }}{% else %}{{ '<say>' + message.content }}{% endif %}{% endfor %}"""


def test_what_a_message_leaves_null_is_null_in_the_template_as_in_transformers():
    chat_template_utils = pytest.importorskip("transformers.utils.chat_template_utils")
    one = vocabulary("cl100k")
    messages = [
        {"role": "user", "content": "2+2?"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": None,
            "thinking": "a sum",
            "tool_calls": [{"name": "add"}],
        },
    ]
    for template in (CALLS, "{{ messages[1].reasoning_content }}{{ messages[0].name is defined }}"):
        (theirs,), _ = chat_template_utils.render_jinja_template([messages], chat_template=template)
        assert one.render_chat(messages, template=template) == theirs
    assert one.render_chat(messages, template=CALLS) == "<say>2+2?<call>add"


class Digit(enum.IntEnum):
    THREE = 3


@dataclass
class Message:
    role: str
    content: Any


VALUES = [
    np.int64(3), np.float64(2.5), np.float32(0.5), np.bool_(False), np.str_("word"), Digit.THREE, (1, "two"), (),
    np.zeros(2), Message("user", (1, np.int8(2))), SimpleNamespace(model_dump=lambda: {"a": (1,)}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_in_a_message_are_written_as_transformers_writes_them(value: Any):
    chat_template_utils = pytest.importorskip("transformers.utils.chat_template_utils")
    one = vocabulary("cl100k")
    for messages in ([{"role": "user", "content": value}], [Message("user", value)]):
        for template in ("{{ messages[0].content }}", "{{ messages[0].content | tojson }}"):
            (theirs,), _ = chat_template_utils.render_jinja_template([messages], chat_template=template)
            assert one.render_chat(messages, template=template) == theirs
            assert one.decode(one.apply_chat(messages, template=template)) == theirs
