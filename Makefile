# Two commands matter: `make demo` and `make test`. Each sets up what it needs, once.
#   OMNI_VENV=DIR   the virtual environment to use (default .venv)
#   PYTHON=python3.12   the Python that creates it
#   RECORDING=my.wav   what `make demo` listens to
#   ARGS=…   passed on: make test ARGS="-k mel", make bench-tokenizers ARGS=--quick

PYTHON ?= python3
OMNI_VENV ?= .venv
ARGS ?=
RECORDING ?= demos/recordings/question.wav
export OMNI_VENV
PY := $(OMNI_VENV)/bin/python
BENCHES := tokenizers model engine server

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-extras test-clients check format bench $(addprefix bench-,$(BENCHES)) bench-compare bench-nano bench-warm-up tables screenshots clean environment

help:
	@echo "make demo          run the main job on a bundled recording"
	@echo "make test          the tests (make test-slow: the long ones too)"
	@echo "make check         lint, format and types"
	@echo "make bench         all benchmarks (make bench-NAME: one of $(BENCHES); ARGS=--quick)"
	@echo "make bench-compare pipeline and native on the same recordings (make bench-nano: nano's marks)"
	@echo "make format        rewrite the files in the house format"
	@echo "make tables        put the last benchmark results into the README"
	@echo "make clean         remove the environment and everything generated"

environment:
	@command -v $(PYTHON) >/dev/null || { echo "omni: $(PYTHON) is not on the PATH: install Python 3.11 or newer, or run make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) scripts/environment.py

demo: environment
	@$(PY) demos/first_look.py $(RECORDING) $(ARGS)
	@$(OMNI_VENV)/bin/omni talk $(RECORDING) --out build/answer.wav

test: environment
	$(PY) -m pytest -n auto -m "not slow and not extras and not clients" $(ARGS)

test-slow: environment
	$(PY) -m pytest -m "slow and not extras and not clients" $(ARGS)

# Installs each extra into a throw-away environment and imports what it promises: minutes, and only of interest when dependencies change.
test-extras: environment
	$(PY) -m pytest -m extras $(ARGS)

# Published Realtime clients, unmodified, against the server; the first run installs each into build/clients.
test-clients: environment
	$(PY) -m pytest -m clients tests/clients $(ARGS)

check: environment
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --cache-dir $(OMNI_VENV)/mypy-cache

format: environment
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(addprefix bench-,$(BENCHES))

$(addprefix bench-,$(BENCHES)): bench-%: environment
	$(PY) -m tests.benchmarks.$* $(ARGS)

# The two modes side by side, and nano's marks, as the README shows them: on a quiet machine, 10 minutes each.
bench-compare: environment
	$(OMNI_VENV)/bin/omni compare --json docs/bench/compare.json --html build/compare.html $(ARGS)

bench-nano: environment
	@$(PYTHON) scripts/environment.py --with scores
	@mkdir -p build
	$(OMNI_VENV)/bin/omni eval nano --count 150 --json $(ARGS) > build/nano.json && mv build/nano.json docs/bench/nano.json

# Whether learning without labels first would help nano's stems: half an hour on one core.
bench-warm-up: environment
	$(PY) -m tests.benchmarks.warm_up $(ARGS)

tables: environment
	$(PY) scripts/tables.py

# The page in a headless Chromium, as docs/pictures/page.png.
screenshots: environment
	$(PY) -m tests.server.picture_of_page

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
