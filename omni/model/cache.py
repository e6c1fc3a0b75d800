"""Keys and values of the past, in fixed slots: one allocation, a length for every slot, no growth.

A step takes rows for some slots, each with its own number of new tokens, writes their keys and values behind what
the slot already holds, and lets each row see its own past. Nothing moves when a session joins, leaves or is rolled
back: forgetting is setting a length.

Three ways to the same numbers, from the fastest: rows that are neighbouring slots of one length are written and read
in place; neighbouring slots of different lengths are read in place and written by index; any other choice of slots is
gathered, which copies their past once a layer. A loop over fixed slots steps all of them, idle ones with a count of 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omni.model.attention import KeyValues
from omni.model.reach import CAUSAL, EVERYTHING, Reach
from omni.model.stack import StackSpec


@dataclass(slots=True)
class InPlace:
    """One layer of a step whose rows are neighbouring slots of one length: everything is a view."""

    keys: Tensor  # [rows, kv_heads, seen, head_width]
    values: Tensor
    new_keys: Tensor  # [rows, kv_heads, new, head_width], the end of `keys`
    new_values: Tensor

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write [rows, kv_heads, new, head_width]; return all that is seen."""
        self.new_keys.copy_(key.detach())
        self.new_values.copy_(value.detach())
        return self.keys, self.values


@dataclass(slots=True)
class ByIndex:
    """One layer of a step over any slots: written by index, read in place or gathered."""

    keys: Tensor  # [slots, kv_heads, capacity + 1, head_width], the layer's whole store
    values: Tensor
    rows: Tensor  # [rows, 1], the slot of each row
    places: Tensor  # [rows, new], where each new token is written; padding is written into the spare place
    read: slice | Tensor  # the slots as a slice where they are neighbours, [rows] otherwise
    seen: int

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write [rows, kv_heads, new, head_width]; return [rows, kv_heads, seen, head_width]."""
        self.keys[self.rows, :, self.places] = key.detach().transpose(1, 2)
        self.values[self.rows, :, self.places] = value.detach().transpose(1, 2)
        keys, values = self.keys[:, :, : self.seen], self.values[:, :, : self.seen]
        return keys[self.read], values[self.read]


@dataclass
class Step:
    """What one forward pass over some slots needs, beside its input."""

    caches: Sequence[KeyValues]  # one a layer
    reach: Reach
    positions: Tensor  # [rows, new], counted from each slot's beginning
    counts: list[int]  # new tokens of each row; the rest of the row is padding
    seen: int  # the longest past with its new tokens


def untouched(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Zeros that take memory only where something is written, where that can be had: an idle slot costs nothing."""
    # A tensor born in inference mode could not be written outside of it.
    with torch.inference_mode(False):
        if torch.device(device).type == "cpu" and dtype in (torch.float32, torch.float64):
            # numpy asks the system for zeros, torch writes them: 17 slots of 1,024 tokens were 214 MB from the start.
            return torch.from_numpy(np.zeros(shape, "f4" if dtype == torch.float32 else "f8"))
        return torch.zeros(tuple(shape), dtype=dtype, device=device)


class Cache:
    """Key-value store for `slots` sessions of up to `capacity` tokens each. No gradient flows through it."""

    def __init__(
        self,
        *,
        layers: int,
        slots: int,
        kv_heads: int,
        capacity: int,
        head_width: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        # One place more than the capacity: padded tokens are written there and never read.
        shape = (layers, 2, slots, kv_heads, capacity + 1, head_width)
        self.both = untouched(shape, dtype, device)
        self.keys, self.values = self.both.unbind(1)  # each [layers, slots, kv_heads, capacity + 1, head_width]
        self.lengths = [0] * slots  # on the host: the loop decides with it, without waiting for a device
        self.written = [0] * slots  # places of each slot that hold anything, forgotten or not
        self.capacity = capacity

    @classmethod
    def of(cls, stack: StackSpec, slots: int, capacity: int, like: Tensor) -> "Cache":
        """The cache of a stack, with the type and device of one of its tensors."""
        attention = stack.block.attention
        _, kv_heads, head_width = attention.sizes(stack.block.width)
        return cls(
            layers=stack.depth, slots=slots, kv_heads=kv_heads, capacity=capacity, head_width=head_width,
            dtype=like.dtype, device=like.device,
        )  # fmt: skip

    def reset(self, slot: int) -> None:
        """Forget everything a slot holds, for another owner.

        What was written is wiped: a row reads places beyond its own length when its neighbours are longer, with a
        weight of zero, and zero times a poisoned value is poison.
        """
        self.truncate(slot, 0)
        self.wipe(slot)

    def wipe(self, slot: int) -> None:
        """Overwrite what a slot held once and has forgotten."""
        kept = self.lengths[slot]
        self.both[:, :, slot, :, kept : self.written[slot]] = 0
        self.written[slot] = kept

    def truncate(self, slot: int, length: int) -> None:
        """Forget all but the first `length` tokens of a slot: an interruption, or a start that came too early."""
        self.check(slot)
        held = self.lengths[slot]
        if not 0 <= length <= held:
            raise ValueError(f"slot {slot} holds {held} tokens and cannot be cut to {length}")
        self.lengths[slot] = length

    def copy(self, source: int, target: int, tokens: int | None = None) -> None:
        """Give the target slot what the source holds, or its first tokens: instructions computed once and shared."""
        self.check(source)
        self.check(target)
        if source == target:
            return
        self.reset(target)
        n = self.lengths[source] if tokens is None else tokens
        if not 0 <= n <= self.lengths[source]:
            raise ValueError(f"slot {source} holds {self.lengths[source]} tokens and {n} are to be copied")
        self.both[:, :, target, :, :n] = self.both[:, :, source, :, :n]
        self.lengths[target] = self.written[target] = n

    def check(self, slot: int) -> None:
        """Raise unless there is such a slot."""
        if not 0 <= slot < len(self.lengths):
            raise ValueError(f"there is no slot {slot}: this cache has 0 to {len(self.lengths) - 1}")

    def take(self, slot: int, start: int, count: int) -> None:
        """Count so many new tokens that somebody else writes behind the `start` tokens of a slot."""
        if self.lengths[slot] != start or not 0 < count <= self.capacity - start:
            raise ValueError(
                f"{count} tokens cannot follow {start} in slot {slot}, which holds {self.lengths[slot]} of "
                f"{self.capacity}"
            )
        self.lengths[slot] = start + count
        self.written[slot] = max(self.written[slot], start + count)

    def step(self, slots: Sequence[int], counts: Sequence[int], within: Tensor | None = None) -> Step:
        """Make room for `counts[i]` new tokens in `slots[i]`, and say what each of them sees.

        Every new token sees its slot's past. Among themselves they are causal, or as `within` says: bool
        [rows, new, new], for instance both ways inside an image. The lengths advance when the step is made.
        """
        slots, counts = list(slots), list(counts)
        if len(set(slots)) != len(slots) or len(slots) != len(counts) or not slots:
            raise ValueError(
                f"a step takes one count for every slot and no slot twice, got slots {slots}, counts {counts}"
            )
        for slot, wants in zip(slots, counts, strict=True):
            self.check(slot)
            if self.lengths[slot] + wants > self.capacity or wants < 0:
                raise ValueError(
                    f"slot {slot} holds {self.lengths[slot]} of {self.capacity} tokens and {wants} more do not fit: "
                    f"drop old items first, or make the cache larger"
                )
        before = [self.lengths[slot] for slot in slots]
        new, seen = max(counts), max(b + c for b, c in zip(before, counts, strict=True))
        if new == 0:
            raise ValueError("a step without a new token in any slot")
        neighbours = all(slot == slots[0] + i for i, slot in enumerate(slots))
        for slot, wants in zip(slots, counts, strict=True):
            self.lengths[slot] += wants
            self.written[slot] = max(self.written[slot], self.lengths[slot])
        if neighbours and len(set(before)) == 1 and min(counts) == new:
            return self._even(slots[0], counts, before[0], within)
        return self._ragged(slots, counts, before, seen, neighbours, within)

    def _even(self, first: int, counts: list[int], before: int, within: Tensor | None) -> Step:
        """Neighbouring slots of one length, the same number of new tokens in each."""
        device, rows, new = self.keys.device, len(counts), counts[0]
        seen = before + new
        keys = self.keys[:, first : first + rows, :, :seen]  # [layers, rows, kv_heads, seen, head_width]
        values = self.values[:, first : first + rows, :, :seen]
        ends = (keys[..., before:, :], values[..., before:, :])
        views = map(InPlace, keys.unbind(), values.unbind(), ends[0].unbind(), ends[1].unbind())
        if within is not None:
            past = torch.ones(rows, new, before, dtype=torch.bool, device=device)
            reach = Reach(allowed=torch.cat([past, within.to(device)], dim=2)[:, None])
        elif new == 1:
            reach = EVERYTHING
        elif before == 0:
            reach = CAUSAL
        else:
            reach = Reach(allowed=torch.ones(new, seen, dtype=torch.bool, device=device).tril(before)[None, None])
        positions = torch.arange(before, seen, device=device).expand(rows, new)
        return Step(list(views), reach, positions, counts, seen)

    def _ragged(
        self, slots: list[int], counts: list[int], before: list[int], seen: int, neighbours: bool, within: Tensor | None
    ) -> Step:
        """Any slots, any lengths."""
        device, new = self.keys.device, max(counts)
        numbers = torch.tensor([slots, counts, before]).to(device)  # one transfer
        rows, added, start = numbers[0], numbers[1], numbers[2, :, None]  # [rows], [rows], [rows, 1]
        column = torch.arange(new, device=device)
        key = torch.arange(seen, device=device)
        real = column < added[:, None]  # [rows, new]
        offset = (key - start)[:, None]  # [rows, 1, seen], index of a key among the new tokens; below 0 in the past
        if within is None:
            allowed = offset <= column[:, None]  # [rows, new, seen]
        else:
            among = within.to(device).gather(2, offset.clamp(0, new - 1).expand(-1, new, -1))
            allowed = (offset < 0) | (among & (offset < added[:, None, None]))
        # A padded query sees one key, so that its softmax is finite; nobody reads what comes out.
        allowed = torch.where(real[..., None], allowed, key == 0)
        places = torch.where(real, start + column, self.capacity)
        read = slice(slots[0], slots[0] + len(slots)) if neighbours else rows
        views = [
            ByIndex(k, v, rows[:, None], places, read, seen)
            for k, v in zip(self.keys.unbind(), self.values.unbind(), strict=True)
        ]
        return Step(views, Reach(allowed=allowed[:, None]), start + column, counts, seen)
