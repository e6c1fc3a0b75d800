"""`Omni`: text, pictures, sound, speech, codes and plug-ins, as one sequence and back."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.sequence.live import LiveSequence
from omni_tokenizers.sequence.modality import Arrays, Encoded, Modality
from omni_tokenizers.sequence.pack import unpack
from omni_tokenizers.sequence.parts import Part, parts_of
from omni_tokenizers.sequence.positions import SCHEMES, Scheme
from omni_tokenizers.sequence.registry import checked, create, names
from omni_tokenizers.sequence.sequence import BUILT_IN, Sequence, payload_of
from omni_tokenizers.sequence.span import PAD, Span


class Omni:
    """One tokenizer for several modalities.

    Each keyword takes the tokenizer of that modality (`Text`, `Patches`, `LogMel`, `Wav2Vec`, `Codec`), or any
    object that is a `Modality` itself. A plug-in is a keyword of its own name: a `Modality`, or a dict of
    the options to build the registered one with.

    A token that is not text gets a placeholder id from a reserved range right above the text vocabulary: pad,
    image, audio, speech, codec, then plug-ins by name. So `size` rows make an embedding table in which every id
    of every sequence has a row. `placeholders={"image": 151655}` uses ids that a published vocabulary has for them;
    one of the others that would get the same id gets the next that is free behind the range.
    """

    def __init__(
        self,
        *,
        text: Any = None,
        image: Any = None,
        audio: Any = None,
        speech: Any = None,
        codec: Any = None,
        positions: Scheme = "linear",
        placeholders: Mapping[str, int] | None = None,
        **plugins: Any,
    ) -> None:
        given = {"text": text, "image": image, "audio": audio, "speech": speech, "codec": codec}
        self.modalities: dict[str, Modality] = {
            name: _built_in(name, tokenizer) for name, tokenizer in given.items() if tokenizer is not None
        }
        for name in sorted(plugins):
            plugin = plugins[name]
            if isinstance(plugin, Mapping):
                self.modalities[name] = create(name, **plugin)
            elif all(callable(getattr(plugin, method, None)) for method in ("encode", "count", "decode", "stream")):
                self.modalities[name] = checked(name, plugin)
            elif name in names():
                raise TypeError(f"{name}={plugin!r}: give a modality, or a dict of the options to build it with")
            else:
                checked(name, plugin)
        if not self.modalities:
            raise ValueError("Omni needs at least one tokenizer: Omni(text=…), Omni(image=…), Omni(audio=…) …")
        if positions not in SCHEMES:
            raise ValueError(f"no positions are named {positions!r}: use {', '.join(SCHEMES)}")
        self.scheme: Scheme = positions
        self.kinds = (*BUILT_IN, *(name for name in self.modalities if name not in BUILT_IN))
        self.text_size = int(text.size) if text is not None else 0
        self.placeholders = self._placeholders(placeholders or {})

    @property
    def size(self) -> int:
        """Rows that an embedding table needs so that every id has one."""
        return max(self.text_size, *(number + 1 for number in self.placeholders.values()))

    def encode(self, parts: Any) -> Sequence:
        """Turn parts into one sequence: a str, a tagged source, or any iterable of them."""
        spans: list[Span] = []
        ids: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        payloads: list[Arrays] = []
        at = 0
        for index, part in enumerate(parts_of(parts)):
            encoded = self.modality_of(part).encode(part)
            spans.append(encoded.span(part.modality, at, index))
            ids.append(self._ids(part.modality, encoded))
            payloads.append(payload_of(encoded.arrays))
            at += encoded.length
        return Sequence(
            np.concatenate(ids), tuple(spans), tuple(payloads), self.kinds, self.placeholders[PAD], self.scheme, self
        )

    def count(self, parts: Any) -> int:
        """How many tokens `encode` gives, from sizes alone where a modality can tell from them."""
        return sum(self.modality_of(part).count(part) for part in parts_of(parts))

    def decode(self, sequence: Sequence) -> list[Any]:
        """The parts back: text as str, the others as parts. Padding is dropped; a pack gives its documents' parts."""
        parts = []
        for document in unpack(sequence):
            for span, arrays in _by_part(document):
                if span.modality not in self.modalities:
                    raise ValueError(f"this Omni has no {span.modality}: it has {', '.join(self.modalities)}")
                parts.append(self.modalities[span.modality].decode(span, arrays))
        return parts

    def stream(self) -> LiveSequence:
        """Live input of mixed modalities: push pieces as they come."""
        return LiveSequence(self)

    def load(self, folder: str | PathLike[str]) -> Sequence:
        """Read a saved sequence, with this Omni to show its text and pictures."""
        return Sequence.load(folder, reader=self)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text of each id alone; bytes that are no whole character are shown as <xx>."""
        text = getattr(self.modalities.get("text"), "text", None)
        if text is None:
            return [f"#{number}" for number in ids]
        ids = list(ids)
        try:
            return [_readable(bytes(text.decode_bytes([number]))) for number in ids]
        except ValueError:  # ids that have no bytes of their own
            return [text.decode([number]) for number in ids]

    def text(self, ids: Iterable[int]) -> str:
        """The text of the ids together."""
        text = getattr(self.modalities.get("text"), "text", None)
        if text is None:
            return " ".join(f"#{number}" for number in ids)
        return str(text.decode(list(ids)))

    def picture(self, span: Span, arrays: Arrays) -> Any:
        """What a span looks like, uint8 [height, width, 3], where its modality can tell."""
        modality = self.modalities.get(span.modality)
        draw = getattr(modality, "picture", None)
        return None if draw is None else draw(span, arrays)

    def fragment(self, part: Part, encoded: Encoded, index: int, first: int) -> Sequence:
        """A piece of a sequence: new tokens of part `index` after `first` tokens of the same part."""
        span = encoded.span(part.modality, 0, index, first)
        return Sequence(
            self._ids(part.modality, encoded), (span,), (payload_of(encoded.arrays),), self.kinds,
            self.placeholders[PAD], self.scheme, self,
        )  # fmt: skip

    def empty(self) -> Sequence:
        """A sequence without tokens, to which others can be joined."""
        return Sequence(np.zeros(0, np.int64), (), (), self.kinds, self.placeholders[PAD], self.scheme, self)

    def modality_of(self, part: Part) -> Modality:
        """The modality that takes this part."""
        if part.modality in self.modalities:
            return self.modalities[part.modality]
        if part.modality in BUILT_IN or part.modality in names():
            hint = f"make it with Omni({part.modality}=…)"
        else:
            hint = f"known plug-ins: {', '.join(names()) or 'none'}"
        raise ValueError(f"this Omni has no tokenizer for {part.modality}, it has {', '.join(self.modalities)}: {hint}")

    def _ids(self, modality: str, encoded: Encoded) -> NDArray[np.int64]:
        if encoded.ids is not None:
            return np.asarray(encoded.ids, np.int64)
        return np.full(encoded.length, self.placeholders[modality], np.int64)

    def _placeholders(self, chosen: Mapping[str, int]) -> dict[str, int]:
        if unknown := set(chosen) - (set(self.kinds) - {"text"}):
            raise ValueError(f"placeholders for {', '.join(sorted(unknown))}, which this Omni does not have")
        wrong = {name: number for name, number in chosen.items() if number < 0}
        if wrong:
            raise ValueError(f"a placeholder below 0 has no row in an embedding table: {wrong}")
        taken: dict[int, str] = {}
        for name, number in chosen.items():
            if (other := taken.setdefault(int(number), name)) != name:
                raise ValueError(f"{other} and {name} have the same placeholder, {number}: give each its own")
        others = [kind for kind in self.kinds if kind != "text"]
        usual = range(self.text_size, self.text_size + len(others))
        free = (number for number in itertools.count(usual.stop) if number not in taken)
        return {
            kind: int(chosen[kind]) if kind in chosen else next(free) if number in taken else number
            for kind, number in zip(others, usual, strict=True)
        }


def _by_part(document: Sequence) -> list[tuple[Span, dict[str, Any]]]:
    """The spans of a document with their ids and arrays; a part in several spans (a film and its sound) as one."""
    members: dict[tuple[int, str], list[int]] = {}
    for index, span in enumerate(document.spans):
        members.setdefault((span.part, span.modality), []).append(index)
    parts = []
    for indices in members.values():
        spans = [document.spans[i] for i in indices]
        span = spans[0]
        if len(spans) > 1:
            grids = span.grids
            if grids:
                grids = ((sum(s.grids[0][0] for s in spans), *grids[0][1:]),)
            length, units = sum(s.length for s in spans), sum(s.units for s in spans)
            span = replace(span, length=length, units=units, grids=grids)
        arrays = {"ids": _in_a_row([document.ids[s.start : s.stop] for s in spans])}
        for name in document.payloads[indices[0]]:
            arrays[name] = _in_a_row([document.payloads[i][name] for i in indices])
        parts.append((span, arrays))
    return parts


def _in_a_row(arrays: list[Any]) -> Any:
    # One array stays the view that it is: an hour of Mel frames is 115 MB.
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _built_in(name: str, tokenizer: Any) -> Modality:
    """The tokenizer as a modality: itself if it is one, else in the wrapper of its name."""
    from omni_tokenizers.sequence.audio_tokens import AudioTokens
    from omni_tokenizers.sequence.codec_tokens import CodecTokens
    from omni_tokenizers.sequence.image_tokens import ImageTokens
    from omni_tokenizers.sequence.speech_tokens import SpeechTokens
    from omni_tokenizers.sequence.text_tokens import TextTokens

    wrappers: dict[str, type[Any]] = {
        "text": TextTokens, "image": ImageTokens, "audio": AudioTokens, "speech": SpeechTokens, "codec": CodecTokens
    }  # fmt: skip
    if isinstance(tokenizer, tuple(wrappers.values())):
        if not isinstance(tokenizer, wrappers[name]):
            raise TypeError(f"{name}={type(tokenizer).__name__} is the wrapper of another modality")
        return tokenizer
    needed = {"encode"} if name != "text" else {"encode", "decode", "decode_bytes", "count"}
    if missing := sorted(method for method in needed if not callable(getattr(tokenizer, method, None))):
        raise TypeError(f"{name}={type(tokenizer).__name__} has no {', '.join(missing)}: it is no {name} tokenizer")
    return wrappers[name](tokenizer)


def _readable(piece: bytes) -> str:
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"<{byte:02x}>" for byte in piece)
