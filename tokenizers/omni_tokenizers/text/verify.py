"""Whether a published list of merges means the same as the order of its ids.

tiktoken merges the neighbours whose union has the lowest id. `tokenizers` merges the pair that stands first in a list.
They agree on every text when
1. the merges are listed in the order of the ids that they make, and both halves of a merge are bytes or older ids;
2. every token, put through the list alone, comes out as itself.

Why that is enough: take the first moment at which the two would differ on some text. Neighbours x, y have a union t
in the vocabulary, and nothing has merged across their outer edges. So the bytes of t, alone, would have come to the
same x, y. By 2 and 1 the last merge of t alone is a listed merge, of exactly the two halves left when all older merges
are done, so x, y is that listed pair and both engines merge it, at the same place in the order.

A vocabulary that looks a whole piece up first (`ignore_merges`, as Llama-3 does, and as tiktoken always does) may have
tokens that fail 2; then the pairs must not reach them in tiktoken either, which is checked by merging each by hand.
"""

from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer, models


def disagreement(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], ranks: Mapping[bytes, int], *, whole_first: bool
) -> str | None:
    """Return why rank order cannot stand for these merges, or None where it can."""
    made: set[str] = set()
    last = -1
    for left, right in merges:
        result = vocabulary.get(left + right)
        if result is None or left not in vocabulary or right not in vocabulary:
            return f"the merge {left!r} + {right!r} is of tokens that are not in the vocabulary"
        for half in (left, right):
            if len(half) > 1 and (half not in made or vocabulary[half] >= result):
                return f"the merge {left!r} + {right!r} comes before its half {half!r}"
        if result < last:
            return f"the merge {left!r} + {right!r} makes an older id than the merge before it"
        made.add(left + right)
        last = result
    alone = Tokenizer(models.BPE(vocab=dict(vocabulary), merges=list(merges)))
    tokens = list(vocabulary)
    inverse = {number: token for token, number in ranks.items()}
    for token, encoding in zip(tokens, alone.encode_batch(tokens, add_special_tokens=False), strict=True):
        if encoding.ids == [vocabulary[token]]:
            continue
        if not whole_first:
            return f"the token {token!r} cannot be reached by the merges"
        piece = inverse[vocabulary[token]]
        if len(merged(piece, ranks)) == 1:
            return f"the token {token!r} is reached by rank but not by the merges"
    return None


def merged(piece: bytes, ranks: Mapping[bytes, int]) -> list[bytes]:
    """Merge one piece by rank, lowest first, and return its parts.

    >>> merged(b"abc", {b"a": 0, b"b": 1, b"c": 2, b"bc": 3})
    [b'a', b'bc']
    """
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 1:
        pairs = [ranks.get(parts[i] + parts[i + 1]) for i in range(len(parts) - 1)]
        best = (
            min((rank, i) for i, rank in enumerate(pairs) if rank is not None)
            if any(rank is not None for rank in pairs)
            else None
        )
        if best is None:
            break
        at = best[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
