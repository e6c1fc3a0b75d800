"""A connection gives what `websockets` gives for the same bytes, however they are cut, and holds a bounded part."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side, State

from omni_server.transport.connection import SMALL
from tests.server.wire_bytes import Small, masked, opened, through_ours, through_websockets

TEXT, BINARY, CONT, CLOSE, PING, PONG = (int(o) for o in (
    Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.CLOSE, Opcode.PING, Opcode.PONG,
))  # fmt: skip

payloads = st.one_of(
    st.binary(max_size=10),
    st.text(max_size=10).map(str.encode),
    st.sampled_from([125, 126, 127, 300]).map(lambda n: b"x" * n),
)
whole = st.builds(masked, st.sampled_from([TEXT, BINARY]), payloads, mask=st.binary(min_size=4, max_size=4))
controls = st.builds(masked, st.sampled_from([PING, PONG]), st.binary(max_size=125))
odd = st.one_of(
    st.builds(masked, st.sampled_from([TEXT, BINARY, CONT]), payloads, fin=st.booleans()),
    st.just(masked(CLOSE, b"\x03\xe8bye")),
    st.just(masked(CLOSE, b"\x03")),
    st.just(masked(TEXT, b"\xff\xfe")),
    st.just(masked(BINARY, b"x" * 70_001)),
    st.just(masked(TEXT, b"a", rsv=0x40)),
    st.just(masked(0x3, b"a")),
    st.just(masked(PING, b"x" * 126)),
    st.just(masked(PING, b"x", fin=False)),
    st.just(b"\x82\x05hello"),  # not masked
    st.just(b"\x82\xfe\x00\x03\x00\x00\x00\x00abc"),  # a short length written long
    st.just(b"\x82\xff" + b"\x00" * 7 + b"\x02" + b"\x00" * 4 + b"ab"),
    st.just(b"\x82\xff" + b"\xff" * 8 + b"\x00" * 4),
    st.binary(max_size=12),
)
streams = st.lists(st.one_of(whole, whole, whole, controls, odd), max_size=8).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if b > a]


@settings(deadline=None, max_examples=150)
@given(streams, st.lists(st.integers(0, 1 << 20), max_size=6))
@example(masked(TEXT, b"") + b"\x00\x7e", [])  # not masked, and a long length to come
@example(masked(TEXT, b"") + b"\x83\xfe", [])  # no such opcode
async def test_the_same_bytes_give_what_websockets_gives_however_they_are_cut(data: bytes, places: list[int]) -> None:
    ours, theirs = through_ours(cut(data, places)), through_websockets(data)
    assert ours.messages == theirs.messages
    assert (ours.state, ours.close_code) == (theirs.state, theirs.close_code)
    assert ours.written == theirs.written


@pytest.mark.parametrize("step", [1, 2, 3, 7])
async def test_frames_that_come_in_crumbs_are_put_together(step: int) -> None:
    data = b"".join(masked(BINARY, bytes([n]) * n) for n in (0, 1, 125, 126, 200)) + masked(TEXT, "é".encode())
    connection, _ = opened()
    for at in range(0, len(data), step):
        connection.data_received(data[at : at + step])
    assert [await connection.next() for _ in range(6)] == [bytes([n]) * n for n in (0, 1, 125, 126, 200)] + ["é"]


async def test_a_full_inbox_makes_the_network_wait_and_an_emptied_one_lets_it_go_on() -> None:
    connection, pipe = opened()
    for _ in range(11):
        connection.data_received(masked(BINARY, b"x" * (1_000 - SMALL)))
    assert not pipe.reading
    for _ in range(5):
        await connection.next()
        assert not pipe.reading
    await connection.next()
    assert pipe.reading


async def test_messages_without_a_byte_fill_an_inbox_too() -> None:
    connection, pipe = opened()
    for _ in range(Small.inbox_bytes // SMALL):
        connection.data_received(masked(TEXT))
    assert pipe.reading
    connection.data_received(masked(TEXT))
    assert not pipe.reading


@settings(deadline=None, max_examples=60)
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
async def test_what_is_put_is_what_a_client_of_websockets_reads(message: str | bytes) -> None:
    connection, pipe = opened()
    assert connection.put(message)
    client = Protocol(Side.CLIENT, state=State.OPEN, max_size=1 << 20)
    client.receive_data(pipe.written)
    (frame,) = client.events_received()
    assert frame.data == (message.encode() if isinstance(message, str) else message)  # type: ignore[union-attr]
    assert frame.opcode is (Opcode.TEXT if isinstance(message, str) else Opcode.BINARY)  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("step", [999, 1 << 20])
async def test_every_form_of_length_is_read(size: int, step: int) -> None:
    data = masked(BINARY, bytes(size)) * 2
    ours = through_ours([data[at : at + step] for at in range(0, len(data), step)])
    assert ours.messages == [bytes(size)] * 2


async def test_half_a_surrogate_pair_goes_out_as_a_question_mark() -> None:
    connection, pipe = opened()
    assert connection.put("a\ud800b")
    assert pipe.written == b"\x81\x03a?b"


async def test_nothing_is_put_on_a_connection_that_is_closing() -> None:
    connection, pipe = opened()
    connection.data_received(masked(CLOSE, b"\x03\xe8"))
    before = pipe.written
    assert not connection.put("late")
    assert pipe.written == before


async def test_a_message_may_be_as_long_as_the_limit_and_no_longer() -> None:
    for size, fits in ((Small.largest, True), (Small.largest + 1, False)):
        connection, _ = opened()
        connection.data_received(masked(BINARY, bytes(size)))
        assert (connection.protocol.state is State.OPEN) is fits
        assert connection.came == int(fits)
