# `make` alone lists the targets. Everything runs in .venv, which `make install` creates.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install data run ingest monitor reproduce test test-fast coverage lint ablate improve ui stack stack-stop stack-test fault-test audit digests lock clean

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV_VERSION := 0.13.9
AUDIT_VERSION := 2.10.1
FAKETIME_VERSION := 3.0.1
STORE := $(CURDIR)/.mlflow
BRANCH := ingested

# The first of these that is Python 3.11 or newer creates the environment.
PYTHONS := python3.11 python3 python3.12 python3.13 python

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

install: $(INSTALLED) ## create .venv and install the pinned packages

$(INSTALLED): requirements.lock pyproject.toml
	@test -x $(BIN)/python || { \
	  for python in $(PYTHONS); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      echo "making $(VENV) with $$(command -v $$python)"; exec $$python -m venv $(VENV); \
	    fi; \
	  done; \
	  echo "error: no Python 3.11 or newer among: $(PYTHONS). Install one and run again." >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps -e .
	@touch $@

data: $(INSTALLED) ## check that data/ is what data.dvc names; render it if it is missing
	@$(BIN)/python -m flows data

run: $(INSTALLED) ## run the pipeline: validate, train, evaluate, register, promote
	@$(BIN)/python -m flows run

reproduce: $(INSTALLED) ## train a registered version again and compare hashes: make reproduce VERSION=champion
	@$(BIN)/python -m flows reproduce $(VERSION)

ingest: $(INSTALLED) ## add new clips to the dataset: make ingest LANDING=s3://BUCKET/FOLDER [BRANCH=ingested]
	@test -n "$(LANDING)" || { echo "error: name the source: make ingest LANDING=s3://BUCKET/FOLDER" >&2; exit 2; }
	@$(BIN)/python -m flows ingest "$(LANDING)" --branch "$(BRANCH)"

monitor: $(INSTALLED) ## compare recent clips with the champion's test clips: make monitor SOURCE=s3://BUCKET/FOLDER
	@test -z "$(PLACE)" || { echo "error: PLACE is now SOURCE: make monitor SOURCE=$(PLACE)" >&2; exit 2; }
	@$(BIN)/python -m flows monitor $(SOURCE)

test: lint ## lint, types, and the whole test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-fast: $(INSTALLED) ## the tests that take seconds, with their coverage (three minutes)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not stack and not fault" --cov

coverage: $(INSTALLED) ## the whole test suite with its coverage
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --cov

lint: $(INSTALLED) ## style, formatting, types, import layers and declared dependencies
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/yamllint --strict .

ablate: $(INSTALLED) ## train variants of the method and compare them in a table (hours)
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc --cd ablations repro

improve: $(INSTALLED) ## train a small generator against the champion and measure the result (20 minutes)
	@$(BIN)/python -m flows improve

ui: $(INSTALLED) ## show the MLflow store on http://127.0.0.1:5000
	@mkdir -p $(STORE)
	$(BIN)/mlflow ui --host 127.0.0.1 --port 5000 \
	  --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(STORE)/mlflow.db}"

stack: $(INSTALLED) ## start PostgreSQL, S3, MLflow, Prefect and a worker on this machine
	@$(BIN)/python -m infra.stack start

stack-stop: $(INSTALLED) ## stop them, and everything they started
	@$(BIN)/python -m infra.stack stop

stack-test: $(INSTALLED) ## tests with real services that are killed and restarted (minutes)
	$(BIN)/python -m pytest -m stack

fault-test: $(INSTALLED) ## kill servers, worker and stages, fill the disk, set the clock (an hour); see docs/reference/faults.md
	$(BIN)/uv pip install --quiet --target .scratch/libfaketime libfaketime==$(FAKETIME_VERSION)
	rm -f .scratch/fault-times.txt
	$(BIN)/python -m pytest -m fault
	cat .scratch/fault-times.txt

audit: $(INSTALLED) ## check the pinned packages for known vulnerabilities; fails if PyPI cannot be reached
	$(BIN)/uv tool run --from pip-audit==$(AUDIT_VERSION) \
	  pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements.lock

digests: $(INSTALLED) ## pin the images of infra/ to their registries' current digests
	@$(BIN)/python -m infra.image.digests

lock: $(INSTALLED) ## update requirements.lock from pyproject.toml; pins that still fit stay
	$(BIN)/uv pip compile pyproject.toml --extra stack --extra test --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --quiet --output-file requirements.lock

clean: ## remove caches and scratch files; keeps data, models, metrics, the MLflow store and .venv
	@find .scratch -type f -name '*lock' 2>/dev/null | while read -r lock; do \
	  flock --nonblock "$$lock" true || { echo "error: a run is active in this checkout: it holds $$lock. Stop it first." >&2; exit 2; }; \
	done
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .scratch
	find src flows infra tests -name __pycache__ -type d -prune -exec rm -rf {} +
