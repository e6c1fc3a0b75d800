"""A sequence in a folder: sequence.json (spans and settings) and sequence.safetensors (ids and payloads)."""

import json
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from omni_tokenizers.sequence.modality import Array
from omni_tokenizers.sequence.sequence import Reader, Sequence
from omni_tokenizers.sequence.span import Span

FORMAT = "omni-sequence"
VERSION = 1


def save(sequence: Sequence, folder: str | PathLike[str]) -> None:
    """Write the sequence into a folder, which is made if need be."""
    folder = Path(folder)
    arrays: dict[str, Array] = {"ids": sequence.ids}
    spans = []
    for index, (span, payload) in enumerate(zip(sequence.spans, sequence.payloads, strict=True)):
        spans.append({**asdict(span), "payload": sorted(payload)})
        arrays.update({f"{index}.{name}": array for name, array in payload.items()})
    about = {
        "format": FORMAT,
        "version": VERSION,
        "tokens": len(sequence),
        "kinds": sequence.kinds,
        "pad_id": sequence.pad_id,
        "scheme": sequence.scheme,
        "spans": spans,
    }
    try:
        text = json.dumps(about, indent=1, ensure_ascii=False)
    except TypeError as wrong:
        raise TypeError(f"a span's meta holds something that is not JSON: {wrong}") from None
    folder.mkdir(parents=True, exist_ok=True)
    # safetensors writes the memory as it lies, so a view with other strides has to be copied first.
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / "sequence.safetensors")
    (folder / "sequence.json").write_text(text + "\n", encoding="utf-8")


def load(folder: str | PathLike[str], *, reader: Reader | None = None) -> Sequence:
    """Read a folder that `save` wrote."""
    folder = Path(folder)
    path = folder / "sequence.json"
    if not path.exists():
        raise ValueError(f"{folder} holds no saved sequence: sequence.json is missing")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as broken:
        raise ValueError(f"{path} is not JSON: {broken}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f'{path} is no saved sequence: its "format" is not "{FORMAT}"')
    if about.get("version") != VERSION:
        raise ValueError(f"{path} has version {about.get('version')}, this library reads version {VERSION}")
    try:
        arrays = load_file(folder / "sequence.safetensors")
    except (SafetensorError, OSError) as broken:
        raise ValueError(f"{folder / 'sequence.safetensors'} cannot be read: {broken}") from None
    try:
        return Sequence(
            ids=arrays["ids"],
            spans=tuple(_span(span) for span in about["spans"]),
            payloads=tuple(
                {name: arrays[f"{index}.{name}"] for name in span["payload"]}
                for index, span in enumerate(about["spans"])
            ),
            kinds=tuple(about["kinds"]),
            pad_id=about["pad_id"],
            scheme=about["scheme"],
            reader=reader,
        )
    except (KeyError, TypeError, AttributeError) as missing:
        raise ValueError(
            f"{path} and its arrays do not belong together: {missing} is missing or of another kind"
        ) from None


def _span(saved: dict[str, Any]) -> Span:
    values = {name: value for name, value in saved.items() if name != "payload"}
    values["grids"] = tuple(tuple(grid) for grid in values["grids"])
    return Span(**values)
