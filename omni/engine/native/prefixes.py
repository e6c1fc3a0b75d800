"""Instructions that several sessions share are read once: the first session's keys and values are kept and copied."""

from collections import OrderedDict
from dataclasses import dataclass

from omni.engine.native.lane import Lane
from omni.engine.native.slots import Slots

SHORTEST = 8  # tokens that are worth a copy


class Nobody:
    """Owns a slot in which nothing ever happens."""

    def predicted(self, probability: float) -> None:
        """Nothing to predict."""

    def chosen(self) -> None:
        """Nothing to choose."""

    def poisoned(self, start: int) -> None:
        """Nothing to poison."""

    def broke(self, error: Exception) -> None:
        """Nothing to break."""


@dataclass
class Kept:
    """A slot that holds nothing but a system's part."""

    lane: Lane
    tokens: int


class Prefixes:
    """The slots for it; the one that was longest not asked for is given up first."""

    def __init__(self, slots: Slots, among: range) -> None:
        self.slots = slots
        self.among = among
        self.kept: OrderedDict[tuple[int, ...], Kept] = OrderedDict()
        self.hits = 0

    def copy(self, ids: tuple[int, ...], lane: Lane) -> bool:
        """Let an empty lane, whose tape begins with these ids, have read them."""
        kept = self.kept.get(ids)
        if kept is None:
            return False
        self.kept.move_to_end(ids)
        self.slots.cache.copy(kept.lane.slot, lane.slot, kept.tokens)
        lane.tape.read = kept.tokens
        self.hits += 1
        return True

    def keep(self, ids: tuple[int, ...], lane: Lane) -> None:
        """A lane has read these ids at its beginning."""
        if len(ids) < SHORTEST or ids in self.kept or not len(self.among):
            return
        slot = self.slots.free(self.among)
        if slot is None:
            _, oldest = self.kept.popitem(last=False)
            self.slots.release(oldest.lane)
            slot = oldest.lane.slot
        mine = self.slots.give(slot, Nobody())
        self.slots.cache.copy(lane.slot, slot, len(ids))
        self.kept[ids] = Kept(mine, len(ids))
