"""A sequence as torch tensors: what a model takes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from omni_tokenizers.sequence.masks import mask_arrays
from omni_tokenizers.sequence.modality import Array
from omni_tokenizers.sequence.sequence import Sequence
from omni_tokenizers.sequence.span import Span

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Tensors:
    """Ids, positions and mask arrays for all tokens; payloads joined by modality, with the tokens they belong to.

    `x = table(t.ids); x[t.where["image"]] = project(t.values["image"]["values"])` embeds a sequence.
    """

    ids: "torch.Tensor"  # [tokens]
    modality: "torch.Tensor"  # [tokens], indices into the sequence's kinds
    positions: "torch.Tensor"  # [tokens] or [3, tokens]
    document: "torch.Tensor"  # [tokens], −1 for padding
    block: "torch.Tensor"  # [tokens], tokens of one block see each other both ways; −1 outside
    where: dict[str, "torch.Tensor"]  # modality → [its tokens]
    values: dict[str, dict[str, "torch.Tensor"]]  # modality → array name → [its tokens, …]
    spans: tuple[Span, ...]

    def mask(self, *, additive: Any = None) -> "torch.Tensor":
        """Who may look at whom [tokens, tokens]; `additive=dtype` gives 0 and −inf instead of booleans."""
        from omni_tokenizers.sequence.masks import torch_attention_mask

        return torch_attention_mask(self.spans, device=self.ids.device, additive=additive)


def tensors(sequence: Sequence, device: Any, *, dtype: Any = None) -> Tensors:
    """Copy a sequence to a device; `dtype` converts the floating payloads."""
    import torch

    def tensor(array: Array) -> torch.Tensor:
        moved = torch.tensor(array).to(device)
        return moved.to(dtype) if dtype is not None and moved.is_floating_point() else moved

    where: dict[str, torch.Tensor] = {}
    values: dict[str, dict[str, torch.Tensor]] = {}
    for name in sequence.counts():
        kind = sequence.kinds.index(name)
        where[name] = tensor(np.flatnonzero(sequence.modality == kind))
        payloads = [
            payload
            for span, payload in zip(sequence.spans, sequence.payloads, strict=True)
            if span.modality == name and (span.length or payload)
        ]
        arrays = dict.fromkeys(array for payload in payloads for array in payload)
        if not arrays:
            continue
        values[name] = {}
        for array in arrays:
            shapes = sorted({str(payload[array].shape[1:]) if array in payload else "none" for payload in payloads})
            if len(shapes) > 1:
                raise ValueError(
                    f"the {name} spans do not have one shape of {array!r} a token, they have {', '.join(shapes)}: "
                    "encode them with one setting, or take sequence.payloads span by span"
                )
            values[name][array] = tensor(np.concatenate([payload[array] for payload in payloads]))
    document, block = mask_arrays(sequence.spans)
    return Tensors(
        ids=tensor(sequence.ids),
        modality=tensor(sequence.modality),
        positions=tensor(sequence.positions),
        document=tensor(document),
        block=tensor(block),
        where=where,
        values=values,
        spans=sequence.spans,
    )
