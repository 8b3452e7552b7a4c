# Everything here works on a fresh machine with Python 3.11+ and make: the first target makes .venv and fills it.
# Another interpreter for .venv: make test PYTHON=python3.12
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?=
DEMO_RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)
ASSETS := lit_listener/assets
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest

.PHONY: help install demo test fast accept lint types imports docs assets clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make .venv and install the package with the tested versions

# A venv is made only where there is none, so that one of your own is kept.
$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13); do \
	    if "$$python" -c "$$new_enough" 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$${found:-}" ]; then \
	    echo "Python 3.11 or newer is needed; tried $(or $(PYTHON),python3 python3.11 python3.12 python3.13)." >&2; \
	    echo "Name one: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv $(VENV); \
	fi
	@echo "Installing the tested versions into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## Train the bundled reasoner with its listener, and show what it learnt
	$(BIN)/python -m lit_listener fit --config configs/shapes/grpo_listener.yaml --run_dir $(DEMO_RUN)
	$(BIN)/python -m lit_listener progress $(DEMO_RUN)

test: lint types imports docs  ## What CI runs: linters, types, import rule, documentation, unit and slow tests
	$(PYTEST) -m "not accept" -n auto --dist loadfile

fast: $(STAMP)  ## The unit tests alone
	$(PYTEST) -n auto --dist loadfile

accept: $(STAMP)  ## Whole training runs; prints the numbers they reach
	$(PYTEST) -m accept -s

lint: $(STAMP)  ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

imports: $(STAMP)  ## Imports go down the floors only
	$(BIN)/lint-imports

docs: $(STAMP)  ## Build the documentation into site/; a broken link or docstring fails it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # with --quiet it would pass whatever it is warned of

assets: $(STAMP)  ## Make the bundled models anew, from nothing (half an hour)
	$(BIN)/python -m lit_listener.vlm.blueprint $(ASSETS)/shapes_blank configs/shapes/instruct.yaml
	$(BIN)/python -m lit_listener.vlm.blueprint $(ASSETS)/shapes_blank_other configs/shapes/instruct.yaml --size other
	$(BIN)/python -m lit_listener fit --config configs/shapes/instruct.yaml --run_dir runs/assets/instruct
	rm -rf $(ASSETS)/shapes_instruct && cp -r runs/assets/instruct/model $(ASSETS)/shapes_instruct
	$(BIN)/python -m lit_listener fit --config configs/shapes/warm_start.yaml --run_dir runs/assets/warm_start
	rm -rf $(ASSETS)/shapes_warm_start && cp -r runs/assets/warm_start/model $(ASSETS)/shapes_warm_start
	$(BIN)/python -m lit_listener fit --config configs/shapes/witness.yaml --run_dir runs/assets/witness
	rm -rf $(ASSETS)/shapes_witness && cp -r runs/assets/witness/model $(ASSETS)/shapes_witness
	$(BIN)/python -m lit_listener fit --config configs/shapes/rating_warm_start.yaml --run_dir runs/assets/rater
	rm -rf $(ASSETS)/shapes_rater && cp -r runs/assets/rater/model $(ASSETS)/shapes_rater
	$(BIN)/python -m lit_listener fit --config configs/shapes/grpo_listener.yaml --run_dir runs/assets/judge
	rm -rf $(ASSETS)/shapes_judge
	$(BIN)/python -m lit_listener export --ckpt runs/assets/judge --output $(ASSETS)/shapes_judge --dtype float16
	rm $(ASSETS)/shapes_judge/README.md

clean:  ## Remove caches and build products; .venv and runs stay
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +
