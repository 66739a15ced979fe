# Needs Python 3.11 to 3.13 and make, nothing else: every target sets up what it uses.
#
#   make quickstart   train on handwritten digits, export, classify: a few minutes
#   make test         the tests that need nothing else, in parallel: five minutes on two cores
#   make test-all     these and the rest: slow ones, and those of what the extras are for
#   make lint         ruff, mypy, and who imports whom
#   make benchmark    speed beside PyTorch, into docs/speed.md: an hour of a quiet machine
#   make clean        remove what these targets made
#
# PYTHON=python3.12 names the interpreter, VENV=dir the environment. ARGS goes to pytest:
# make test ARGS="tests/models -k shapes".

SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(or $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,\
	$(shell $(p) -c '$(SUITS)' 2>/dev/null && echo $(p)))),python3)
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable
EXPORTED := saved_models/digits_wrn10_1
NEEDS := setup.py pyproject.toml constraints.txt

# In the order of their names: by the number of tests the files of few and long ones come last.
PYTEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: quickstart test test-rest test-all lint benchmark clean

quickstart: $(EXPORTED)/1/saved_model.pb
	$(BIN)/keras-wrn predict --data digits --model runs/quickstart \
		--show-dir runs/quickstart/pictures
	@echo
	@echo "Trained:    runs/quickstart (log.jsonl, curves.png, model.keras, summary.json)"
	@echo "Exported:   $(EXPORTED)"
	@echo "Classified: runs/quickstart/pictures/predictions.png"

$(EXPORTED)/1/saved_model.pb: runs/quickstart/summary.json
	$(BIN)/keras-wrn export runs/quickstart --out $(EXPORTED)

runs/quickstart/summary.json: | $(VENV)/installed
	$(BIN)/keras-wrn train digits_wrn10_1 --run-dir runs/quickstart --resume

test: $(VENV)/installed-test
	$(PYTEST) -m "not slow and not extra and not large" $(ARGS)

test-rest: $(VENV)/installed-dev
	$(PYTEST) -m "(slow or extra) and not large" $(ARGS)

test-all: test test-rest

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmark: export TF_CPP_MIN_LOG_LEVEL ?= 3
benchmark: $(VENV)/installed-dev
	$(BIN)/python benchmarks/speed.py --out benchmarks/results/speed.json
	$(BIN)/python benchmarks/speed_page.py benchmarks/results/speed.json --page docs/speed.md

$(VENV)/installed: $(NEEDS)
	@$(PYTHON) -c '$(SUITS)' 2>/dev/null || { \
		echo "keras_wrn needs Python 3.11, 3.12 or 3.13. Received: $(PYTHON)," \
		"`$(PYTHON) --version 2>&1`."; \
		echo "Install one of them and name it: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): 600 MB of TensorFlow and what else setup.py names"
	$(INSTALL) .
	@touch $@

$(VENV)/installed-%: $(VENV)/installed
	$(INSTALL) ".[$*]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	rm -rf runs/quickstart $(EXPORTED)
