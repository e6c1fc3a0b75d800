"""The shared stack for accelerators: single tokens of all slots in steps of fixed shapes, on a GPU as CUDA graphs.

A graph replays fixed addresses, so a step of single tokens goes over the slots from 0 up to a bucket that holds all who
take part. Slots between them that have nothing to do write into the spare place of the cache and see one key. Prompts
have no fixed shape: they are read by the model's own modules, row by row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omni.engine.native.rows import Row, mask_of
from omni.model.cache import ByIndex
from omni.model.omni import Omni
from omni.model.reach import Reach

SHORTEST = 256  # keys of the smallest bucket


@dataclass
class Step:
    """One shape: the buffers that a step reads and writes, and its graph if it was captured."""

    x: Tensor  # [slots, 1, width]
    starts: Tensor  # [slots, 1], tokens that each slot holds
    places: Tensor  # [slots, 1], where its new token goes
    seen: int  # keys
    hidden: Tensor | None = None  # [slots, 1, width]
    graph: torch.cuda.CUDAGraph | None = None


class Graphs:
    """The stack of a model over the slots of a cache of its own, by the model's modules."""

    def __init__(self, model: Omni, *, slots: int, capacity: int) -> None:
        self.stack = model.stack
        self.width = model.spec.width
        self.cache = model.cache(slots=slots, capacity=capacity)
        self.steps: dict[tuple[int, int], Step] = {}
        device = self.cache.both.device
        with torch.inference_mode(False):
            self.slots = torch.arange(slots, device=device)
            self.keys = torch.arange(capacity + 1, device=device)
            # Addresses of a copy that does not wait have to stay: one pinned piece of memory for all steps.
            self.staging = torch.zeros(2, slots, dtype=torch.long, pin_memory=device.type == "cuda")

    def step(self, x: Tensor, rows: Sequence[Row]) -> Tensor:
        """Read the next tokens of some slots: x [tokens, width], row after row → hidden states, the same shape."""
        for row in rows:
            self.cache.take(row.slot, row.start, row.count)
        if all(row.count == 1 for row in rows):
            return self._singles(x, rows)
        out = torch.empty_like(x)
        at = 0
        singles: list[tuple[int, Row]] = []
        for row in rows:
            if row.count == 1:
                singles.append((at, row))
            else:
                out[at : at + row.count] = self._piece(x[at : at + row.count], row)
            at += row.count
        if singles:
            where = [place for place, _ in singles]
            out[where] = self._singles(x[where], [row for _, row in singles])
        return out

    def prepare(self, sessions: int) -> None:
        """Capture every shape that steps of so many slots can take, before anybody waits for one."""
        if self.cache.both.device.type != "cuda":
            return
        for bucket in sorted({self._bucket(n) for n in range(1, sessions + 1)}):
            seen = SHORTEST
            while True:
                self._capture(self._step(bucket, min(seen, self.cache.capacity)))
                if seen >= self.cache.capacity:
                    break
                seen *= 2

    def _piece(self, x: Tensor, row: Row) -> Tensor:
        """Several tokens of one slot."""
        device = x.device
        mask = mask_of(row, x.dtype, device)
        reach = Reach(causal=True) if mask is None else Reach(bias=mask)
        positions = torch.arange(row.start, row.start + row.count, device=device)[None]  # [1, tokens]
        slot = self.slots[row.slot : row.slot + 1, None]
        caches = self._caches(slice(row.slot, row.slot + 1), slot, positions, row.start + row.count)
        return self.stack(x[None], reach, positions=positions, caches=caches)[0]

    def _singles(self, x: Tensor, rows: Sequence[Row]) -> Tensor:
        """One token each: x [rows, width]."""
        step = self._step(
            self._bucket(max(row.slot for row in rows) + 1), self._seen(max(row.start for row in rows) + 1)
        )
        size = len(step.x)
        starts, places = self.staging[:, :size].fill_(0)
        places.fill_(self.cache.capacity)
        for row in rows:
            starts[row.slot] = places[row.slot] = row.start
        device = step.starts.device
        step.starts[:, 0].copy_(starts, non_blocking=True)
        step.places[:, 0].copy_(places, non_blocking=True)
        which = torch.tensor([row.slot for row in rows]).to(device, non_blocking=True)
        step.x[:, 0].index_copy_(0, which, x)
        if step.graph is not None:
            step.graph.replay()
        else:
            step.hidden = self._run(step)
        assert step.hidden is not None
        return step.hidden[which, 0]

    def _run(self, step: Step) -> Tensor:
        size = len(step.x)
        caches = self._caches(slice(0, size), self.slots[:size, None], step.places, step.seen)
        allowed = (self.keys[: step.seen] <= step.starts)[:, None, None]  # [slots, 1, 1, seen]
        return self.stack(step.x, Reach(allowed=allowed), positions=step.starts, caches=caches)

    def _caches(self, read: slice, slots: Tensor, places: Tensor, seen: int) -> list[ByIndex]:
        both = self.cache.both.unbind()
        return [ByIndex(layer[0], layer[1], slots, places, read, seen) for layer in both]

    def _step(self, size: int, seen: int) -> Step:
        if (size, seen) not in self.steps:
            like, width = self.cache.both, self.width
            with torch.inference_mode(False):
                self.steps[size, seen] = Step(
                    torch.zeros(size, 1, width, dtype=like.dtype, device=like.device),
                    torch.zeros(size, 1, dtype=torch.long, device=like.device),
                    torch.full((size, 1), self.cache.capacity, dtype=torch.long, device=like.device),
                    seen,
                )
        return self.steps[size, seen]

    def _capture(self, step: Step) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # what is chosen at a first call must not be chosen inside the graph
            for _ in range(3):
                self._run(step)
        torch.cuda.current_stream().wait_stream(aside)
        step.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(step.graph):
            step.hidden = self._run(step)

    def _bucket(self, slots: int) -> int:
        """The power of two that holds so many slots, or all."""
        return min(1 << (slots - 1).bit_length(), len(self.cache.lengths))

    def _seen(self, keys: int) -> int:
        """The bucket that holds so many keys."""
        size = SHORTEST
        while size < keys:
            size *= 2
        return min(size, self.cache.capacity)
