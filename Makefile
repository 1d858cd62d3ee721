# `make bench` is the main job, `make test` the project's own tests. Each sets up what it needs: the
# first only what measures, the second the workshop besides.
# `make test-oldest` and `make test-newest` run the tests on the lowest and the highest versions that
# pyproject.toml allows; TORCH says which torch (a version that pip finds).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)
empty :=
blank := $(empty) $(empty)
# A blank in the path of an environment is escaped where make would divide it.
MEASURES := $(subst $(blank),\ ,$(VENV))/.measures
READY := $(subst $(blank),\ ,$(VENV))/.ready
OLDEST := $(VENV)-oldest
OLDEST_READY := $(subst $(blank),\ ,$(OLDEST))/.ready
NEWEST := $(VENV)-newest
NEWEST_READY := $(subst $(blank),\ ,$(NEWEST))/.ready
SITE := $(VENV)-site
SITE_READY := $(subst $(blank),\ ,$(SITE))/.ready
# Bytecode is kept, whatever the shell says: else each process compiles what it imports, and pytest
# rewrites each test again, nine seconds of each worker.
ON_TWO_CORES := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=

# pytest's own catching of what is logged asks three thousand loggers of torch and others, six times
# a test: a millisecond of each.
TWO_WORKERS := --numprocesses 2 --dist loadfile -p no:logging

.PHONY: bench test tests test-long test-oldest test-newest lint site clean

bench: $(MEASURES)  ## measure this machine: pytest benchmarks
	"$(BIN)/pytest" benchmarks $(ARGS)

test: $(READY)  ## lint, types, tests
	$(MAKE) --jobs 2 lint tests

tests: $(READY)
	$(ON_TWO_CORES) "$(BIN)/pytest" $(TWO_WORKERS) $(ARGS)

test-long: $(READY)  ## the tests that take a minute each
	$(ON_TWO_CORES) "$(BIN)/pytest" -m long $(ARGS)

test-oldest: $(OLDEST_READY)  ## tests on the lowest versions that pyproject.toml promises
	$(ON_TWO_CORES) "$(OLDEST)/bin/pytest" $(TWO_WORKERS) $(ARGS)

test-newest: $(NEWEST_READY)  ## tests on the newest versions that it allows
	$(ON_TWO_CORES) "$(NEWEST)/bin/pytest" $(TWO_WORKERS) $(ARGS)

lint: $(READY)
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

site: $(SITE_READY)  ## the documentation as a site, in build/site/html
	"$(SITE)/bin/python" -m tools.site $(ARGS)

# torch comes first and pinned: a looser requirement would pull gigabytes of CUDA libraries.
$(MEASURES): pyproject.toml constraints.txt
	$(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --constraint constraints.txt torch
	"$(BIN)/python" -m pip install --quiet --constraint constraints.txt --editable '.[apple,nvidia]'
	touch "$@"

$(READY): $(MEASURES)
	"$(BIN)/python" -m pip install --quiet --constraint constraints.txt --editable '.[dev,apple,nvidia]'
	touch "$@"

$(OLDEST_READY): pyproject.toml tools/lowest_versions.py
	$(PYTHON) -m venv "$(OLDEST)"
	"$(OLDEST)/bin/python" -m pip install --quiet 'torch==$(TORCH)' packaging
	"$(OLDEST)/bin/python" -m tools.lowest_versions dev nvidia > "$(OLDEST)/lowest.txt"
	echo 'torch==$(TORCH)' >> "$(OLDEST)/lowest.txt"
	"$(OLDEST)/bin/python" -m pip install --quiet --constraint "$(OLDEST)/lowest.txt" --editable '.[dev,nvidia]'
	touch "$@"

$(NEWEST_READY): pyproject.toml
	$(PYTHON) -m venv "$(NEWEST)"
	"$(NEWEST)/bin/python" -m pip install --quiet 'torch==$(TORCH)'
	"$(NEWEST)/bin/python" -m pip install --quiet --upgrade --editable '.[dev,nvidia]' 'torch==$(TORCH)'
	touch "$@"

$(SITE_READY): tools/site/requirements.txt
	$(PYTHON) -m venv "$(SITE)"
	"$(SITE)/bin/python" -m pip install --quiet --requirement tools/site/requirements.txt
	touch "$@"

clean:
	rm -rf "$(VENV)" "$(OLDEST)" "$(NEWEST)" "$(SITE)" build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
