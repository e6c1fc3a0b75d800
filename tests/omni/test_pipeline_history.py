"""What goes on in the history of a pipeline: what was heard, in an order that strict endpoints and templates take."""

import numpy as np
import pytest

from omni.engine.pipeline.history import Answer, Spoken
from omni.engine.pipeline.order import in_order
from omni.engine.pipeline.stages import Call, Message

SENTENCES = ["One two. ", "Three four. ", "Five six."]


def user(text: str) -> Message:
    return Message("user", text)


def said(text: str, *calls: str) -> Message:
    return Message("assistant", text, calls=tuple(Call("light", "{}", call) for call in calls))


def result(call: str, text: str = "on") -> Message:
    return Message("tool", text, call=call)


# What was heard


@pytest.mark.parametrize(
    ("made", "heard", "kept"),
    [
        ([(1.0, True), (1.0, True), (1.0, True)], 3.0, "One two. Three four. Five six."),
        ([(1.0, True), (1.0, True), (1.0, True)], 3.0 - 1e-9, "One two. Three four. Five six."),
        ([(1.0, True), (1.0, True), (1.0, True)], 1.5, "One two. Three"),
        ([(1.0, True), (1.0, True)], 9.0, "One two. Three four."),  # the third was written ahead
        ([(1.0, True), (0.04, False)], 1.04, "One two."),  # of the second there is a little so far
        ([(1.0, True), (5.0, False)], 6.0, "One two. Three four."),
        ([(0.0, False)], 0.0, ""),
        ([], 0.0, ""),
    ],
)
def test_of_a_spoken_answer_only_what_was_heard_is_kept(
    made: list[tuple[float, bool]], heard: float, kept: str
) -> None:
    spoken = [Spoken(text, *how) for text, how in zip(SENTENCES, made, strict=False)]
    answer = Answer("".join(SENTENCES), aloud=True, spoken=spoken)
    answer.shorten(heard)
    assert answer.text == kept


def test_an_answer_in_text_is_read_and_not_heard() -> None:
    answer = Answer("One two.")
    answer.shorten(0.0)
    assert answer.text == "One two."


# The order


@pytest.mark.parametrize(
    ("told", "ordered"),
    [
        pytest.param(
            [user("a"), said("", "c1"), user("b"), said("Sure."), result("c1"), user("c")],
            [user("a"), said("", "c1"), result("c1"), user("b"), said("Sure."), user("c")],
            id="the user speaks before the result comes",
        ),
        pytest.param(
            [user("a"), said("", "c1", "c2"), result("c2", "2"), result("c1", "1")],
            [user("a"), said("", "c1", "c2"), result("c1", "1"), result("c2", "2")],
            id="results in another order than the calls",
        ),
        pytest.param(
            [user("a"), said("One moment.", "c1", "c2"), user("b"), result("c2")],
            [user("a"), said("One moment.", "c2"), result("c2"), user("b")],
            id="one call of two has no result",
        ),
        pytest.param([user("a"), said("", "c1"), user("b")], [user("a b")], id="a call that is never answered"),
        pytest.param(
            [result("c1", "on"), said("It is on."), user("b")],
            [user("on"), said("It is on."), user("b")],
            id="its call is cut",
        ),
        pytest.param(
            [user("a"), said("", "c"), result("c", "1"), user("b"), said("", "c"), result("c", "2"), result("c", "3")],
            [user("a"), said("", "c"), result("c", "1"), user("b"), said("", "c"), result("c", "2"), user("3")],
            id="an id that comes again",
        ),
        pytest.param(
            [Message("system", "s"), Message("system", "t"), user("a"), user(""), user("b"), said("x"), said("y")],
            [Message("system", "s"), Message("system", "t"), user("a b"), said("x y")],
            id="neighbours of one role",
        ),
    ],
)
def test_messages_stand_in_the_order_that_strict_endpoints_take(told: list[Message], ordered: list[Message]) -> None:
    assert in_order(told) == ordered


def test_neighbours_keep_their_pictures() -> None:
    pictures = [np.full((2, 2, 3), number, np.uint8) for number in range(2)]
    found = in_order([Message("user", "this", images=(pictures[0],)), Message("user", "", images=(pictures[1],))])
    assert [(message.text, len(message.images)) for message in found] == [("this", 2)]
    assert all(mine is theirs for mine, theirs in zip(found[0].images, pictures, strict=True))
