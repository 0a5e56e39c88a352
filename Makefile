# What a person types. `make demo` and `make test` need python3 with venv, and nothing else.

.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
PROCESSORS := $(shell nproc)
WORKERS ?= $(shell expr 6 + $(PROCESSORS))
HOURS ?= 2
MINUTES ?= 60
COUNT ?= 150
SECONDS ?= 60
campaign = PYTHONPATH=.:tests $(BIN)/python -m faults

ifdef UV
make_venv = $(UV) venv --quiet --python $(PYTHON) $(VENV)
install_hashed = $(UV) pip install --quiet --python $(BIN)/python --require-hashes -r
install_self = $(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
make_venv = $(PYTHON) -m venv $(VENV)
install_hashed = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r
install_self = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif

# A nearly full disk is no reason to hold a demonstration that writes 2 KiB.
DEMO_LIMITS := --min-free 16MiB --resume-free 17MiB --resume-after 0 --suspend-free 0 --min-free-inodes 0

# Only a run with all of the data is worth writing down.
BENCH_OPTIONS := $(if $(QUICK),--megabytes 40 --rounds 3,--write docs/performance.md)

.PHONY: help demo install test test-long lint types unit properties check faults soak soak-disk seeded-bugs mutants format requirements bench loops fuzz audit sbom share release clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

demo: $(VENV)/.run  ## feed five captures that cut one download; the download is whole again
	@rm -rf demo
	@$(BIN)/pcapdj sample demo/captures
	@$(BIN)/pcapdj run demo/captures --preset summary --logdir demo/output \
		--expect demo/captures/expected.sha256 $(DEMO_LIMITS)
	@if command -v suricata >/dev/null; then \
		echo; echo "Suricata is installed here. The same with it:"; \
		echo "  $(BIN)/pcapdj run demo/captures --preset suricata-extract --expect demo/captures/expected.sha256"; \
	fi

install: $(VENV)/.dev  ## the virtual environment, with everything for development

# Many tests wait for processes or times: six workers more than processors overlap the waits. Each costs 4 s.
# Without its bytecode every worker and every process that a test starts would compile all modules again.
test test-long: export PYTHONDONTWRITEBYTECODE =
# With more workers than processors, what takes a second alone may take four.
test test-long: export PCAPDJ_TEST_TIMEOUT_FACTOR ?= 4
test: $(VENV)/.dev lint types $(VENV)/.collected  ## each promise and rule once; tests that this machine cannot run are listed as skipped
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not long"

# What these do needs more of a processor.
test-long: WORKERS = $(shell expr 4 + $(PROCESSORS))
test-long: $(VENV)/.dev $(VENV)/.collected  ## the tests marked long: a part of the fault campaign, and others with much volume
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m long

unit: $(VENV)/.dev  ## the quick tests only
	$(BIN)/python -m pytest tests/unit tests/property tests/test_architecture.py

properties: export PCAPDJ_TEST_EXAMPLES ?= 1000
properties: $(VENV)/.dev  ## the properties with many more examples than make test: PCAPDJ_TEST_EXAMPLES (1000) each
	$(BIN)/python -m pytest -n $(PROCESSORS) --dist worksteal --timeout 1800 tests/property

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types unit  ## lint, types and quick tests: before every commit

faults: $(VENV)/.dev  ## the fault campaign, under 10 minutes; its figures go into docs/reliability.md
	$(campaign).campaign

soak: $(VENV)/.dev  ## the same for HOURS (2), in random order; goes on where it was stopped
	$(campaign).soak --hours $(HOURS)

soak-disk: $(VENV)/.dev  ## the service with a short output disk and random kills for MINUTES (60); needs root; SEED repeats
	$(campaign).short_disk_soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

seeded-bugs: $(VENV)/.dev  ## known bugs, one by one in a copy: the campaign has to catch each
	$(campaign).seeded

mutants: $(VENV)/.dev  ## put COUNT (150) small random bugs into PLACES, one at a time; list those no test notices
	PYTHONPATH=.:tests $(BIN)/python -m mutants --count $(COUNT) --workers $(PROCESSORS) \
		$(if $(SEED),--seed $(SEED)) $(if $(CAP),--cap $(CAP)) $(PLACES)

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(VENV)/.dev  ## measure against mergecap, dpkt and Suricata; QUICK=1 for a tenth of the data
	$(BIN)/python -m bench $(BENCH_OPTIONS)

loops: $(VENV)/.run  ## build the compiled loops over records again, after a change of pcapdj/capture/loops.c
	$(BIN)/python hatch_build.py

fuzz: build/loops_fuzz $(VENV)/.dev  ## fuzz the loops under sanitizers, then what captures cost, each for SECONDS (60); SEED repeats
	build/loops_fuzz $(SECONDS) $(or $(SEED),$(shell date +%s))
	PYTHONPATH=.:tests $(BIN)/python -m fuzz $(SECONDS) $(or $(SEED),$(shell date +%s))

build/loops_fuzz: tests/fuzz/loops_fuzz.c pcapdj/capture/loops.c
	@mkdir -p build
	$(CC) -O1 -g -std=c11 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all -o $@ $<

# The tools stay out of the other environment: none of them is needed to work on pcapdj.
audit: $(VENV)-audit/.done  ## look for known vulnerabilities of what pcapdj installs (needs the index's vulnerability service)
	@mkdir -p build
	@$(VENV)-audit/bin/pip-audit --strict --require-hashes --disable-pip -r requirements/run.txt >build/audit.txt 2>&1; \
		code=$$?; cat build/audit.txt; \
		if grep -qE 'could not be audited|Connection|Max retries' build/audit.txt; then \
			echo "Not audited: the index's vulnerability service does not answer for all of these packages."; code=1; \
		fi; exit $$code

sbom: $(VENV)-audit/.done  ## write build/sbom.json (CycloneDX) from the hashed requirements
	@mkdir -p build
	@$(VENV)-audit/bin/cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml \
		--output-reproducible -o build/sbom.json
	@echo "build/sbom.json has the packages of requirements/run.txt with their hashes."

share: $(VENV)/.run  ## write the completion scripts and the manual page from the commands
	@mkdir -p share/bash-completion/completions share/zsh/site-functions share/fish/vendor_completions.d share/man/man1
	$(BIN)/pcapdj completion bash >share/bash-completion/completions/pcapdj
	$(BIN)/pcapdj completion zsh >share/zsh/site-functions/_pcapdj
	$(BIN)/pcapdj completion fish >share/fish/vendor_completions.d/pcapdj.fish
	$(BIN)/python -m pcapdj.commands.manual_page >share/man/man1/pcapdj.1

release: $(VENV)/.dev  ## VERSION=0.2.0: date the changes, build and check wheel and sdist, SBOM, commit and tag here
	$(BIN)/python release.py "$(VERSION)"

requirements:  ## pin the newest versions, with hashes (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-annotate --upgrade --extra embedded --group build pyproject.toml -o requirements/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-annotate --upgrade --extra embedded --group build --group dev pyproject.toml \
		-c requirements/run.txt -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-annotate --upgrade --group audit -c requirements/run.txt -o requirements/audit.txt

clean:  ## remove the virtual environment, caches and the demonstration
	rm -rf $(VENV) $(VENV)-audit demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f pcapdj/capture/_loops.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "pcapdj needs Python 3.11 or later; this is $$($(PYTHON) --version). Try make PYTHON=python3.12"; exit 1; }
	@echo "Making the virtual environment $(VENV) .."
	@$(make_venv)

$(VENV)/.run: requirements/run.txt pyproject.toml hatch_build.py pcapdj/capture/loops.c | $(BIN)/python
	@echo "Installing pcapdj into $(VENV) .."
	@$(install_hashed) requirements/run.txt
	@$(install_self)
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing the development tools into $(VENV) .."
	@$(install_hashed) requirements/dev.txt
	@touch $@

# Each worker compiles each test that nobody has compiled yet: 5 s of CPU time in each after a clone.
$(VENV)/.collected: $(VENV)/.dev $(wildcard tests/*.py tests/*/*.py)
	@$(BIN)/python -m pytest --collect-only -q >/dev/null
	@touch $@

$(VENV)-audit/.done: requirements/audit.txt
	@$(PYTHON) -m venv $(VENV)-audit
	@$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	@touch $@
