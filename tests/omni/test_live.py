"""What is read in pieces, in any company, equals what is read at once."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.model.live import Live
from omni.model.omni import Omni
from omni.model.walker import Walker
from omni_tokenizers.sequence import Sequence
from tests.omni.small_omni import SPEC, model, sequence

MODEL = model()
WALKER = Walker(MODEL, 128)
THREE_AXES = model(sections=(2, 1, 1))

KINDS = st.sampled_from(["text", "image", "audio", "speech", "codec"])
PARTS = st.lists(st.tuples(KINDS, st.integers(1, 9)), min_size=1, max_size=6)


def whole(net: Omni, given_sequence: Sequence) -> torch.Tensor:
    with torch.no_grad():
        return net(given_sequence).hidden[0]


def cuts(given_sequence: Sequence, chooser: "st.DataObject") -> list[int]:
    """Places where a sequence may be cut: anywhere but inside an image."""
    inside = {t for span in given_sequence.spans if span.whole for t in range(span.start + 1, span.stop)}
    allowed = [t for t in range(1, len(given_sequence)) if t not in inside]
    chosen = chooser.draw(st.lists(st.sampled_from(allowed), unique=True, max_size=6)) if allowed else []
    return [0, *sorted(chosen), len(given_sequence)]


def same(a: torch.Tensor, b: torch.Tensor) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@settings(max_examples=60, deadline=None)
@given(PARTS, st.integers(0, 99), st.sampled_from(["linear", "mrope"]), st.data())
def test_a_sequence_in_any_pieces_equals_the_sequence_at_once(
    parts: list[tuple[str, int]], seed: int, scheme: str, data: st.DataObject
) -> None:
    net = MODEL if scheme == "linear" else THREE_AXES
    sent = sequence(*parts, seed=seed, scheme=scheme)
    # A speech bridge groups features, and only the last token of a span may be short: a cut keeps that.
    live = Live(net, slots=1, capacity=128, walker=data.draw(st.sampled_from([None, WALKER])) if net is MODEL else None)
    edges = cuts(sent, data)
    heard = [live.push({0: sent.slice(a, b)})[0] for a, b in itertools.pairwise(edges)]
    same(torch.cat(heard), whole(net, sent))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_neighbours_that_come_and_go_change_nothing(data: st.DataObject) -> None:
    slots = 4
    live = Live(MODEL, slots=slots, capacity=128, walker=data.draw(st.sampled_from([None, WALKER])))
    waiting = [sequence(*data.draw(PARTS), seed=n) for n in range(data.draw(st.integers(2, 7)))]
    running: dict[int, tuple[Sequence, list[int], list[torch.Tensor]]] = {}
    finished = 0
    total = len(waiting)
    while finished < total:
        free = [slot for slot in range(slots) if slot not in running]
        if waiting and free:
            slot = data.draw(st.sampled_from(free))
            live.reset(slot)
            sent = waiting.pop()
            running[slot] = (sent, cuts(sent, data), [])
        moving = data.draw(st.sets(st.sampled_from(sorted(running)), min_size=1))
        pieces = {slot: running[slot][0].slice(*running[slot][1][:2]) for slot in moving}
        for slot, hidden in live.push(pieces).items():
            sent, edges, heard = running[slot]
            heard.append(hidden)
            del edges[0]
            if len(edges) == 1:
                same(torch.cat(heard), whole(MODEL, sent))
                del running[slot]
                finished += 1


@settings(max_examples=30, deadline=None)
@given(PARTS, PARTS, PARTS)
def test_what_is_rolled_back_was_never_said(
    kept: list[tuple[str, int]], taken_back: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    sent = sequence(*kept, *after, seed=1)
    middle = len(sequence(*kept))
    # In the middle of a sound, where the stem's own memory counts.
    if kept[-1][0] == "audio":
        middle -= 1
    live = Live(MODEL, slots=2, capacity=128)
    heard = [live.push({1: sent.slice(0, middle)}).get(1, torch.zeros(0, SPEC.width))]
    mark = live.mark(1)
    live.push({1: sequence(*taken_back, seed=2)})
    live.rollback(1, mark)
    heard.append(live.push({1: sent.slice(middle, len(sent))})[1])
    same(torch.cat(heard), whole(MODEL, sent))


@settings(max_examples=20, deadline=None)
@given(PARTS, PARTS, PARTS)
def test_a_shared_beginning_is_read_once_and_copied(
    beginning: list[tuple[str, int]], one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    both = [sequence(*beginning, *rest, seed=3) for rest in (one, other)]
    shared = len(sequence(*beginning))
    live = Live(MODEL, slots=3, capacity=128)
    first = live.push({0: both[0].slice(0, shared)})[0]
    live.push({2: sequence(("text", 9))})  # what the target held before is gone
    live.copy(0, 2)
    rest = live.push({slot: s.slice(shared, len(s)) for slot, s in ((0, both[0]), (2, both[1]))})
    for slot, sent in ((0, both[0]), (2, both[1])):
        same(torch.cat([first, rest[slot]]), whole(MODEL, sent))


def test_a_refused_piece_changes_no_slot() -> None:
    live = Live(MODEL, slots=2, capacity=20)
    live.push({0: sequence(("text", 15)), 1: sequence(("audio", 3))})
    before = (list(live.cache.lengths), list(live.pasts))
    with pytest.raises(ValueError, match="slot 0 holds 15 of 20 tokens and 6 more do not fit"):
        live.push({0: sequence(("text", 6)), 1: sequence(("text", 2))})
    with pytest.raises(ValueError, match="not built for image: it takes text, audio"):
        Live(model(inputs={"audio": SPEC.inputs["audio"]})).push({0: sequence(("image", 1))})
    with pytest.raises(ValueError, match="there is no slot 2: this cache has 0 to 1"):
        live.push({2: sequence(("text", 2))})
    assert (live.cache.lengths, live.pasts) == before


def test_pieces_that_cannot_be_read_behind_a_past_are_refused() -> None:
    live = Live(THREE_AXES, slots=1, capacity=20)
    with pytest.raises(ValueError, match="2 documents: a slot holds one"):
        live.push({0: Sequence.pack([sequence(("text", 2)), sequence(("text", 2))])})
    with pytest.raises(ValueError, match="tmrope"):
        live.push({0: sequence(("text", 2), scheme="tmrope")})
    with pytest.raises(ValueError, match="no padding"):
        live.push({0: sequence(("text", 2)).pad(4)})
    with pytest.raises(ValueError, match="capacity of 1000 tokens is beyond the 256 positions"):
        Live(MODEL, capacity=1000)


def test_what_poisoned_a_slot_does_not_reach_its_next_owner() -> None:
    live = Live(MODEL, slots=2, capacity=40)
    sound = sequence(("audio", 6))
    live.push({0: replace(sound, payloads=({"values": np.full((6, 4, 6), np.nan, np.float32)},))})
    live.reset(0)
    live.push({1: sequence(("text", 9))})
    heard = live.push({0: sequence(("text", 2)), 1: sequence(("text", 2))})
    same(heard[0], whole(MODEL, sequence(("text", 2))))
