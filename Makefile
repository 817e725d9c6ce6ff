# make run    the demo (or your sessions: make run ARGS="--configfile mine.yaml"), set up in .venv at the first time
# make test   the tests        make lint   style        make real   real recordings        make bench   benchmarks
# make mutations   plants faults in the model families, which the tests must notice
# Another Python than python3: make run PYTHON=python3.12

PYTHON ?= python3
CORES ?= 2
ARGS ?=
BIN := .venv/bin

.PHONY: run test lint real bench mutations schema

run: .venv/installed
	$(BIN)/snakemake --cores $(CORES) --quiet rules reason host --rerun-incomplete $(ARGS)
	@if [ -f results/logs/score.log ] && [ -f results/tables/recovery.csv ]; then cat results/logs/score.log; fi
	@echo "Report: $(CURDIR)/results/report.html"

test: .venv/installed-test
	$(BIN)/python -m pytest

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

real: .venv/installed
	$(BIN)/python tests/real/run.py

bench: .venv/installed-test
	for name in spectrogram calls clock binning preparation step_time; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/digits/run.py
	PYTHON=$(BIN)/python bash benchmarks/gpu/run.sh || [ $$? -eq 3 ]  # 3: no GPU here

mutations: .venv/installed-test
	ls tests/vae/mutations_*.py | sed 's/.*mutations_//; s/[.]py//' | xargs -n 1 -P $(CORES) $(BIN)/python tests/vae/run_mutations.py

schema: .venv/installed
	$(BIN)/python -c 'import json; from pipeline.config import Config; print(json.dumps(Config.model_json_schema(), indent=2))' > config/schema.json

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Duet needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@
