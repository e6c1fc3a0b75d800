"""What `show`, `to_html` and `plot` make of a sequence, and the `omni tokenize` command on top of them."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_server.cli import main
from omni_tokenizers.sequence import Audio, Frames, Image, Sequence, Span, Tagged, pack
from omni_tokenizers.sequence.palette import BUILT_IN, PLUGINS
from omni_tokenizers.sequence.raster import png
from tests.tokenizers.mixed_parts import noise, omni, pixels, several

OMNI = omni()
quick = settings(max_examples=30, deadline=None)


class Page(HTMLParser):
    """Tags, attributes and text of a page, and whether every tag is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.words.append(text)


@quick
@given(parts=several, budget=st.integers(0, 99) | st.none())
def test_any_sequence_becomes_a_sound_page_that_fetches_and_runs_nothing(parts: list[Any], budget: int | None) -> None:
    sequence = OMNI.encode(parts)
    page = Page(sequence.pad(len(sequence) + 20).to_html(budget=budget))
    names = {name for name, _ in page.tags}
    assert not names & {"script", "iframe", "object", "link", "style-src"}
    for name, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes)
        if name == "img":
            assert (attributes["src"] or "").startswith("data:image/png;base64,")
            assert attributes["alt"]
        if name == "a":
            assert (attributes["href"] or "").startswith("#")
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert all((a["href"] or "")[1:] in targets for name, a in page.tags if name == "a")


def test_markup_in_a_text_stays_text() -> None:
    evil = "<img src=x onerror=alert(1)>\"'&<!--"
    sequence = OMNI.encode(evil)
    page = Page(sequence.to_html(title=evil))
    assert [name for name, _ in page.tags].count("img") == 1  # the mask
    shown = "".join(page.words)
    assert shown.count("onerror=alert(1)>") == 3  # in the title twice, and once as the text itself


def test_the_page_shows_the_picture_that_the_tokens_hold() -> None:
    picture = pixels(0, 2, 3)
    page = Page(OMNI.encode(Image(picture)).to_html())
    source = next(a["src"] for name, a in page.tags if name == "img") or ""
    shown = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    assert shown.shape == (2 * 6 - 2, 3 * 6 - 2, 4)  # a transparent gap of 2 between patches of 4
    for row in range(2):
        for column in range(3):
            patch = picture[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
            np.testing.assert_array_equal(shown[row * 6 : row * 6 + 4, column * 6 : column * 6 + 4, :3], patch)


def test_a_saved_sequence_shows_its_pictures_without_an_omni(tmp_path: Path) -> None:
    sequence = OMNI.encode(["ab", Image(pixels(0, 2, 3)), Frames("audio", noise(0, 9, 80))])
    sequence.save(tmp_path)
    bare = Page(Sequence.load(tmp_path).to_html())
    full = Page(sequence.to_html())
    pictures = [[a["src"] for name, a in page.tags if name == "img"] for page in (bare, full)]
    assert pictures[0] == pictures[1]
    assert "#97" in bare.words
    assert "a" in full.words


@quick
@given(seed=st.integers(0, 99), height=st.integers(1, 9), width=st.integers(1, 9), channels=st.sampled_from([3, 4]))
def test_our_png_is_read_back_by_pillow(seed: int, height: int, width: int, channels: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(png(picture)))), picture)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*BUILT_IN.values(), *PLUGINS])
def test_every_colour_is_legible_on_its_ground(colour: Any) -> None:
    for ink, ground in ((colour.light, "#ffffff"), (colour.dark, "#1d2026")):
        bright, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_a_terminal_sees_every_span_and_the_budget() -> None:
    sequence = pack([OMNI.encode(["hi\n", Image(pixels(0, 2, 3))]), OMNI.encode(Audio(noise(0, 8000), 16000))])
    assert sequence.show(budget=20, width=70, colour=False).splitlines() == [
        "22 tokens · text 3 · image 6 · audio 13 · 2 documents",
        "[##############################] 22 of 20, 2 too many",
        "tttiiiiiiaaaaaaaaaaaaa",
        " 0  text    3  \"hi⏎\"",
        " 3  image   6  ⇄ 12×8 pixels, 2×3 tokens",
        "── document 2 ──",
        " 9  audio  13  0.50 s, 50 frames, 4 a token",
    ]  # fmt: skip


def test_colours_only_when_asked_or_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = OMNI.encode("hi")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[38;5;33m" in sequence.show()
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" not in sequence.show()
    assert "\x1b" in sequence.show(colour=True)


@quick
@given(text=st.text(st.characters(categories=["Cc", "Cf", "Co", "Zl", "Lu", "Lo", "Mn"]), max_size=60))
def test_no_control_character_reaches_the_terminal_and_no_line_is_too_long(text: str) -> None:
    shown = OMNI.encode(text.replace("<|", "")).show(width=50, colour=False)
    assert all(character.isprintable() or character == "\n" for character in shown.replace("\u0300", ""))
    assert all(len(line) <= 50 + sum(not c.isascii() for c in line) for line in shown.splitlines())


def test_the_name_of_a_modality_brings_no_control_character_to_the_terminal() -> None:
    kinds = ("pad", "\x1b[2Jsmell")
    shown = Sequence(np.zeros(2, int), (Span(kinds[1], 0, 2),), ({},), kinds).show(colour=False)
    assert "\x1b" not in shown
    assert "<1b>[2Jsmell 2" in shown


def test_a_thousand_spans_are_not_a_thousand_lines() -> None:
    sequence = OMNI.encode(["x"] * 1000)
    assert "… 940 more spans …" in sequence.show(width=60)
    assert "800 more spans are in the table below." in sequence.to_html()


def test_a_plot_draws_every_modality() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    sequence = OMNI.encode(["ab", Image(pixels(0, 2, 2)), Tagged("depth", np.ones((4, 4), np.float32))])
    figure = sequence.in_scheme("mrope").plot()
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["time", "row", "column", "text 2", "image 4", "depth 1"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), sequence.mask())


def command(*words: str) -> int:
    return main(["tokenize", *words])


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "q.txt").write_text("what is this?")
    PIL.Image.fromarray(pixels(0, 8, 8)).save(tmp_path / "p.png")
    soundfile.write(tmp_path / "s.wav", noise(0, 24000) / 9, 24000)
    return [str(tmp_path / name) for name in ("q.txt", "p.png", "s.wav")]


def test_the_command_prints_the_sequence_of_any_mix_of_files(files: list[str], capsys: Any) -> None:
    assert command(*files, "--text", "say it", "--patch", "14") == 0
    out = capsys.readouterr().out
    assert "300 tokens · text 19 · image 256 · audio 25" in out
    assert "text by bytes" in out


def test_the_command_as_json_agrees_with_its_count(files: list[str], capsys: Any) -> None:
    assert command(*files, "--json", "--ids", "--image-size", "native", "--positions", "mrope", "--budget", "50") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["by_modality"] == {"text": 13, "image": 4, "audio": 25}
    assert report["budget"] == {"tokens": 50, "left": 8}
    assert len(report["ids"]) == report["tokens"] == sum(span["tokens"] for span in report["spans"])
    assert report["spans"][1]["positions"] == [[13, 13], [13, 14], [13, 14]]
    assert command(*files, "--count", "--image-size", "native", "--budget", "41") == 3
    assert capsys.readouterr().out == "42\n"


def test_the_command_writes_a_page_and_a_folder(files: list[str], tmp_path: Path, capsys: Any) -> None:
    assert command(*files, "--html", str(tmp_path / "o.html"), "--save", str(tmp_path / "saved")) == 0
    assert Page((tmp_path / "o.html").read_text()).words
    assert len(Sequence.load(tmp_path / "saved")) == 13 + 196 + 25
    assert re.search("text by bytes", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "nothing to tokenize"),
        (["/no/such.txt"], "no file at /no/such.txt"),
        (["--text", "x", "--image-size", "big"], "neither a number of pixels"),
        (["--text", "x", "--vocabulary", "/no/such.json"], "/no/such.json"),
        (["--text", "x", "--patch", "0"], "at least 1"),
    ],
)
def test_the_command_says_what_is_wrong_and_returns_2(words: list[str], complaint: str, capsys: Any) -> None:
    assert command(*words) == 2
    complained = capsys.readouterr()
    assert complaint in complained.err
    assert complained.out == ""
