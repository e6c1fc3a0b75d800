"""What an import costs, and what it may bring along."""

import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]


def python(code: str, *flags: str) -> str:
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_folder_named_tokenizers_does_not_shadow_the_published_package() -> None:
    out = python(
        "import transformers, tokenizers, omni_tokenizers\n"
        "from transformers import PreTrainedTokenizerFast\n"
        "print(tokenizers.Tokenizer.__module__, tokenizers.__file__)"
    )
    module, file = out.split(maxsplit=1)
    assert module.startswith("tokenizers")
    assert "site-packages" in file


def test_importing_the_tokenizers_is_quick_and_loads_no_heavy_package() -> None:
    out = python(
        "import sys, time\n"
        "begin = time.perf_counter()\n"
        "import omni_tokenizers\n"
        "print(time.perf_counter() - begin)\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'tiktoken', 'PIL'} & set(sys.modules)))"
    )
    seconds, heavy = out.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 0.15


def test_every_name_the_tokenizers_promise_exists() -> None:
    python(
        "import omni_tokenizers\n"
        "for name in omni_tokenizers.__all__: getattr(omni_tokenizers, name)\n"
        "assert set(omni_tokenizers.HOMES) | {'__version__'} == set(omni_tokenizers.__all__)"
    )


def test_a_name_that_does_not_exist_is_refused_with_the_names_that_do() -> None:
    out = python("import omni_tokenizers\ntry: omni_tokenizers.Txt\nexcept AttributeError as refusal: print(refusal)")
    assert "'Txt'" in out
    assert "Text" in out


def test_omni_help_answers_in_half_a_second_without_torch() -> None:
    code = (
        "import sys, time\n"
        "begin = time.perf_counter()\n"
        "from omni_server.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(time.perf_counter() - begin)\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    runs = [python(code).splitlines()[-2:] for _ in range(3)]
    assert median(float(seconds) for seconds, _ in runs) < 0.5
    assert {loaded for _, loaded in runs} == {"False False"}
