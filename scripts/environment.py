"""Make the virtual environment that `make` uses, or find that it is already right.

    python3 scripts/environment.py           create or refresh $OMNI_VENV (default .venv)
    python3 scripts/environment.py --key     print the hash of everything that decides what is installed
    python3 scripts/environment.py --with scores   put an extra into the one that is there

Uses uv when it is on the PATH and pip otherwise. Written so that an old Python can at least say that it is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)


def stop(sentence):
    sys.exit("omni: " + sentence)


def dependency_key():
    """A hash of the constraints, the declared dependencies and the Python version, not of all pyproject.toml."""
    import json
    import tomllib

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        pyproject = tomllib.load(file)
    project = pyproject["project"]
    with open(os.path.join(ROOT, "constraints.txt"), "rb") as file:
        constraints = file.read()
    declared = [
        project["dependencies"],
        project["optional-dependencies"],
        project["scripts"],
        pyproject["build-system"],
    ]
    text = json.dumps([declared, sys.version_info[:2]], sort_keys=True).encode() + constraints
    return hashlib.sha256(text).hexdigest()[:16]


def run(command, failure):
    if subprocess.call(command, cwd=ROOT) != 0:
        stop(failure)


def installer(python):
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", python]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # An environment that uv made has no pip.
    if subprocess.call([python, "-c", "import pip"], **quiet) and subprocess.call([python, "-m", "ensurepip"], **quiet):
        stop("the environment of %s has no pip, and none could be put there: remove it and run make again" % python)
    return [python, "-m", "pip", "install", "--quiet"]


def create(venv):
    uv = shutil.which("uv")
    if uv:
        run(
            [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, venv],
            "uv could not create %s" % venv,
        )
        return
    try:
        import ensurepip  # noqa: F401
        import venv as _  # noqa: F401
    except ImportError:
        stop("this Python has no venv module: install it (Debian, Ubuntu: apt install python3-venv) and run make again")
    run([sys.executable, "-m", "venv", venv], "could not create the virtual environment %s" % venv)


def main():
    if sys.version_info < OLDEST:
        stop(
            "Omni needs Python %d.%d or newer and %s is %d.%d: run make PYTHON=python3.12, say"
            % (OLDEST + (sys.executable,) + sys.version_info[:2])
        )
    if sys.argv[1:] == ["--key"]:
        print(dependency_key())
        return
    extra = sys.argv[2] if sys.argv[1:2] == ["--with"] and len(sys.argv) == 3 else ""
    if sys.argv[1:] and not extra:
        stop("unknown arguments %s: see the first lines of scripts/environment.py" % " ".join(sys.argv[1:]))

    venv = os.path.abspath(os.environ.get("OMNI_VENV") or os.path.join(ROOT, ".venv"))
    python = os.path.join(venv, "Scripts" if os.name == "nt" else "bin", "python")
    stamp = os.path.join(venv, "omni-environment")
    key = dependency_key()
    have = ["", ""]
    if os.path.exists(stamp) and os.path.exists(python):
        with open(stamp) as file:
            have = (file.read().splitlines() + ["", ""])[:2]
    constraints = ["-c", os.path.join(ROOT, "constraints.txt")]
    if extra:
        run(
            installer(python) + constraints + ["-e", "%s[%s]" % (ROOT, extra)],
            "installing the extra %s failed: the lines above say why; run make again when that is mended" % extra,
        )
        return
    if have == [key, ROOT]:
        return

    if have[0] != key:
        print("omni: setting up %s (once; a few minutes, about 6 GB)" % venv, file=sys.stderr)
        if not os.path.exists(python):
            create(venv)
        run(
            installer(python) + constraints + ["-e", ROOT + "[dev]"],
            "installing the dependencies failed: the lines above say which; run make again when that is mended",
        )
        run(
            [python, "-W", "ignore", "-c", "import torch, torchaudio, torchvision"],
            "torch, torchaudio and torchvision in %s do not import together: remove that folder and run make again, "
            "or install with -c constraints.txt, which pins three that do" % venv,
        )
    else:
        # The same packages serve another checkout: only the project itself has to point here.
        run(installer(python) + ["--no-deps", "-e", ROOT], "installing the project into %s failed" % venv)
    with open(stamp, "w") as file:
        file.write(key + "\n" + ROOT + "\n")


if __name__ == "__main__":
    main()
