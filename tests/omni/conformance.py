"""What every engine must do, whatever it is made of: the rules of `omni.engine.protocol`, one case each.

    @pytest.mark.parametrize("case", CASES, ids=name_of)
    def test_my_engine_conforms(case: Case) -> None:
        conforms(Subject(make), case)

`make` builds the engine under test. Its sessions have to answer a second of audio with at least one event besides the
end. `long=True` asks for answers of at least 300 events, for the case in which nobody reads them.
"""

from tests.omni import conformance_answers, conformance_limits  # noqa: F401  # whose cases these are
from tests.omni.subject import CASES, ENUMERATED, Case, Subject, conforms, name_of

__all__ = ["CASES", "ENUMERATED", "Case", "Subject", "conforms", "name_of"]
