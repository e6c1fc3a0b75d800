"""A step of one session against transformers with the same weights, a step of sixteen, and what a tick adds."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from statistics import median
from typing import Any

import torch

from omni.bundle import Bundle
from omni.engine.native.engine import NativeEngine
from omni.engine.native.flat import Flat
from omni.engine.native.lane import Lane
from omni.engine.native.prefixes import Nobody
from omni.engine.native.rehearsal import choose_threads
from omni.engine.native.reply import Reply
from omni.model.omni import Omni, OmniSpec
from omni.model.sampling import Sampler
from omni.sampling import GREEDY
from omni.script import ANSWER, END, SPECIALS
from omni_tokenizers import Text
from omni_tokenizers.sequence import Omni as Tokens
from tests.benchmarks.harness import Row, compare
from tests.parity.llama_of_omni import llama_of

PROMPT, SAID = 64, 64  # tokens
VOCABULARY = 2048


@cache
def text() -> Text:
    return Text.train((f"{n} and {n * n}" for n in range(20_000)), vocab_size=VOCABULARY, special=SPECIALS)


@cache
def bundle() -> Bundle:
    """Six layers of width 256, text alone, random weights: 5 to 6 million, with the table of ids."""
    torch.manual_seed(0)
    tokens = Tokens(text=text())
    spec = OmniSpec(ids=tokens.size, text=text().size, width=256, depth=6, heads=4, hidden=704, longest=1024)
    return Bundle(Omni(spec).eval(), tokens)


class Lanes:
    """Slots that answer a prompt of random ids in text, step by step, with the whole tick around the model."""

    def __init__(self, sessions: int) -> None:
        self.engine = NativeEngine(bundle(), sessions=sessions, capacity=PROMPT + SAID + 16)
        for legal in self.engine.tick.legal.values():
            legal[bundle().special[END]] = float("-inf")  # an answer of a given length
        ids = torch.randint(0, 256, (sessions, PROMPT - 1), generator=torch.Generator().manual_seed(0)).tolist()
        self.prompts = [[*row, bundle().special[ANSWER]] for row in ids]

    def begin(self, sessions: int) -> list[Lane]:
        """So many lanes that have read their prompts."""
        engine, b = self.engine, bundle()
        lanes = []
        with torch.inference_mode():
            for slot in range(sessions):
                if taken := engine.slots.lanes[slot]:
                    engine.slots.release(taken)
                lane = engine.slots.give(slot, Nobody())
                lane.tape.put(engine.embedding.ids(self.prompts[slot]))
                said = b.text.decoder(), Sampler(GREEDY)
                lane.reply = Reply(None, "answer", b.special, *said, 10**6, calls="no", start=0)
                engine.tick.step([(lane, PROMPT)])
                lanes.append(lane)
        return lanes

    def answer(self) -> list[int]:
        """The first one's answer."""
        with torch.inference_mode():
            (lane,) = self.begin(1)
            for _ in range(SAID - 1):
                self.engine.tick.step([(lane, 1)])
            assert lane.reply is not None
            return lane.reply.ids

    def steps(self, lanes: list[Lane]) -> list[float]:
        """The times of the steps of these, ms."""
        took = []
        with torch.inference_mode():
            for _ in range(SAID - 1):
                begin = time.perf_counter()
                self.engine.tick.step([(lane, 1) for lane in lanes])
                took.append((time.perf_counter() - begin) * 1e3)
        return took


def with_threads(threads: int, call: Callable[[], object]) -> Callable[[], object]:
    """The same with so many threads."""

    def run() -> object:
        torch.set_num_threads(threads)
        return call()

    return run


def rows(quick: bool) -> Iterable[Row]:
    """One session beside transformers, then sixteen beside one."""
    lanes, peer = Lanes(1), llama_of(bundle().model)
    assert isinstance(lanes.engine.stepper, Flat)
    threads = choose_threads(lanes.engine.stepper, 1)
    prompt = torch.tensor([lanes.prompts[0]])
    silent = list(bundle().special.values())
    settings: dict[str, Any] = {"max_new_tokens": SAID, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = peer.generate(prompt, suppress_tokens=silent, **settings)[0, PROMPT:].tolist()
    assert lanes.answer() == expected, "the two do not say the same"
    counts = sorted({1, 2, threads})
    generate = partial(peer.generate, prompt, **settings)
    peers = {f"transformers generate, {n} threads": with_threads(n, generate) for n in counts}
    found = compare(
        f"{SAID} steps of one session, with their prompt of {PROMPT}; {threads} threads",
        with_threads(threads, lanes.answer), peers, bar=3.0, runs=3 if quick else 15,
    )  # fmt: skip
    yield max(found, key=lambda row: -row.ratio)  # beside the faster of the peers
    lanes = Lanes(16)
    assert isinstance(lanes.engine.stepper, Flat)
    threads = choose_threads(lanes.engine.stepper, 16)
    rounds = range(3 if quick else 15)
    pairs = [(median(lanes.steps(lanes.begin(16))), median(lanes.steps(lanes.begin(1)))) for _ in rounds]
    ours, one = median(a for a, _ in pairs), median(b for _, b in pairs)
    ratio = median(2.5 * b / a for a, b in pairs)
    work = f"a step of 16 sessions; {threads} threads"
    yield Row(work, ours, 2.5 * one, "2.5 × a step of one", "ms", ratio, 1.0, ratio >= 1, len(pairs))


@contextmanager
def clocked(*calls: tuple[object, str]) -> Iterator[list[float]]:
    """The time spent in some methods, s, in a list of one."""
    spent = [0.0]

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*given)
            finally:
                spent[0] += time.perf_counter() - begin

        return timed

    for thing, name in calls:
        setattr(thing, name, wrap(getattr(thing, name)))
    try:
        yield spent
    finally:
        for thing, name in calls:
            delattr(thing, name)


def overhead(quick: bool) -> Iterable[Row]:
    """What a tick takes beside the model: choosing, tapes, events."""
    lanes = Lanes(16)
    engine = lanes.engine
    torch.set_num_threads(1)
    for sessions in (1, 16):
        shares = []
        for _ in range(3 if quick else 15):
            begun = lanes.begin(sessions)
            with clocked((engine.stepper, "step"), (engine.tick, "scores"), (engine.embedding, "ids")) as spent:
                whole = sum(lanes.steps(begun)) / 1e3
            shares.append((whole - spent[0]) / spent[0])
        ours = median(shares)
        yield Row(
            f"time of a tick outside the model, {sessions} sessions", 100 * ours, 15.0, "of the model's time", "%",
            15 / (100 * ours), 1.0, ours <= 0.15, len(shares),
        )  # fmt: skip
