"""Small vocabularies for the text tests: trained here, or the ones that openai-whisper ships."""

import base64
import json
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from omni_tokenizers.text import PATTERNS, Text
from omni_tokenizers.text.alphabet import to_text
from omni_tokenizers.text.verify import merged

SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|end|>+")  # one is the head of another
PROSE = (
    "It isn't 1234567 o'clock; they'll see.\r\n\r\n  Ça va? Größe, naïve façade.\t你好，世界！ こんにちは。 안녕하세요 "
    "Привет, мир… مرحبا १२३ 😀👩‍👩‍👧 x = {'a': [1, 2.5]}  # note\n\n\ndef f(self):\n        return self.a_b/c\n"
)


@cache
def corpus() -> tuple[str, ...]:
    """Real text: the source of three modules of the standard library, and many scripts."""
    import argparse
    import inspect as inspection
    import typing

    sources = [Path(str(module.__file__)).read_text() for module in (argparse, inspection, typing)]
    return (*sources, PROSE * 20)


@cache
def ranks() -> dict[bytes, int]:
    """2,000 tokens of the corpus, in the order they were learned."""
    state = Text.train(corpus(), vocab_size=2000, pattern="cl100k")._engine.state()
    return {base64.b64decode(token): rank for rank, token in enumerate(state["tokens"])}


def tiktoken_file(vocabulary: dict[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in vocabulary.items())


@cache
def vocabulary(pattern: str) -> Text:
    return Text.load(tiktoken_file(ranks()), pattern=pattern, special=SPECIAL)


def whisper_file(name: str) -> Path:
    spec = find_spec("whisper")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "assets" / f"{name}.tiktoken"


def merges() -> list[tuple[str, str]]:
    """The merges behind `ranks`, recovered by merging each token's bytes without the token itself."""
    pairs = []
    for token, rank in ranks().items():
        if len(token) > 1:
            left, right = merged(token, {other: place for other, place in ranks().items() if place < rank})
            pairs.append((to_text(left), to_text(right)))
    return pairs


@cache
def merges_text() -> str:
    return json.dumps(merges())


def hub_json(pattern: str, *, special: tuple[str, ...] = SPECIAL, **changes: Any) -> dict[str, Any]:
    """A tokenizer.json as published for this pattern."""
    size = len(ranks())
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": size + i, "content": name, **flags} for i, name in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, level]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {to_text(token): rank for token, rank in ranks().items()},
            "merges": json.loads(merges_text()),
        },
    }
    model = changes.pop("model", {})
    return {**content, **changes, "model": {**content["model"], **model}}


# What trips splitters: white space of every kind, contractions, digits in runs, marks, line ends, halves of specials.
TRAPS = st.sampled_from(
    [
        *"aAzé Ωß1٣²'!/,。あ한e\u0301\u0345\u200d\u3000\u1680ſK\x1c\x85\ufffd\U0001f600\n\r\t",
        "  ",
        "\r\n",
        "'s",
        "'LL",
        "'ſ",
        "don't",
        "1234",
        " \n ",
        "\u1100\u1161\u11a8",
        *SPECIAL,
        "<|",
        "|>",
        "<|en",
        "end|>",
        "<|end|>",
    ]
)
ANY_TEXT = st.one_of(st.lists(TRAPS, max_size=25).map("".join), st.text(max_size=60))


@st.composite
def cut_text(draw: st.DrawFn) -> list[str]:
    """A text in pieces, cut anywhere."""
    text = draw(ANY_TEXT)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    edges = [0, *places, len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


ALL_PATTERNS = sorted(PATTERNS)
