"""One step of everybody who has something to do: vectors, the stack, and what is said next."""

import logging
from collections.abc import Sequence
from math import isfinite
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from omni.bundle import Bundle
from omni.engine.native.choose import choose_codes, choose_ids, choose_stops
from omni.engine.native.embedding import Embedding
from omni.engine.native.lane import Lane
from omni.engine.native.reply import Legal, Reply
from omni.engine.native.rows import Row
from omni.engine.native.slots import Slots
from omni.engine.native.tape import OF_AUDIO
from omni.model.cache import Cache
from omni.script import CALL, END, MORE

LAST = 4  # tokens of a context that an answer leaves free: its ends
log = logging.getLogger(__name__)


class Alone:
    """What goes wrong in here is of one lane: its owner ends, and nobody else has to.

    One is made for each lane of each step, where a generator's would take three times as long.
    """

    __slots__ = ("lane",)

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        log.error("what a step chose for slot %d failed", self.lane.slot, exc_info=error)
        self.lane.owner.broke(error)
        return True


class Stepper(Protocol):
    """A stack over the slots of a cache."""

    cache: Cache
    width: int

    def step(self, x: Tensor, rows: Sequence[Row]) -> Tensor:
        """Read the next tokens of some slots: x [tokens, width], row after row → hidden states, the same shape."""
        ...


class Tick:
    """What a tick does with the lanes that were chosen for it."""

    def __init__(self, bundle: Bundle, stepper: Stepper, embedding: Embedding, slots: Slots) -> None:
        self.model = bundle.model
        self.stepper = stepper
        self.embedding = embedding
        self.slots = slots
        special = bundle.special
        self.end, self.more = special[END], special[MORE]
        weight = self.model.embed.weight
        # Added to the scores of text: nothing but words and the end; and where a tool may or must be called, a call.
        words = torch.zeros(self.model.spec.text, dtype=weight.dtype)
        words[[i for i in special.values() if i < len(words)]] = float("-inf")
        words[self.end] = 0
        calls = words.clone()
        calls[special[CALL]] = 0
        only = torch.full_like(words, float("-inf"))
        only[special[CALL]] = 0
        ends = torch.full_like(words, float("-inf"))
        ends[self.end] = 0
        legal: dict[Legal, Tensor] = {"no": words, "may": calls, "must": only, "end": ends}
        self.legal = {when: scores.to(weight.device) for when, scores in legal.items()}
        head = weight[: self.model.spec.text] if self.model.head is None else self.model.head.weight
        self.text = head.detach()  # [text ids, width]
        self.go_on = self.text[[self.more, self.end]]  # [2, width]

    def step(self, work: Sequence[tuple[Lane, int]]) -> None:
        """Read the next so many tokens of each lane, and let their owners know what came of it."""
        rows, parts = [], []
        for lane, count in work:
            tape = lane.tape
            if self.stepper.cache.lengths[lane.slot] != tape.read:
                self.stepper.cache.truncate(lane.slot, tape.read)
            rows.append(Row(lane.slot, tape.read, count, tape.seen(tape.read, count) if tape.pictures else ()))
            parts.append(tape.vectors[tape.read : tape.read + count])
        hidden = self.stepper.step(parts[0] if len(parts) == 1 else torch.cat(parts), rows)  # [tokens, width]
        last = hidden  # [rows, width]
        if hidden.shape[0] > len(rows):
            lasts = torch.tensor([row.count for row in rows]).cumsum(0) - 1
            last = hidden[lasts.to(hidden.device)]
        sums = last.sum(1).tolist()  # not finite where anything in the row is not
        for lane, count in work:
            lane.tape.read += count
        speaking, listening = [], []
        for number, ((lane, count), total) in enumerate(zip(work, sums, strict=True)):
            if not self.slots.owns(lane):
                continue
            if not isfinite(total):
                with Alone(lane):
                    lane.owner.poisoned(lane.tape.read - count)
                self.stepper.cache.truncate(lane.slot, lane.tape.read)
                self.stepper.cache.wipe(lane.slot)
            elif lane.reply is None:
                if lane.tape.sound[0] < lane.tape.read <= lane.tape.sound[1]:
                    listening.append(number)
            elif not lane.tape.unread and not lane.reply.over:
                speaking.append(number)
        if listening and "turn" in self.model.extra:
            chances = self.model.extra["turn"](last[listening])[:, 0].sigmoid().tolist()
            for number, chance in zip(listening, chances, strict=True):
                lane = work[number][0]
                with Alone(lane):
                    lane.owner.predicted(chance)
        if speaking:
            self._say([work[number][0] for number in speaking], _rows(last, speaking))

    def scores(self, hidden: Tensor) -> Tensor:
        """Of every text id: [rows, width] → [rows, ids]."""
        return F.linear(hidden, self.text)

    def _say(self, lanes: list[Lane], hidden: Tensor) -> None:
        """Choose what each lane says next, [lanes, width], and put it on its tape."""
        replies = [lane.reply for lane in lanes if lane.reply is not None]
        must_end = [reply.must_end or lane.tape.room <= LAST for reply, lane in zip(replies, lanes, strict=True)]
        for reply, must in zip(replies, must_end, strict=True):
            reply.cut_short |= must
        ids = {n: self.end for n, must in enumerate(must_end) if must}
        following = [reply.next for reply in replies]
        texts = [n for n, what in enumerate(following) if what in ("text", "either") and n not in ids]
        sounds = [n for n, what in enumerate(following) if what == "frame" and n not in ids]
        going = self._choose_words(replies, texts, _rows(hidden, texts), ids) if texts else []  # who says a frame
        if sounds:
            stops = choose_stops(F.linear(_rows(hidden, sounds), self.go_on), [replies[n].sampler for n in sounds])
            ids |= {n: self.end for n, stop in zip(sounds, stops, strict=True) if stop}
            going = sorted([*going, *(n for n, stop in zip(sounds, stops, strict=True) if not stop)])
        codes: dict[int, list[int]] = {}
        if going:
            said = choose_codes(self.model, _rows(hidden, going), [replies[n].sampler for n in going])
            codes = dict(zip(going, said, strict=True))
        if ids:
            vectors = self.embedding.ids(list(ids.values()))
            for row, (n, chosen) in enumerate(ids.items()):
                if not self.slots.owns(lanes[n]):  # another one's end took it along
                    continue
                with Alone(lanes[n]):
                    at = lanes[n].tape.length
                    lanes[n].tape.put(vectors[row : row + 1])
                    if following[n] == "frame":
                        replies[n].stop()
                    else:
                        replies[n].say(chosen, at)
        if codes:
            vectors = self.embedding.frames(list(codes.values()))
            for row, (n, frame) in enumerate(codes.items()):
                if not self.slots.owns(lanes[n]):
                    continue
                with Alone(lanes[n]):
                    at = lanes[n].tape.length
                    lanes[n].tape.put(vectors[row : row + 1], OF_AUDIO)
                    replies[n].frame(frame, at)
        for lane in lanes:
            if self.slots.owns(lane):
                with Alone(lane):
                    lane.owner.chosen()

    def _choose_words(self, replies: list[Reply], texts: list[int], hidden: Tensor, ids: dict[int, int]) -> list[int]:
        """Put what these replies say next into `ids`; those that say a frame instead come back."""
        scores = self.scores(hidden)  # [texts, ids]
        undecided = any(replies[n].next == "either" for n in texts)
        more = scores[:, self.more].tolist() if undecided else []
        now = [replies[n].legal for n in texts]
        scores += self.legal["no"] if now.count("no") == len(now) else torch.stack([self.legal[n] for n in now])
        going = []
        if undecided:
            best = scores.max(1).values.tolist()
            speaks = [replies[n].next == "either" and m > b for n, m, b in zip(texts, more, best, strict=True)]
            going = [n for n, frame in zip(texts, speaks, strict=True) if frame]
            scores = _rows(scores, [row for row, frame in enumerate(speaks) if not frame])
            texts = [n for n in texts if n not in going]
        if texts:
            ids |= zip(texts, choose_ids(scores, [replies[n].sampler for n in texts]), strict=True)
        return going


def _rows(x: Tensor, which: list[int]) -> Tensor:
    """Some rows of x, in their order; all of them without a copy."""
    return x if len(which) == x.shape[0] else x[which]
