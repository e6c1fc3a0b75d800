"""Keys, origins, places and pace, each by itself."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from omni_server.limits import keys
from omni_server.limits.admission import Admission, Ticket, TooMany
from omni_server.limits.keys import Keyring
from omni_server.limits.origins import allowed
from omni_server.limits.pace import Pace
from omni_server.settings import Limits


def test_keys_come_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nanna correct-horse-battery # hers\n\na-key-without-a-name\n")
    ring = keys.load(str(file), {"OMNI_API_KEYS": "one-more-key-here-1, one-more-key-here-2"})
    found = [
        ring.who(key) for key in ("correct-horse-battery", "a-key-without-a-name", "one-more-key-here-2", "anna", "")
    ]
    assert found == ["anna", "line-4", "environment-2", None, None]
    assert "horse" not in repr(ring)


@pytest.mark.parametrize(
    ("text", "says"),
    [("short", "has 5 characters"), ("a b c", "3 words"), ("", "holds no key"), ("näme-of-many-letters", "ASCII"),
     ("x aaaaaaaaaaaaaaaaaaaa\nx bbbbbbbbbbbbbbbbbbbbbb", "two keys"),
     ("anybody aaaaaaaaaaaaaaaaaaaa", "no key can have the name 'anybody'")],
)  # fmt: skip
def test_a_file_of_keys_that_would_not_do_what_it_says_is_refused(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ValueError, match=says) as refused:
        keys.load(str(file), {})
    assert "aaaaaaaa" not in str(refused.value)


def test_a_file_of_keys_as_editors_save_it_is_read_or_named(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("anna correct-horse-battery", encoding="utf-8-sig")
    assert keys.load(str(file), {}).names == ("anna",)
    file.write_text("anna correct-horse-battery", encoding="utf-16")
    with pytest.raises(ValueError, match="keys is no text in UTF-8"):
        keys.load(str(file), {})


@pytest.mark.parametrize("text", ["", " , "])
def test_a_variable_for_keys_that_holds_none_does_not_open_the_door(text: str) -> None:
    with pytest.raises(ValueError, match="OMNI_API_KEYS is set and holds no key"):
        keys.load(None, {"OMNI_API_KEYS": text})
    assert not keys.load(None, {})


@settings(max_examples=200)
@given(st.text(), st.lists(st.text(max_size=20), max_size=3))
def test_no_header_that_a_client_makes_up_opens_the_door(authorization: str, offered: list[str]) -> None:
    ring = Keyring.of([("anna", "correct-horse-battery")])
    assert ring.who(keys.presented(authorization, offered)) is None


@pytest.mark.parametrize(
    ("origin", "host", "secret", "enters"),
    [("http://localhost:8000", "localhost:8000", False, True), ("https://localhost", "localhost:443", False, True),
     ("http://[::1]:8000", "[::1]:8000", False, True), ("http://localhost:8001", "localhost:8000", False, False),
     ("http://mine.example", "mine.example", True, True), ("http://rebound.example", "rebound.example", False, False),
     ("https://mine.example", "mine.example", True, True), ("http://localhost:99999", "localhost:99999", False, False),
     ("file://", "localhost", True, False), ("http://localhost", None, False, False), ("", "", False, False)],
)  # fmt: skip
def test_a_page_is_ours_or_named(origin: str, host: str | None, secret: bool, enters: bool) -> None:
    assert allowed(origin, host, [], secret=secret, encrypted=False) is enters
    assert allowed(origin, host, ["*"], secret=secret, encrypted=False)


class Places(RuleBasedStateMachine):
    """Whoever comes and goes in whatever order, the counts are those of who is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(connections=5, per_key=3, per_address=2)
        self.admission = Admission(self.limits)
        self.inside: list[Ticket] = []

    @rule(
        who=st.sampled_from(["anna", "ben", "anybody"]),
        address=st.sampled_from(["10.0.0.1", "2001:db8::1", "2001:db8::2"]),
    )
    def enter(self, who: str, address: str) -> None:
        place = "v6" if ":" in address else address
        alike = [t for t in self.inside if ("v6" if ":" in t.address else t.address) == place]
        fits = (
            len(self.inside) < 5 and len(alike) < 2 and (who == "anybody" or sum(t.who == who for t in self.inside) < 3)
        )
        if fits:
            self.inside.append(self.admission.enter(who, address))
        else:
            with pytest.raises(TooMany):
                self.admission.enter(who, address)

    @rule(number=st.integers(0, 9), twice=st.booleans())
    def leave(self, number: int, twice: bool) -> None:
        if number < len(self.inside):
            ticket = self.inside.pop(number)
            ticket.give_back()
            if twice:
                ticket.give_back()

    @invariant()
    def counts(self) -> None:
        assert self.admission.inside == len(self.inside)
        assert sum(self.admission._keys.values()) == sum(self.admission._addresses.values()) == len(self.inside)


TestPlaces = Places.TestCase
TestPlaces.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), max_size=40), st.floats(0, 20), st.floats(0.5, 40))
def test_audio_never_comes_faster_than_the_pace_beyond_its_burst(
    steps: list[tuple[float, float]], burst: float, speed: float
) -> None:
    pace, now, taken = Pace(burst, speed), 0.0, 0.0
    for seconds, later in steps:
        wait = pace.take(seconds, lambda at=now: at)  # type: ignore[misc]
        taken += seconds
        now += wait
        assert taken <= burst + speed * now + 1e-6
        now += later
