# make demo | make test | make slow | make oldest | make docs | make rivals | make hopper-data | make accuracy | make format | make clean
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python

# Tests run side by side, each on one core.
APART  := --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test slow oldest docs rivals hopper-data accuracy lint format clean

help:
	@sed -n '1s/^# //p' Makefile

# A stamp file stands for the environment: it is made again only when what it was made from changes.
$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

demo: $(VENV)/.demo
	$(RUN) -m examples.storm_tracks

lint: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

test: lint
	$(RUN) -m pytest $(APART)

slow: $(VENV)/.test
	$(RUN) -m pytest $(APART) -m slow

# The contract with the oldest releases that pyproject.toml admits, in an environment of its own.
.venv-oldest/.made: pyproject.toml constraints-oldest.txt
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable '.[test]'
	touch $@

oldest: .venv-oldest/.made
	.venv-oldest/bin/python -m pytest $(APART) tests/test_sklearn.py tests/test_pandas.py tests/test_layouts.py tests/test_libraries.py \
	    tests/test_bad_input.py tests/test_frames.py tests/test_estimator.py tests/test_answers.py tests/test_persistence.py \
	    tests/test_cli.py tests/test_cli_tables.py

# The site, in out/docs/index.html; a warning fails it.
docs: $(VENV)/.docs
	$(RUN) -m sphinx -E -W --keep-going -q -b html -d out/.doctrees docs out/docs
	@echo "open out/docs/index.html"

# What benchmarks/speed.py compares with, each in an environment of its own.
.venv-diffrax/.made: benchmarks/solvers/diffrax.txt
	test -x .venv-diffrax/bin/python || $(PYTHON) -m venv .venv-diffrax
	.venv-diffrax/bin/python -m pip install --quiet --requirement $<
	touch $@

.venv-torchode/.made: benchmarks/solvers/torchode.txt pyproject.toml constraints.txt
	test -x .venv-torchode/bin/python || $(PYTHON) -m venv .venv-torchode
	.venv-torchode/bin/python -m pip install --quiet --constraint constraints.txt --requirement $< --editable .
	touch $@

rivals: .venv-diffrax/.made .venv-torchode/.made

format: $(VENV)/.test
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

# The simulator has an environment of its own: its versions are pinned and nothing else needs them.
.venv-hopper/.made: benchmarks/hopper.txt
	test -x .venv-hopper/bin/python || $(PYTHON) -m venv .venv-hopper
	.venv-hopper/bin/python -m pip install --quiet --requirement benchmarks/hopper.txt
	touch $@

out/hopper.npz: benchmarks/make_hopper.py | .venv-hopper/.made
	.venv-hopper/bin/python benchmarks/make_hopper.py --out $@

hopper-data: out/hopper.npz

# All seeds of every accuracy benchmark: hours. Those whose data are absent say so and end.
accuracy: $(VENV)/.test out/hopper.npz
	$(RUN) -m benchmarks.storms
	$(RUN) -m benchmarks.spirals
	$(RUN) -m benchmarks.plain
	$(RUN) -m benchmarks.hopper
	$(RUN) -m benchmarks.physionet
	$(RUN) -m benchmarks.mortality
	$(RUN) -m benchmarks.tables
	$(RUN) -m benchmarks.seasons
	$(RUN) -m benchmarks.ablations

clean:
	rm -rf $(VENV) .venv-oldest .venv-diffrax .venv-torchode .venv-hopper out dist build
