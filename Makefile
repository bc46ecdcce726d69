# make demo | make test | make slow | make format | make clean
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint format clean

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

demo: $(VENV)/.demo
	$(RUN) -m examples.storm_tracks

lint: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

test: lint
	$(RUN) -m pytest

slow: $(VENV)/.test
	$(RUN) -m pytest -m slow

format: $(VENV)/.test
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf $(VENV) out dist build
