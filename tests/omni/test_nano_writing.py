"""A conversation written down for training: what the model has to say, and where."""

from random import Random

import numpy as np

from omni.script import CALL, END, MORE
from omni.train.mixing import Take
from omni.train.recipe import tokenizers
from omni.train.writing import IGNORE, LETTERS, Heard, Writing
from tests.omni.planted import TinyCodec, text


def test_what_is_said_stands_one_token_before_itself() -> None:
    tokens = tokenizers(text(), TinyCodec())
    special = text().special
    writing = Writing(tokens, 2)
    writing.special("<|user|>")
    writing.sound(Take(np.zeros((12, 80), np.float32), 0, 4), "hi")
    codes = np.array([[1, 2], [3, 4], [5, 6]])
    writing.answer("speak", "abc", codes=codes, starts=[(0, 0)])
    example = writing.example()
    said = [i for i in example.text.tolist() if i != IGNORE]
    a, b, c = text().encode("abc")
    more, end = special[MORE], special[END]
    assert said == [a, b, c, more, more, more, end, end]
    assert example.codes[example.codes[:, 0] != IGNORE].tolist() == codes.tolist()
    for at, number in enumerate(example.text.tolist()[:-1]):
        if number not in (IGNORE, more):
            assert example.sequence.ids[at + 1] == number
    assert example.turn[1:4].tolist() == [0.0, 0.0, 1.0]
    assert (example.turn[4:] == -1).all()
    assert example.heard == (Heard(1, tuple(text().encode("hi")), (LETTERS.index("h"), LETTERS.index("i")), 0),)


def test_slowly_the_words_of_a_question_stand_apart_and_those_of_its_answer_do_not() -> None:
    for random in (None, Random(1)):
        writing = Writing(tokenizers(text()), 2)
        writing.special("<|user|>")
        writing.say("abc", slowly=random)
        writing.answer("answer", "ab")
        example = writing.example()
        steps = np.diff(example.places, prepend=-1)
        assert len(steps) == len(example.sequence) == 1 + 3 + 1 + 2 + 1
        if random is None:
            assert (steps == 1).all()
        else:
            assert steps[1:5].min() >= 1
            assert steps[1:5].mean() > 2
            assert (steps[[0, 5, 6, 7]] == 1).all()


def test_a_word_is_heard_after_its_last_piece() -> None:
    special = text().special
    more, end = special[MORE], special[END]
    a, b, space, c = text().encode("ab c")
    codes = np.arange(10).reshape(5, 2)
    for how in ("speak", "read"):
        writing = Writing(tokenizers(text(), TinyCodec()), 2)
        writing.special("<|user|>")
        writing.answer(how, "ab c", codes=codes, starts=[(0, 0), (3, 3)])  # type: ignore[arg-type]
        example = writing.example()
        assert example.codes[example.codes[:, 0] != IGNORE].tolist() == codes.tolist()
        said = [i for i in example.text.tolist() if i != IGNORE]
        assert said == [a, b, space, more, more, more, end, c, more, more, end, end]


def test_a_call_is_learned_with_its_beginning() -> None:
    writing = Writing(tokenizers(text(), TinyCodec()), 2)
    writing.special("<|user|>")
    writing.answer("answer", "{}", call=True)
    said = [i for i in writing.example().text.tolist() if i != IGNORE]
    assert said == [text().special[CALL], *text().encode("{}"), text().special[END]]
