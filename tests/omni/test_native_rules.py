"""The native engine keeps the rules that every engine keeps, with a model whose answers are known beforehand."""

import pytest

from omni.engine.clock import LoopClock
from omni.engine.native.engine import NativeEngine
from omni.engine.protocol import Engine
from tests.omni.conformance import CASES, ENUMERATED, Case, Subject, conforms, name_of
from tests.omni.planted import planted

SHORT = planted("fo", frames=4)
LONG = planted("abcdefgjklmnopqr", frames=320, longest=1024)


async def make(*, sessions: int = 4, long: bool = False) -> Engine:
    return NativeEngine(LONG if long else SHORT, sessions=sessions, clock=LoopClock())


@pytest.mark.parametrize("case", [*CASES, *ENUMERATED], ids=name_of)
def test_native_keeps_the_rules(case: Case) -> None:
    conforms(Subject(make), case)
