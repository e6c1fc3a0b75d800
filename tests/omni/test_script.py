"""What a model wrote as the call of a tool: read where it is JSON that everybody can read, and nothing otherwise."""

import json

import pytest

from omni.script import call_of, called, declared


def test_a_call_that_was_written_is_read_back() -> None:
    assert call_of(called("find", {"wörd": ["a", 1, None]})) == ("find", '{"wörd":["a",1,null]}')


@pytest.mark.parametrize(
    "written",
    [
        "[" * 100_000,
        '{"name":"f","arguments":' + '{"a":' * 50_000,
        '{"name":"f","arguments":{"a":NaN}}',
        '{"name":"f","arguments":{"a":1e999}}',
        r'{"name":"f","arguments":{"a":"\ud800"}}',
        r'{"name":"\ud800","arguments":{}}',
        '{"name":"f","arguments":[1]}',
        json.dumps({"arguments": {}}),
    ],
    ids=[
        "deep list",
        "deep object",
        "NaN",
        "infinity",
        "half a letter",
        "half a letter in the name",
        "list",
        "nameless",
    ],
)
def test_what_nobody_could_read_is_no_call(written: str) -> None:
    assert call_of(written) is None


def test_a_tool_without_arguments_is_declared_whatever_its_schema_says() -> None:
    assert declared("now", {}) == declared("now", {"properties": None}) == "now()"
