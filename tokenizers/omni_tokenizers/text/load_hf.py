"""Hugging Face `tokenizer.json`: on tiktoken where that gives the same ids for every text, else as published."""

from collections.abc import Mapping
from typing import Any

from omni_tokenizers.text.alphabet import STAND_IN, to_bytes
from omni_tokenizers.text.bytelevel import ByteLevel, check_ranks
from omni_tokenizers.text.patterns import GPT2
from omni_tokenizers.text.published import Published, steps
from omni_tokenizers.text.spelling import SHARED
from omni_tokenizers.text.verify import disagreement


def load_hf(content: Mapping[str, Any], where: str) -> ByteLevel | Published:
    """Choose the engine for a parsed `tokenizer.json`."""
    model = content.get("model")
    if not isinstance(model, Mapping) or "vocab" not in model:
        raise ValueError(f"{where}: no model with a vocabulary in it, so this is not a tokenizer.json")
    _check_added(content, where)
    # `tokenizers` passes over an added token without a name; as a name to look for, it would stand everywhere.
    content = {**content, "added_tokens": [entry for entry in content.get("added_tokens") or [] if entry["content"]]}
    _check_holes(content, where)
    pattern, composes, why = _split(content)
    if why is None:
        why = _merging(model)
    if why is None:
        assert pattern is not None
        why_or_engine = _byte_level(content, pattern, composes)
        if isinstance(why_or_engine, ByteLevel):
            return why_or_engine
        why = why_or_engine
    return Published(content, pattern, composes, why)


def _check_added(content: Mapping[str, Any], where: str) -> None:
    try:
        taken = [(entry["id"], entry["content"]) for entry in content.get("added_tokens") or []]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{where}: an added token lacks its {error}") from None
    if len({number for number, _ in taken}) != len(taken):
        raise ValueError(f"{where}: two added tokens share one id")


def _check_holes(content: Mapping[str, Any], where: str) -> None:
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, Mapping):  # a list has no holes
        taken = set(vocabulary.values()) | {entry["id"] for entry in content["added_tokens"]}
        hole = next((number for number in range(max(vocabulary.values(), default=-1)) if number not in taken), None)
        if hole is not None:
            raise ValueError(f"{where}: the vocabulary has a hole: no token has the id {hole}; the file is incomplete")


def _split(content: Mapping[str, Any]) -> tuple[str | None, bool, str | None]:
    """Return the one split pattern, whether NFC comes first, and why tiktoken cannot do it (None if it can)."""
    normal = [step["type"] for step in steps(content.get("normalizer"), "normalizers")]
    if normal not in ([], ["NFC"]):
        return None, False, f"its normalizer is {' + '.join(normal)}"
    composes = normal == ["NFC"]
    cuts = steps(content.get("pre_tokenizer"), "pretokenizers")
    if not cuts or cuts[-1]["type"] != "ByteLevel":
        kinds = " + ".join(step["type"] for step in cuts) or "nothing"
        return None, composes, f"it splits by {kinds}, not into bytes"
    level = cuts[-1]
    if level.get("add_prefix_space"):
        return None, composes, "it puts a space in front of each text"
    if len(cuts) == 1 and level.get("use_regex", True):
        return GPT2, composes, None
    if len(cuts) == 2 and cuts[0]["type"] == "Split" and not level.get("use_regex", True):
        cut = cuts[0]
        if "Regex" in cut["pattern"] and (cut["behavior"], cut["invert"]) in (
            ("Isolated", False),
            ("Removed", True),
        ):
            regex = cut["pattern"]["Regex"]
            if regex in SHARED:
                return regex, composes, None
            if cut["behavior"] == "Isolated":
                return regex, composes, f"its split pattern {regex!r} may read otherwise in another library"
    return None, composes, "it splits in several steps"


def _merging(model: Mapping[str, Any]) -> str | None:
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        return f"its model is {model.get('type', 'unknown')}"
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "fuse_unk"):
        if model.get(key):
            return f"its model sets {key}={model[key]!r}"
    return None


def _byte_level(content: Mapping[str, Any], pattern: str, composes: bool) -> ByteLevel | str:
    model = content["model"]
    entries = content["added_tokens"]
    if len({bool(entry.get("normalized")) for entry in entries}) > 1:
        return "its added tokens are matched in two rounds, some after normalising"
    for entry in entries:
        if entry.get("lstrip") or entry.get("rstrip") or entry.get("single_word"):
            return f"its added token {entry['content']!r} looks at its neighbours"
        if composes and entry.get("normalized"):
            return f"its added token {entry['content']!r} is matched after normalising"
    named = {entry["id"] for entry in entries}
    vocabulary = {token: number for token, number in model["vocab"].items() if number not in named}
    if any(character not in vocabulary for character in STAND_IN.values()):
        return "it has no token for some bytes"
    try:
        ranks = {to_bytes(token): number for token, number in vocabulary.items()}
    except ValueError as error:
        return str(error)
    special = {entry["content"]: entry["id"] for entry in entries if entry.get("special")}
    added = {entry["content"]: entry["id"] for entry in entries if not entry.get("special")}
    check_ranks(ranks, {**special, **added})
    try:
        pairs = [(left, right) for left, right in (m.split(" ") if isinstance(m, str) else m for m in model["merges"])]
    except (TypeError, ValueError):
        raise ValueError("tokenizer.json: a merge is not a pair of tokens") from None
    why = disagreement(vocabulary, pairs, ranks, whole_first=bool(model.get("ignore_merges")))
    if why is not None:
        return why
    return ByteLevel(ranks, pattern, special=special, added=added, composes=composes)
