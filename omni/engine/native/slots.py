"""Whose slot is whose. A slot is wiped before it is given away, and results are handed to its owner of that moment."""

from torch import Tensor

from omni.engine.native.lane import Lane, Owner
from omni.engine.native.tape import Tape
from omni.model.cache import Cache


class Slots:
    """The slots of a cache, each with room for the vectors of a tape."""

    def __init__(self, cache: Cache, vectors: Tensor) -> None:
        self.cache = cache
        self.vectors = vectors  # [slots, capacity, width]
        self.lanes: list[Lane | None] = [None] * len(vectors)
        self.given = 0  # times that a slot was given to somebody

    @property
    def capacity(self) -> int:
        """Tokens that each has room for."""
        return int(self.vectors.shape[1])

    def free(self, among: range) -> int | None:
        """A free slot, the lowest."""
        return next((slot for slot in among if self.lanes[slot] is None), None)

    def give(self, slot: int, owner: Owner) -> Lane:
        """A free slot to a new owner, empty."""
        if self.lanes[slot] is not None:
            raise ValueError(f"slot {slot} is taken")
        self.cache.reset(slot)
        self.lanes[slot] = lane = Lane(slot, Tape(self.vectors[slot]), owner)
        self.given += 1
        return lane

    def release(self, lane: Lane) -> None:
        """The owner is gone, and what it said with it."""
        if self.lanes[lane.slot] is lane:
            self.lanes[lane.slot] = None
            lane.tape.vectors[: lane.tape.most].zero_()

    def owns(self, lane: Lane) -> bool:
        """Whether the lane still has its slot."""
        return self.lanes[lane.slot] is lane
