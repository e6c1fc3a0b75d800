"""Training a byte-level BPE vocabulary from text; `tokenizers` counts and merges."""

from collections.abc import Iterable, Iterator, Sequence

from omni_tokenizers.text.alphabet import STAND_IN, to_bytes
from omni_tokenizers.text.bytelevel import ByteLevel, surrogate_error
from omni_tokenizers.text.patterns import PATTERNS
from omni_tokenizers.text.special import check_names
from omni_tokenizers.text.spelling import for_tokenizers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

BYTES = 256


def train(texts: Iterable[str], vocab_size: int, pattern: str, special: Sequence[str], min_frequency: int) -> ByteLevel:
    """Learn merges. Byte b gets the id b, merges follow in the order learned, special tokens come last."""
    check_names(special)
    smallest = BYTES + len(special)
    if not hasattr(vocab_size, "__index__") or vocab_size < smallest:  # numpy's whole numbers have it too
        raise ValueError(
            f"vocab_size is {vocab_size!r}; the 256 bytes and {len(special)} special tokens need {smallest}"
        )
    if isinstance(texts, str):
        raise TypeError("train takes many texts, not one str: pass [text]")
    split = PATTERNS.get(pattern, pattern)
    letters = {bytes([byte]): byte for byte in range(BYTES)}
    # Refuses a pattern or a name that cannot be used before anything is learned.
    ByteLevel(letters, split, special={name: BYTES + place for place, name in enumerate(special)}, added={})
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(for_tokenizers(split)), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    try:
        tokenizer.train_from_iterator(
            _checked(texts),
            trainers.BpeTrainer(
                vocab_size=vocab_size - len(special),
                min_frequency=min_frequency,
                initial_alphabet=list(STAND_IN.values()),
                show_progress=False,
            ),
        )
    except UnicodeEncodeError as error:
        raise surrogate_error(error.object, error.start) from None
    learned = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])[BYTES:]
    ranks = dict(letters)
    for token, _ in learned:
        ranks[to_bytes(token)] = len(ranks)
    return ByteLevel(
        ranks,
        split,
        special={name: len(ranks) + place for place, name in enumerate(special)},
        added={},
    )


def _checked(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {number} is {type(text).__name__}, not str")
        yield text
