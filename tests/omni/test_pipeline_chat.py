"""Chat endpoints as a text model: one on loopback that answers, fails, stalls and hangs up as it is told."""

import asyncio
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omni.engine.answering import StageFailed
from omni.engine.pipeline import chat
from omni.engine.pipeline.chat import ChatEndpoint
from omni.engine.pipeline.http_stream import HttpError
from omni.engine.pipeline.pipeline import PipelineEngine
from omni.engine.pipeline.scripted import ScriptedEars, ScriptedVoice
from omni.engine.pipeline.stages import Call, Message, Stopped
from omni.engine.protocol import (
    Cancel,
    Done,
    EndOfTurn,
    Failed,
    SessionSpec,
    TextDelta,
    TextIn,
    Tool,
)
from omni.sampling import Sampling
from tests.omni.talking import all_of, origin, run, until_end


@dataclass
class Endpoint:
    """A chat endpoint on loopback that answers what it is told to."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


Answer = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def endpoint(answer: Answer) -> AsyncIterator[Endpoint]:
    about = Endpoint()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(next(line for line in head.split("\r\n") if line.lower().startswith("content-length")).split(":")[1])
        about.heads.append(head)
        about.asked.append(json.loads(await reader.readexactly(size)))
        try:
            await answer(writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
        about.hung_up.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    about.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield about


def chunked(*events: Any, cut: int = 7) -> Answer:
    """Server-sent events in chunks that are cut anywhere."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        text = "".join(
            f"data: {e if isinstance(e, str) else json.dumps(e, ensure_ascii=False)}\r\n\r\n" for e in events
        )
        data = (": a comment\r\n\r\n" + text).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(data), cut):
            piece = data[at : at + cut]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        writer.write(b"0\r\n\r\n")

    return answer


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, **more}]}


def raw(data: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def test_an_endpoint_is_asked_in_full_and_its_words_stream_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")

    async def main() -> None:
        events = [
            says("Ünï"),
            says("cødé 🎈"),
            says("", finish_reason="length"),
            {"choices": [], "usage": {}},
            "[DONE]",
        ]
        async with endpoint(chunked(*events)) as there:
            model = ChatEndpoint(there.url, model="m", key_env="MY_KEY", sees="yes")
            tool = Tool("light", "Switch it.", {"type": "object"})
            call = Call("light", '{"on": true}', "call_1")
            picture = np.zeros((2, 3, 3), np.uint8)
            pieces = await all_of(
                model, Message("system", "Brief."), Message("user", "Look.", images=(picture,)),
                Message("assistant", "", calls=(call,)), Message("tool", "done", call="call_1"),
                tools=(tool,), how=Sampling(0.5, top_k=9, top_p=0.9, repetition=1.1, seed=4), longest=77,
            )  # fmt: skip
            assert pieces == ["Ünï", "cødé 🎈", Stopped()]
            asked = there.asked[0]
            image = asked["messages"][1]["content"][0]["image_url"]["url"]
            assert image.startswith("data:image/png;base64,")
            asked["messages"][1]["content"][0]["image_url"]["url"] = ""
            function = {"name": "light", "description": "Switch it.", "parameters": {"type": "object"}}
            assert asked == {
                "model": "m", "stream": True, "max_tokens": 77, "temperature": 0.5, "top_p": 0.9, "seed": 4, "top_k": 9,
                "repetition_penalty": 1.1, "tools": [{"type": "function", "function": function}], "tool_choice": "auto",
                "messages": [
                    {"role": "system", "content": "Brief."},
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}},
                                                 {"type": "text", "text": "Look."}]},
                    {"role": "assistant", "content": "", "tool_calls": [
                        {"id": "call_1", "type": "function",
                         "function": {"name": "light", "arguments": '{"on": true}'}}]},
                    {"role": "tool", "content": "done", "tool_call_id": "call_1"},
                ],
            }  # fmt: skip
            await all_of(model, Message("user", "Light!"), tools=(tool,), must_call=True)
            assert there.asked[1]["tool_choice"] == "required"
            assert "POST /v1/chat/completions HTTP/1.1" in there.heads[0]
            assert "Authorization: Bearer secret" in there.heads[0]
            assert "secret" not in repr(vars(model))

    run(main())


def test_nobody_waits_while_a_picture_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    packed_in: list[threading.Thread] = []
    monkeypatch.setattr(chat, "as_url", lambda _: packed_in.append(threading.current_thread()) or "data:")

    async def main() -> None:
        async with endpoint(chunked(says("Hi"), "[DONE]")) as there:
            model = ChatEndpoint(there.url, model="m", sees="yes")
            await all_of(model, Message("user", "Look.", images=(np.zeros((2, 3, 3), np.uint8),)))

    run(main())
    assert len(packed_in) == 1
    assert packed_in[0] is not threading.current_thread()


def test_calls_of_tools_come_whole_out_of_their_fragments() -> None:
    async def main() -> None:
        def piece(index: int, **function: str) -> dict[str, Any]:
            call = {"index": index, "function": function} | ({"id": f"call_{index}"} if "name" in function else {})
            return {"choices": [{"delta": {"tool_calls": [call]}}]}

        fragments = [
            piece(0, name="light"),
            piece(0, arguments='{"on"'),
            piece(1, name="time"),
            piece(0, arguments=": true}"),
        ]
        async with endpoint(chunked(*fragments, "[DONE]")) as there:
            pieces = await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi"))
            assert pieces == [Call("light", '{"on":true}', "call_0"), Call("time", "{}", "call_1")]

    run(main())


def calls(*pieces: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"tool_calls": list(pieces)}, **more}]}


def begun(index: int | None, call: str | None, name: str | None, arguments: str = "") -> dict[str, Any]:
    return {"index": index, "id": call, "function": {"name": name, "arguments": arguments}}


LIGHT, TIME = Call("light", '{"on":true}', "a"), Call("time", "{}", "b")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([calls(begun(0, "a", "light", '{"on":true}')), calls(begun(0, "b", "time", "{}"))], [LIGHT, TIME]),
        ([calls(begun(0, "a", "light"), begun(0, None, None, '{"on":true}'), begun(0, "b", "time"))], [LIGHT, TIME]),
        ([calls(begun(None, "a", "light", '{"on":true}'), begun(1, "b", "time"))], [LIGHT, TIME]),
        ([calls(begun(None, "a", "light"), begun(None, None, None, '{"on":true}'))], [LIGHT]),
        ([calls(begun(0, "a", "light", '{"on":'), begun(0, "x", None, "true}"))], [LIGHT]),  # an id for each piece
        ([calls(begun(0, "a", "light", '{"on":'), begun(0, "a", "light", "true}"))], [LIGHT]),  # all of it again
        ([calls({"index": 0, "id": "a", "function": {"name": "light", "arguments": {"on": True}}})], [LIGHT]),
        (
            [calls({"function": {"name": "time"}}, {"function": {"name": "time"}})],
            [Call("time", "{}", "call_0"), Call("time", "{}", "call_1")],
        ),
    ],
)
def test_calls_are_told_apart_where_their_index_does_not(events: list[Any], expected: list[Call]) -> None:
    async def main() -> None:
        async with endpoint(chunked(*events, "[DONE]")) as there:
            assert await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi")) == expected

    run(main())


@pytest.mark.parametrize("arguments", ['{"on":tr', "", "on"])
def test_a_call_that_the_longest_answer_cut_is_not_made(arguments: str) -> None:
    async def main() -> None:
        cut = calls(begun(0, "b", "time", "{}"), begun(1, "a", "light", arguments), finish_reason="length")
        async with endpoint(chunked(cut)) as there:
            assert await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi")) == [TIME, Stopped()]

    run(main())


@pytest.mark.parametrize("arguments", ["on", '"on"', "[1]", '{"on":NaN}', '{"on":tr', "[" * 100_000])
def test_a_call_whose_arguments_are_no_object_is_no_call(arguments: str) -> None:
    async def main() -> None:
        async with endpoint(chunked(calls(begun(0, "a", "light", arguments)), "[DONE]", cut=9999)) as there:
            with pytest.raises(StageFailed, match="no call") as failed:
                await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi"))
            assert failed.value.code == "no_call"

    run(main())


def test_an_answer_is_over_with_a_finish_reason_and_what_is_null_is_not_there() -> None:
    async def main() -> None:
        events = [{"error": None, **says("Hi")}, {"choices": None}, says("", finish_reason="stop")]
        async with endpoint(chunked(*events)) as there:
            assert await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi")) == ["Hi"]

    run(main())


def test_of_an_answer_in_parts_the_text_is_said_and_no_thought() -> None:
    async def main() -> None:
        thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "2 + 2"}]}]
        parts = [{"type": "text", "text": "It is "}, {"type": "text", "text": "4."}]
        events = [{"choices": [{"delta": {"content": content}}]} for content in (thought, parts)]
        async with endpoint(chunked(*events, "[DONE]")) as there:
            assert await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi")) == ["It is 4."]

    run(main())


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>Hm.</think>\n\nFour.", "Four."),
        ("\n<think>Hm.\n", ""),
        ("<th", "<th"),
        (" <b>Four</b>: <think>.</think>", " <b>Four</b>: <think>.</think>"),
        ("<think></think>Four.", "Four."),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_a_model_thinks_before_it_answers_is_not_said(text: str, answer: str, size: int) -> None:
    async def main() -> None:
        events = [says(text[at : at + size]) for at in range(0, len(text), size)]
        async with endpoint(chunked(*events, "[DONE]")) as there:
            pieces = await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi"))
            assert "".join(map(str, pieces)) == answer

    run(main())


def test_letters_that_are_cut_in_halves_are_whole_again() -> None:
    async def main() -> None:
        answer = data(says("A \ud83d"), says("\ude00!"), says("\ud83d", finish_reason="stop"))
        async with endpoint(raw(HEAD + answer)) as there:
            assert await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi")) == ["A ", "😀!", "�"]

    run(main())


@pytest.mark.parametrize("written", ["{}", "{}/", "{}/chat/completions"])
def test_an_address_is_taken_as_people_write_it(written: str) -> None:
    async def main() -> None:
        async with endpoint(chunked(says("Hi"), "[DONE]")) as there:
            await all_of(ChatEndpoint(written.format(there.url), model="m"), Message("user", "Hi"))
            assert there.heads[0].startswith("POST /v1/chat/completions HTTP/1.1")

    run(main())


@pytest.mark.parametrize("url", ["localhost:8000/v1", "http:///v1", "http://localhost:80000/v1", "http://[::1/v1"])
def test_what_is_no_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of a chat endpoint: write it as http://localhost:8000/v1"):
        ChatEndpoint(url, model="m")


def data(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
COMPLETE = data(says("Hi"), says("", finish_reason="stop"))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(COMPLETE), COMPLETE),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + COMPLETE,
        HEAD + data(says("Hi")) + b"data: [DONE]",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + HEAD + COMPLETE,
    ],
)
def test_an_answer_that_is_complete_needs_no_tidy_end(answer: bytes) -> None:
    async def main() -> None:
        async with endpoint(raw(answer)) as there:
            assert await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi")) == ["Hi"]

    run(main())


def test_an_answer_with_a_finish_reason_is_over_though_the_connection_stays_open() -> None:
    async def main() -> None:
        async with deaf(HEAD + COMPLETE) as url, asyncio.timeout(5):
            assert await all_of(ChatEndpoint(url, model="m"), Message("user", "Hi")) == ["Hi"]

    run(main())


@pytest.mark.parametrize(
    ("answer", "says_so"),
    [
        (raw(b"HTTP/1.1 401 No\r\nContent-Length: 8\r\n\r\nbad key!"), "answered 401: bad key!"),
        (raw(b"HTTP/1.1 500 Oops\r\n\r\nbroken"), "answered 500: broken"),
        (raw(b"HTTP/1.1 308 No\r\nLocation: https://there/v1\r\n\r\n"), "308: it is at https://there/v1 now"),
        (raw(HEAD + data(says("The")) + b'error: {"message": "no memory"}\n\n'), "the endpoint says: .*no memory"),
        (raw(b"SSH-2.0-OpenSSH\r\n"), "does not speak HTTP"),
        (raw(b""), "hung up"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nda"), "hung up"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), "does not speak HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\ndata: {}\n\n"), "hung up"),
        (chunked({"error": {"message": "no such model"}}), "no such model"),
        (chunked({"object": "error", "message": "too long", "code": 400}), "too long"),
        (chunked("{not json"), "Expecting"),
        (chunked([1, 2]), r"no object: \[1, 2\]"),
        (chunked(), "sent no event"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n<html>login</html>"), "sent no event"),
        (chunked(says("The answer is ")), "hung up in the middle"),
        (raw(b"HTTP/1.1 200 OK\r\n\r\ndata: " + json.dumps(says("The")).encode() + b"\n\n"), "hung up in the middle"),
    ],
)
def test_an_endpoint_that_fails_is_an_error_with_its_own_words(answer: Answer, says_so: str) -> None:
    async def main() -> None:
        async with endpoint(answer) as there:
            with pytest.raises((HttpError, RuntimeError, ValueError), match=says_so):
                await all_of(ChatEndpoint(there.url, model="m"), Message("user", "Hi"))

    run(main())


def test_an_endpoint_that_is_not_there_or_says_nothing_is_given_up() -> None:
    async def main() -> None:
        with pytest.raises(HttpError, match="cannot be reached"):
            await all_of(ChatEndpoint("http://127.0.0.1:9/v1", model="m"), Message("user", "Hi"))

        async def silence(writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(1)

        async with endpoint(silence) as there:
            with pytest.raises(HttpError, match=r"nothing for 0\.2 s"):
                await all_of(ChatEndpoint(there.url, model="m", patience="0.2"), Message("user", "Hi"))
            await there.hung_up.wait()

    run(main())


def large(messages: int = 120) -> list[Message]:
    """More than the buffers of a connection take."""
    return [Message("user", "x" * 100_000)] * messages


@asynccontextmanager
async def deaf(head: bytes = b"", tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An endpoint that says this at once, reads nothing and never hangs up."""
    over = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(head)
        await over.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        over.set()


def test_an_endpoint_that_does_not_read_is_given_up_too() -> None:
    async def main() -> None:
        async with deaf() as url, asyncio.timeout(5):
            with pytest.raises(HttpError, match=r"nothing for 0\.2 s"):
                await all_of(ChatEndpoint(url, model="m", patience=0.2), *large())

    run(main())


def test_a_cancel_does_not_wait_for_an_endpoint_that_does_not_read() -> None:
    async def main() -> None:
        async with deaf() as url:
            asking = asyncio.create_task(all_of(ChatEndpoint(url, model="m"), *large()))
            await asyncio.sleep(0.3)
            asking.cancel()
            done, _ = await asyncio.wait({asking}, timeout=2)
            assert done
            assert asking.cancelled()

    run(main())


def test_an_answer_that_is_over_does_not_wait_until_the_endpoint_hangs_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl, certificate, key = shutil.which("openssl"), str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    if openssl is None:
        pytest.skip("openssl is not installed")
    about = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-out", certificate, "-keyout", key]
    subprocess.run([*make, *about], check=True, capture_output=True, timeout=60)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async def main() -> None:
        async with deaf(b"HTTP/1.1 200 OK\r\n\r\ndata: [DONE]\n\n", tls) as url:
            model = ChatEndpoint(url, model="m")
            monkeypatch.setattr(ssl, "create_default_context", None)  # reading all certificates would hold up everybody
            asking = asyncio.create_task(all_of(model, Message("user", "Hi")))
            done, _ = await asyncio.wait({asking}, timeout=5)
            assert done
            assert asking.result() == []

    run(main())


def test_cancel_hangs_up_on_the_endpoint() -> None:
    async def main() -> None:
        async def for_ever(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(f"data: {json.dumps(says('word '))}\n\n".encode())
                await writer.drain()
                await asyncio.sleep(0.01)

        async with endpoint(for_ever) as there:
            engine = PipelineEngine(ScriptedEars(), ChatEndpoint(there.url, model="m"), ScriptedVoice())
            session = await engine.open(SessionSpec(speaks=False))
            await session.push(TextIn("Go on for ever."))
            await session.push(EndOfTurn(origin(1)))
            async for event in session.events():
                if isinstance(event, TextDelta):
                    break
            await session.push(Cancel())
            assert (await until_end(session, origin(1)))[-1] == Done(origin(1), "cancelled")
            await asyncio.wait_for(there.hung_up.wait(), 2)
            await engine.close()

    run(main())


def test_an_endpoint_that_fails_fails_the_answer_and_not_the_session() -> None:
    async def main() -> None:
        async with endpoint(raw(b"HTTP/1.1 503 Busy\r\n\r\nlater")) as there:
            engine = PipelineEngine(ScriptedEars(), ChatEndpoint(there.url, model="m"), ScriptedVoice())
            session = await engine.open(SessionSpec())
            await session.push(TextIn("Hello?"))
            await session.push(EndOfTurn(origin(1)))
            end = (await until_end(session, origin(1)))[-1]
            assert isinstance(end, Failed)
            assert (end.code, end.fatal) == ("llm_failed", False)
            assert "503" in end.message
            assert "later" in end.message
            await engine.close()

    run(main())
