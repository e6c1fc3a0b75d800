"""A recorded session read back: what was heard of it, and what can be said to another server."""

import numpy as np
import pytest

from omni_server.compare.replaying import Side, said_again


def test_sound_that_an_interruption_cut_off_was_not_heard() -> None:
    ones = np.ones(100, np.float32)
    side = Side([(0.0, ones), (0.1, 2 * ones), (1.5, None), (3.0, 3 * ones), (9.0, None)], rate=100)
    line = side.mixed()
    # The second piece was to be heard from 1 s to 2 s; at 1.5 s all went silent.
    assert [line[i] for i in (0, 99, 100, 149, 150, 299, 300, 399)] == [1, 1, 2, 2, 0, 0, 3, 3]
    assert len(line) == 400


def test_what_waits_when_everything_stops_is_dropped_whole() -> None:
    ones = np.ones(100, np.float32)
    side = Side([(0.0, ones), (0.0, ones), (0.0, ones), (0.5, None), (0.55, 2 * ones)], rate=100)
    assert side.mixed().tolist() == [1.0] * 50 + [2.0] * 100


@pytest.mark.parametrize(
    ("message", "repeated"),
    [
        (b"\x01", b"\x01"),
        ("no JSON", "no JSON"),
        ("[1]", "[1]"),
        ('{"type":"commit"}', '{"type":"commit"}'),
        ('{"type":"truncate","item":"item_1"}', None),
        ('{"type":"conversation.item.truncate","item_id":"item_1"}', None),
        ('{"type":"response.cancel","response_id":"resp_1"}', '{"type": "response.cancel"}'),
    ],
)
def test_what_only_the_first_session_had_is_left_out_when_it_is_said_again(
    message: str | bytes, repeated: str | bytes | None
) -> None:
    assert said_again(message) == repeated
