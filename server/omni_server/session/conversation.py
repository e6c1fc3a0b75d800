"""The items of a conversation, in order."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from omni_server.session.items import Item, Message, SpeechPart

FRONT = ""  # as `after`: in front of all


@dataclass
class Conversation:
    """Ordered, each id once; keeps the user's newest audio up to a budget."""

    kept_samples: int  # of the user's audio
    _items: dict[str, Item] = field(default_factory=dict)  # in order
    _kept: int = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def __contains__(self, name: object) -> bool:
        return name in self._items

    @property
    def last(self) -> str | None:
        """Id of the newest item."""
        return next(reversed(self._items), None)

    @property
    def first(self) -> Item:
        """The oldest item."""
        return next(iter(self._items.values()))

    def find(self, name: str) -> Item | None:
        """The item of this id."""
        return self._items.get(name)

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put it behind that one, or at the end; says which one is in front of it now."""
        if after is None or after == self.last:
            previous = self.last
            self._items[item.id] = item
        else:
            rest = list(self._items.values())
            at = 0 if after == FRONT else 1 + next(i for i, other in enumerate(rest) if other.id == after)
            rest.insert(at, item)
            self._items = {other.id: other for other in rest}
            previous = rest[at - 1].id if at else None
        self.weigh(item)
        return previous

    def previous(self, name: str) -> str | None:
        """Id of the item in front of that one."""
        before = None
        for other in self._items:
            if other == name:
                break
            before = other
        return before

    def remove(self, name: str) -> Item:
        """Take an item out."""
        item = self._items.pop(name)
        for part in _spoken(item):
            self._kept -= len(part.samples) if part.samples is not None else 0
        return item

    def weigh(self, item: Item) -> None:
        """Count its audio, and let go of the oldest where that is too much: of others all, of its own the beginning."""
        self._kept += sum(len(part.samples) for part in _spoken(item) if part.samples is not None)
        if self._kept <= self.kept_samples:
            return
        for other in [*(other for other in self._items.values() if other is not item), item]:
            for part in _spoken(other):
                over = self._kept - self.kept_samples
                if part.samples is not None and over > 0:
                    newest = max(0, len(part.samples) - over) if other is item else 0
                    self._kept -= len(part.samples) - newest
                    part.samples = part.samples[-newest:].copy() if newest else None


def _spoken(item: Item) -> list[SpeechPart]:
    return [part for part in item.parts if isinstance(part, SpeechPart)] if isinstance(item, Message) else []
