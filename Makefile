# The commands of this project. GNU make 3.81 and newer; nothing else is needed but Python 3.11+.

VENV := .venv
BIN := $(VENV)/bin
# What .venv is made with: the first of these that is Python 3.11 or newer and can make one.
PYTHONS := python3.13 python3.12 python3.11 python3
USABLE := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
BENCHES := $(patsubst tests/bench/%/__main__.py,%,$(wildcard tests/bench/*/__main__.py))

.DEFAULT_GOAL := help
.PHONY: help demo up test lint format bench chaos pins clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1 /p' Makefile | while read -r name what; do \
	  printf '  make %-8s %s\n' "$$name" "$$what"; done

demo: $(VENV)/installed-embedded ## Send a sample campaign on this machine; needs no server
	@$(BIN)/mailer demo

up: $(VENV)/installed-embedded ## Run everything for development until Ctrl-C; needs no server
	@$(BIN)/mailer up

test: $(VENV)/installed-dev ## Run all tests against real servers, with branch coverage
	@mkdir -p build
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadgroup --cov --cov-report=term --cov-report=xml:build/coverage.xml

lint: $(VENV)/installed-dev ## Check style, types and the layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/installed-dev ## Write the code in the one style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/installed-dev ## Measure, with the peers side by side; writes build/bench.json
	@rm -f build/bench.json
	@for what in $(BENCHES); do $(BIN)/python -m tests.bench.$$what || exit 1; done

chaos: $(VENV)/installed-dev ## Send a campaign while everything around it fails; count who got what
	@$(BIN)/python -m tests.chaos

pins: ## Write constraints.txt anew: the newest versions that fit together
	python3.11 -m venv --clear build/pins
	build/pins/bin/python -m pip install --quiet -e '.[embedded,dev]'
	build/pins/bin/python -m pip freeze --exclude-editable > constraints.txt

clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache \
	  .ruff_cache .import_linter_cache
	find mailer workers scheduler tests -name __pycache__ -type d -prune -exec rm -rf {} +

# `make demo` on a fresh clone waits for the first of these only: it takes half as long.
$(VENV)/installed-embedded: $(VENV)/made pyproject.toml constraints.txt
	@echo 'Installing into $(VENV) …'
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[embedded]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed-embedded
	@echo 'Installing the tools into $(VENV) …'
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[embedded,dev]'
	@touch $@

$(VENV)/made:
	@for python in $(PYTHONS); do \
	  if $$python -c '$(USABLE)' >/dev/null 2>&1; then \
	    echo "Making $(VENV) with $$($$python -V) …"; \
	    $$python -m venv $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo 'Python 3.11 or newer with its venv module is needed (on Debian: python3 and python3-venv).' >&2; \
	exit 1
