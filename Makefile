# Everything sets itself up: `make demo` and `make test` need Python 3.11 or newer and make, no more.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/qir-ready
WORKERS ?= 2
TESTS ?= tests
FRESH ?= build/plugin

.PHONY: demo test lint docs plugin clean

demo: $(READY)
	$(RUN) -m examples.digits.demo

test: $(READY)
	$(RUN) -m pytest -n $(WORKERS) $(PYTEST) $(TESTS)

lint: $(READY)
	$(RUN) -m ruff check .

docs: $(READY)
	$(RUN) -m sphinx -q -W docs build/docs
	@echo "build/docs/index.html"

# qir and the plugin as their users install them, in an environment that knows neither: what the
# plugin brings is listed, run by name beside qir's own, and tested without a conftest.
plugin: export PYTHONPATH :=
plugin: FOUND = $(abspath $(FRESH))/bin
plugin:
	@test -n "$(PYTHON)" || { echo "qir needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	rm -rf $(FRESH) build/lib* examples/plugin/build
	$(PYTHON) -m venv $(FRESH)
	$(FOUND)/python -m pip install --quiet --disable-pip-version-check . "./examples/plugin[test]"
	@$(FOUND)/python -I -c "import qir, kestrel; print(qir.__file__, kestrel.__file__, sep='\n')"
	$(FOUND)/qir passes | grep -A 1 "^raise_prelu"
	$(FOUND)/qir-opt examples/plugin/tests/ptq_kestrel.qir --split-input-file \
		-p "canonicalize, raise_nn, raise_prelu, ptq_kestrel" --calibration random:8
	cd examples/plugin && $(FOUND)/pytest
	cd examples/plugin && $(FOUND)/lit -q tests --skip-test-time-recording

$(READY): pyproject.toml setup.py $(wildcard qir/targets/native/src/*)
	@test -n "$(PYTHON)" || { echo "qir needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
