"""What the native engine answers in text is what transformers generates with the same weights."""

import asyncio

import pytest
import torch

from omni.engine.clock import LoopClock
from omni.engine.native.engine import NativeEngine
from omni.engine.protocol import Done, EndOfTurn, Origin, SessionSpec, TextIn
from omni.script import ANSWER, END, USER
from tests import virtual_time
from tests.omni.bundles import random_bundle
from tests.parity.llama_of_omni import llama_of


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_an_answer_is_what_transformers_generates_alone_and_in_company(kv_heads: int) -> None:
    bundle = random_bundle(3, speaks=False, kv_heads=kv_heads)
    bundle.model.double()
    peer, special = llama_of(bundle.model), bundle.special
    silent = [i for name, i in special.items() if name != END]

    async def answer(engine: NativeEngine, question: str) -> None:
        prompt = [special[USER], *bundle.text.encode(question), special[ANSWER]]
        expected = peer.generate(
            torch.tensor([prompt]), max_new_tokens=24, do_sample=False, eos_token_id=special[END], pad_token_id=0,
            suppress_tokens=silent,
        )[0, len(prompt) :].tolist()  # fmt: skip
        session = await engine.open(SessionSpec(longest=24))
        await session.push(TextIn(question))
        await session.push(EndOfTurn(Origin("r", 1)))
        async for event in session.events():
            if isinstance(event, Done):
                break
        assert session.last is not None
        assert session.last.ids == [i for i in expected if i != special[END]]
        await session.close()

    async def main() -> None:
        engine = NativeEngine(bundle, sessions=4, clock=LoopClock())
        questions = ["what is the capital of france", "turn on the light", "how many shapes", "you"]
        await answer(engine, questions[0])
        await asyncio.gather(*(answer(engine, question) for question in questions))
        await engine.close()

    virtual_time.run(main())
