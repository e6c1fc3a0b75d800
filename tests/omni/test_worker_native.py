"""What a GPU may do to the native engine in its worker: choices on two devices, and a device that is lost."""

import pytest
import torch

from omni.engine.native.engine import HOPELESS, LOST
from omni.engine.protocol import Done, EndOfTurn, Failed, Full, SessionSpec, TextIn
from omni.model.sampling import draw
from omni.sampling import GREEDY, Sampling
from tests import virtual_time
from tests.omni.native_talk import engine_of, turn
from tests.omni.planted import planted
from tests.omni.talking import origin


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_greedy_choice_and_a_drawn_one_go_together_on_a_gpu() -> None:
    scores = torch.randn(1, 8, device="cuda")
    chosen = torch.cat([draw(scores, how, torch.Generator()) for how in (GREEDY, Sampling(0.8))])
    assert chosen.shape == (2,)


def broken_times(error: Exception, times: int, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, bool]:
    """Whether the engine is broken and ready, after so many sessions whose first step broke."""
    found = []

    def breaks(*_given: object) -> torch.Tensor:
        raise error

    async def main() -> None:
        engine = engine_of(planted())
        good = await engine.open(SessionSpec())
        assert (await turn(good, 1, TextIn("hi")))[-1] == Done(origin(1))
        with monkeypatch.context() as during:
            during.setattr(engine.stepper, "step", breaks)
            for _ in range(times):
                session = await engine.open(SessionSpec())
                await session.push(EndOfTurn(origin(1)))
                assert isinstance([e async for e in session.events()][-1], Failed)
                await session.close()
        if engine.broken:
            with pytest.raises(Full):
                await engine.open(SessionSpec())
        else:
            last = await engine.open(SessionSpec())
            assert (await turn(last, 1, TextIn("hi")))[-1] == Done(origin(1))
            assert engine._breaks == 0
        found.append((engine.broken, engine.ready))
        await engine.close()

    virtual_time.run(main())
    return found[0]


def test_an_engine_whose_steps_break_one_after_the_other_says_that_it_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert broken_times(RuntimeError("out of memory"), HOPELESS - 1, monkeypatch) == (False, True)
    assert broken_times(RuntimeError("out of memory"), HOPELESS, monkeypatch) == (True, False)


@pytest.mark.skipif(not LOST, reason="this torch has no name for it")
def test_one_error_of_the_device_itself_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken_times(LOST("CUDA error: an illegal memory access"), 1, monkeypatch) == (True, False)
