"""What a server says of itself: numbers for Prometheus, lines for people and machines, and never a key."""

import json
import logging
from typing import Any, NoReturn

import pytest
from prometheus_client.parser import text_string_to_metric_families

from omni.engine.protocol import SessionSpec
from omni.engine.scripted import Hang, Say, ScriptedEngine
from omni_server import logs
from omni_server.latency.waterfall import Stage, Waterfall
from omni_server.limits.keys import Keyring
from omni_server.metrics import Metrics
from omni_server.server import Server
from omni_server.session.events import Answer
from omni_server.transport.connection import Connection
from tests.server.loopback import client, get, serving, until

SEEN = Waterfall("speech_end", "first_sent", 300.0, (Stage("endpoint", 1.0, 1.2), Stage("tts", 1.2, 1.25)), 50.0)


def values(page: str) -> dict[str, float]:
    """Each sample by its name and labels."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def scraped(server: Server) -> dict[str, float]:
    return values((await get(server, "/metrics"))[2].decode())


async def test_sessions_answers_and_messages_are_counted() -> None:
    async with serving(ScriptedEngine([Say("yes")], [Say("well"), Hang()])) as server:
        async with client(server) as one:
            await one.say("configure", turns={"by": "client"}, speaks=False)
            await one.say("respond")
            await one.until("answer_done")
            await one.say("respond")
            await one.until("text")
            await one.say("cancel")
            await one.until("answer_done")
            during = await scraped(server)
            assert during["omni_sessions_open dialect=omni.v1"] == 1
            assert during["omni_connections"] == 1
            assert during["omni_messages_total direction=in"] == 4
        await until(lambda: not server.talks)
        after = await scraped(server)
    assert after["omni_sessions_open dialect=omni.v1"] == 0
    assert after["omni_sessions_total dialect=omni.v1"] == 1
    assert after["omni_sessions_ended_total reason=client"] == 1
    assert after["omni_responses_total reason= status=completed"] == 1
    assert after["omni_responses_total reason=client_cancelled status=cancelled"] == 1
    assert after["omni_messages_total direction=in"] == 4
    assert after["omni_message_bytes_total direction=out"] > during["omni_messages_total direction=out"] > 8
    assert after["omni_engines_ready"] == after["omni_ready"] == 1


def test_a_waterfall_goes_into_the_histograms_and_an_excluded_one_does_not() -> None:
    metrics = Metrics()
    metrics.response(Answer("resp_1", "completed"), SEEN)
    metrics.response(Answer("resp_2", "cancelled"), Waterfall(*list(vars(SEEN).values())[:5], ("cancelled",)))
    found = values(metrics.page()[0].decode())
    assert found["omni_voice_to_voice_seconds_count end=first_sent origin=speech_end"] == 1
    assert found["omni_voice_to_voice_seconds_sum end=first_sent origin=speech_end"] == pytest.approx(0.3)
    assert found["omni_stage_seconds_sum stage=endpoint"] == pytest.approx(0.2)
    assert found["omni_stage_seconds_sum stage=tts"] == pytest.approx(0.05)
    assert found["omni_residual_seconds_sum"] == pytest.approx(0.05)


async def test_who_is_not_let_in_is_counted_and_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keyring = Keyring.of([("anna", "correct-horse-battery")])
    async with serving(keyring=keyring) as server:
        for key in ("wrong-horse-battery-1", "wrong-horse-battery-2"):
            with pytest.raises(Exception, match="401"):
                async with client(server, additional_headers={"Authorization": f"Bearer {key}"}):
                    pass
            # A key can be tried here too.
            assert (await get(server, "/v1/models", Authorization=f"Bearer {key}"))[0] == 401
        bearer = {"Authorization": "Bearer correct-horse-battery"}
        async with client(server, "/v1/omni?resume=new", additional_headers=bearer) as one:
            token = (await one.next())["token"]
        await until(lambda: not server.talks)
        page = server.metrics.page()[0].decode()
    assert values(page)["omni_refused_total reason=invalid_api_key"] == 4
    assert sum("not let in" in record.message for record in caplog.records) == 4
    ours = " ".join(str(vars(r)) for r in caplog.records if r.name.startswith("omni_server"))
    assert "anna" in ours
    assert "horse" not in ours
    assert token.partition(".")[2] not in ours


async def test_what_a_stranger_sends_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as server:
        with pytest.raises(Exception, match="403"):
            async with client(server, origin="https://" + 8_000 * "a"):
                pass
    (line,) = (record.message for record in caplog.records if "not let in" in record.message)
    assert len(line) < 250


async def test_a_fault_at_the_door_and_one_behind_it_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Torn(ScriptedEngine):
        async def open(self, spec: SessionSpec) -> NoReturn:
            raise RuntimeError("torn at the door")

    async def torn(_connection: Connection) -> None:
        raise RuntimeError("torn behind it")

    async with serving(Torn(), also={"/v1/torn": torn}) as server:
        with pytest.raises(Exception, match="500"):
            async with client(server):
                pass
        async with client(server, "/v1/torn") as one:
            await one.socket.wait_closed()
    assert server.gateway.admission.inside == 0
    told = [str(r.exc_info[1]) for r in caplog.records if r.exc_info and r.name.startswith("omni_server")]
    assert told == ["torn at the door", "torn behind it"]


@pytest.mark.parametrize("formatter", [logs.ForPeople(), logs.ForMachines()])
def test_a_line_says_what_happened_with_its_facts(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("omni_server.x", logging.INFO, "f", 1, "session %s", ("ended",), None)
    facts: dict[str, Any] = {"session": "sess_1", "seconds": 1.5}
    vars(record).update(facts)
    line = formatter.format(record)
    assert "\n" not in line
    if isinstance(formatter, logs.ForMachines):
        said = json.loads(line)
        assert said["message"] == "session ended"
        assert {name: said[name] for name in facts} == facts
    else:
        assert "session ended  session=sess_1  seconds=1.5" in line
