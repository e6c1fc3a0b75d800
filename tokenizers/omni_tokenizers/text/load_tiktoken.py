"""`.tiktoken` files (a token in base64 and its rank on each line) and Mistral's tekken JSON."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

from omni_tokenizers.text.bytelevel import ByteLevel
from omni_tokenizers.text.patterns import PATTERNS
from omni_tokenizers.text.special import check_names

EMPTY = b"="  # Whisper's multilingual file ends with an empty token, written so
LINE = re.compile(rb"[A-Za-z0-9+/]+=* \d+\s*")


def looks_like_tiktoken(data: bytes) -> bool:
    """Return whether the first line is a token in base64 and a rank."""
    return LINE.fullmatch(data.partition(b"\n")[0]) is not None


def load_tiktoken(data: bytes, pattern: str, special: Mapping[str, int] | Sequence[str], where: str) -> ByteLevel:
    """Read the ranks; the file says nothing of the pattern or the special tokens, so they are given."""
    check_names(special)
    if isinstance(special, Mapping):
        special = {name: _id(name, number) for name, number in special.items()}
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            piece = b"" if token == EMPTY else base64.b64decode(token, validate=True)
            place = int(rank)
        except (ValueError, binascii.Error):
            raise ValueError(
                f"{where}, line {number}: {line[:60]!r} is not a token in base64, a space and a rank; "
                "the file is cut short or of another kind"
            ) from None
        if piece in ranks:
            raise ValueError(f"{where}, line {number}: the token {piece!r} stands in the file twice")
        ranks[piece] = place
    # A hole is filled by a special token only where its id was given (p50k_base has one such): names alone get their
    # ids above the ranks, so a missing line does not pass for one.
    taken = {*ranks.values(), *(special.values() if isinstance(special, Mapping) else ())}
    hole = next((rank for rank in range(max(ranks.values(), default=-1)) if rank not in taken), None)
    if hole is not None:
        raise ValueError(f"{where}: the ranks have a hole at {hole}; the file is incomplete")
    if not isinstance(special, Mapping):
        special = {name: len(ranks) + place for place, name in enumerate(special)}
    return ByteLevel(ranks, PATTERNS.get(pattern, pattern), special=special, added={})


def _id(name: str, number: Any) -> int:
    try:
        return index(number)
    except TypeError:
        raise TypeError(f"the special token {name!r} has the id {number!r}; an id is a whole number") from None


def load_tekken(content: Mapping[str, Any], where: str) -> ByteLevel:
    """Read tekken: special tokens take the first ids, then the byte tokens in rank order."""
    try:
        config = content["config"]
        specials = int(config["default_num_special_tokens"])
        inner = int(config["default_vocab_size"]) - specials
        vocabulary = [base64.b64decode(entry["token_bytes"], validate=True) for entry in content["vocab"][:inner]]
        places = [int(entry["rank"]) for entry in content["vocab"][:inner]]
        names = {entry["token_str"]: int(entry["rank"]) for entry in content.get("special_tokens") or ()}
        pattern = str(config["pattern"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: not a whole tekken file ({type(error).__name__}: {error})") from None
    if places != list(range(len(places))) or len(vocabulary) != inner:
        raise ValueError(f"{where}: tekken ranks must run from 0 to {inner - 1} without a hole")
    for number in range(specials):
        if number not in names.values():
            names[f"<SPECIAL_{number}>"] = number
    return ByteLevel(
        {token: specials + rank for rank, token in enumerate(vocabulary)}, pattern, special=names, added={}
    )
