# Everything sets itself up: `make demo` and `make test` need Python 3.11 or newer and make, no more.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/qir-ready
WORKERS ?= 2
TESTS ?= tests

.PHONY: demo test lint clean

demo: $(READY)
	$(RUN) -m examples.digits.demo

test: $(READY)
	$(RUN) -m pytest -n $(WORKERS) $(PYTEST) $(TESTS)

lint: $(READY)
	$(RUN) -m ruff check .

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "qir needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
