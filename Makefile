# Everything runs in .venv, which is made once and made again when requirements.lock or pyproject.toml changes.
# A machine needs Python 3.11 or later (PYTHON=python3.12 chooses one) and make.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
WORKERS ?= 2

# What the mock relay alone imports: the container holds no more.
RELAY_PACKAGES := click cryptography h11 msgspec pyjwt pynacl rbloom ruamel.yaml starlette uvicorn uvloop websockets

unexport PYTHONPATH
# Without bytecode each worker and each program that a test starts would compile all sources anew.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help demo test lint bench soak compiled lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, then simulate a reconnect storm of 5 000 devices"
	@echo "make test    set up, then lint, type-check and run the tests"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make bench   the benchmarks, of sources and of compiled modules, which it makes first"
	@echo "make soak    the property tests with many more examples; compiled modules against sources"
	@echo "make compiled the hot modules of simulator and relay to C (needs a C compiler; some minutes)"
	@echo "make lock    renew requirements.lock (needs uv)"
	@echo "make clean   remove what these made, the run folders excepted"

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) > /dev/null || \
		{ echo "zentalk-sim needs Python 3.11 or later, and there is no $(PYTHON); name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("zentalk-sim needs Python 3.11 or later, and $(PYTHON) is %d.%d; name another: make PYTHON=python3.12 ..." % tuple(sys.version_info[:2]))'
	@echo "setting up .venv (once; a minute or two)" >&2
	@rm -rf .venv
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install -qq --require-hashes -r requirements.lock
	@$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	@# Two seconds for the simulator's queue in C; where there is no compiler, the one in Python does the same.
	@$(BIN)/python -m zentalk_sim.model.compiled queue > /dev/null 2>&1 || true
	@touch $@

demo: $(STAMP)
	@$(BIN)/zsim run experiments/reconnect_storm.yaml

lint: $(STAMP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@out=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$out"; exit 1; }

test: lint
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term-missing:skip-covered

bench: $(STAMP)
	@# Both forms are measured; where there is no compiler this says so, and there are sources alone.
	@$(BIN)/python -m zentalk_sim.model.compiled >&2 || true
	@$(BIN)/python -m mockrelay.compiled >&2 || true
	@$(BIN)/python -m benchmarks

soak: $(STAMP)
	@HYPOTHESIS_PROFILE=soak $(BIN)/pytest -n $(WORKERS) --dist worksteal
	@$(BIN)/python -m zentalk_sim.model.compiled
	@$(BIN)/python -m benchmarks.compiled_vs_source all

compiled: $(STAMP)
	@$(BIN)/python -m zentalk_sim.model.compiled
	@$(BIN)/python -m mockrelay.compiled

lock:
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --extra fast --no-header \
		pyproject.toml -o requirements.lock
	@echo $(RELAY_PACKAGES) | tr ' ' '\n' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --constraints requirements.lock - -o requirements.relay.lock

clean:
	@rm -rf .venv .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
