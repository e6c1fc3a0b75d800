"""Settings that the engine does not take: nothing is answered with the old ones."""

from omni.engine.protocol import Configure, Refused, SessionSpec, Unit
from omni.engine.scripted import Say, ScriptedEngine, ScriptedSession
from tests.server.realtime_talk import silence, talk, tone
from tests.virtual_time import run


class Narrow(ScriptedSession):
    """Has room for short instructions alone."""

    async def push(self, unit: Unit) -> None:
        if isinstance(unit, Configure) and len(unit.spec.instructions) > 9:
            raise Refused("instructions make 3,000 tokens: make them shorter")
        await super().push(unit)


class NarrowEngine(ScriptedEngine):
    def begin(self, spec: SessionSpec) -> Narrow:
        return Narrow(spec, self.clock, scripts=self._scripts, notices=(), patience=5.0, closed=self.forget)


def test_an_answer_fails_while_the_engine_does_not_take_the_settings() -> None:
    async def main() -> None:
        async with talk(NarrowEngine([Say("Yes.")])) as t:
            for number, instructions in enumerate(
                ("Be as long as you like.", "And longer still, please.", "Be brief."), 1
            ):
                await t.update(instructions=instructions)
                await t.say(tone(1.0))
                await t.say(silence(0.8))
                await t.until("response.done", number)
        found = [event["response"] for event in t.of("response.done")]
        assert [response["status"] for response in found] == ["failed", "failed", "completed"]
        error = found[0]["status_details"]["error"]
        assert error["code"] == "engine_refused"
        assert "did not take the session's settings: instructions make 3,000 tokens" in str(t.events)

    run(main())
