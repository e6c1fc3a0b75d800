"""Text: encoding, counting and training, against tiktoken, tokenizers and rustbpe.

No published 100k vocabulary ships in a package, so one is trained here, once, on the sources of the installed
packages (kept in the temporary folder). All contestants encode with those same ranks and the cl100k pattern.
"""

import json
import random
import sysconfig
import tempfile
from collections.abc import Iterable
from functools import cache
from itertools import chain
from pathlib import Path

import tiktoken
from tokenizers.decoders import ByteLevel

from omni_tokenizers.optional import need
from omni_tokenizers.text import PATTERNS, Text
from omni_tokenizers.text.alphabet import STAND_IN, to_text
from omni_tokenizers.text.patterns import LLAMA3
from omni_tokenizers.text.verify import merged
from tests.benchmarks.harness import Row, compare
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

DOCUMENT = 4096  # characters
VOCABULARY = 100_000
LEARN_FROM = 40_000_000  # characters for the large vocabulary
TRAIN_ON = 5_000_000  # characters for the training rows
TRAINED_SIZE = 8192


@cache
def sources(size: int) -> tuple[str, ...]:
    """Python sources and texts of the installed packages, shuffled with a fixed seed, `size` characters of them."""
    roots = [Path(sysconfig.get_paths()["stdlib"]), Path(sysconfig.get_paths()["purelib"])]
    paths = sorted(set(chain.from_iterable(root.rglob(kind) for root in roots for kind in ("*.py", "*.md", "*.rst"))))
    random.Random(7).shuffle(paths)
    texts, total = [], 0
    for path in paths:
        try:
            text = path.read_text()
        except (UnicodeDecodeError, OSError):
            continue
        texts.append(text[: size - total])
        total += len(texts[-1])
        if total >= size:
            break
    return tuple(texts)


def large_vocabulary() -> Text:
    """The 100k vocabulary, trained at the first run (about two minutes on one core)."""
    kept = Path(tempfile.gettempdir()) / f"omni-text-bench-{VOCABULARY}.json"
    if not kept.exists():
        Text.train(sources(LEARN_FROM), vocab_size=VOCABULARY, pattern="cl100k").save(kept)
    return Text.load(kept)


def published(text: Text) -> tuple[tiktoken.Encoding, Tokenizer]:
    """The same ranks in tiktoken, and in tokenizers with the pattern as it is published there."""
    ranks = dict(text._engine.ranks)  # type: ignore[attr-defined]
    encoding = tiktoken.Encoding("bench", pat_str=PATTERNS["cl100k"], mergeable_ranks=ranks, special_tokens={})
    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            parts = merged(token, Below(ranks, rank))
            merges.append((to_text(parts[0]), to_text(b"".join(parts[1:]))))
    hub = Tokenizer(models.BPE({to_text(token): rank for token, rank in ranks.items()}, merges))
    hub.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    hub.decoder = ByteLevel()
    return encoding, hub


class Below(dict[bytes, int]):
    """The ranks below one rank, without a copy."""

    def __init__(self, ranks: dict[bytes, int], below: int) -> None:
        self._ranks, self._below = ranks, below

    def get(self, token: bytes, default: int | None = None) -> int | None:  # type: ignore[override]
        """Return the rank of a token if it is low enough."""
        rank = self._ranks.get(token)
        return rank if rank is not None and rank < self._below else default


def encoding_rows(quick: bool) -> Iterable[Row]:
    """Encode and count 4 KB documents."""
    text = large_vocabulary()
    encoding, hub = published(text)
    joined = "".join(sources(LEARN_FROM)[-400:])
    documents = [joined[at : at + DOCUMENT].rstrip() for at in range(0, DOCUMENT * (50 if quick else 200), DOCUMENT)]
    for document in documents:
        expected = encoding.encode(document)
        assert text.encode(document) == expected == hub.encode(document).ids
        assert text.count(document) == len(expected)
    runs = 5 if quick else 25
    name = f"{len(documents)} documents of 4 KB, own {VOCABULARY // 1000}k vocabulary, cl100k pattern"
    yield from compare(
        f"encode {name}",
        lambda: [text.encode(document) for document in documents],
        {
            "tiktoken": lambda: [encoding.encode(document) for document in documents],
            "tokenizers": lambda: [hub.encode(document).ids for document in documents],
        },
        bar={"tiktoken": 0.95, "tokenizers": 3.0},
        runs=runs,
    )
    yield from compare(
        f"count {name}",
        lambda: [text.count(document) for document in documents],
        {"tiktoken len(encode)": lambda: [len(encoding.encode(document)) for document in documents]},
        bar=1.0,
        runs=runs,
    )


def training_rows(quick: bool) -> Iterable[Row]:
    """Train an 8k vocabulary."""
    texts = sources(TRAIN_ON // 5 if quick else TRAIN_ON)

    def hub() -> Tokenizer:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=TRAINED_SIZE, min_frequency=2, initial_alphabet=list(STAND_IN.values()), show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer

    rust = need("rustbpe", extra="dev", use="this benchmark")

    def rustbpe() -> object:
        tokenizer = rust.Tokenizer()
        tokenizer.train_from_iterator(iter(texts), TRAINED_SIZE, pattern=LLAMA3)
        return tokenizer

    yield from compare(
        f"train {TRAINED_SIZE} ids on {sum(map(len, texts)) / 1e6:.0f} MB",
        lambda: Text.train(texts, vocab_size=TRAINED_SIZE),
        {"tokenizers": hub, "rustbpe": rustbpe},
        bar={"tokenizers": 0.95},
        runs=3 if quick else 7,
        warmup=1,
    )


def rows(quick: bool) -> Iterable[Row]:
    """All rows of this part."""
    yield from encoding_rows(quick)
    yield from training_rows(quick)


if __name__ == "__main__":  # the rows alone, for whoever works on this part
    for row in rows(quick=True):
        print(json.dumps(row.__dict__, ensure_ascii=False))
