# `make demo` and `make test` set themselves up: a virtual environment in .venv, everything else inside it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check soak bench format clean

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Making a virtual environment failed. On Debian/Ubuntu: sudo apt install python3-venv"; exit 1; }

$(VENV)/.runtime: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up (first time only) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(STAMP): pyproject.toml | $(VENV)/bin/python
	@echo "Setting up tests (first time only) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime
	@$(BIN)/ecogsafe demo

test: $(STAMP)
	@$(BIN)/python tools/ensure_age.py
	@$(BIN)/python -m pytest -q -n auto --dist loadfile

check: $(STAMP)
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/ruff format --check src tests tools benchmarks
	$(BIN)/mypy
	$(BIN)/mypy --strict benchmarks
	$(BIN)/lint-imports
	$(BIN)/python tools/file_sizes.py

# Long campaigns: hundreds of kills and of disturbed lines; the seed is printed, give it back with ECOGSAFE_SEED=…
SOAK := tests/transfer/test_kills.py tests/service/test_catalog_kills.py tests/transfer/test_download_kills.py tests/transfer/test_wire_kills.py \
	tests/transfer/test_faults.py tests/transfer/archive/test_volume_kills.py tests/transfer/archive/test_unpacking.py \
	tests/service/test_backup_killed.py tests/service/test_deid_killed.py tests/service/test_unlocking.py tests/service/test_restore_kills.py tests/service/test_vault_retrieval.py \
	tests/cli/test_old_copies_killed.py tests/cli/test_places_failing.py tests/service/test_mutations.py tests/service/test_free_campaign.py

soak: $(STAMP)
	@ECOGSAFE_SOAK_KILLS=$${ECOGSAFE_SOAK_KILLS:-500} ECOGSAFE_SOAK_FLIPS=$${ECOGSAFE_SOAK_FLIPS:-1000} ECOGSAFE_SOAK_MUTATIONS=$${ECOGSAFE_SOAK_MUTATIONS:-1000} $(BIN)/python -m pytest -q -s $(SOAK)

# An hour or two on an idle machine, and 20 GB of room; e.g. make bench BENCH="--quick --runs 1 --only B1"
BENCH ?=

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(BENCH)

format: $(STAMP)
	$(BIN)/ruff check --fix src tests tools benchmarks
	$(BIN)/ruff format src tests tools benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo
