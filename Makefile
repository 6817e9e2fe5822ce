# Each target sets up what it needs: Python 3.11 or later is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Their processes signal themselves, which crashes Python on some virtual machines where coverage is measured.
SIGNALS := tests/test_cli_signals.py tests/test_training_stopping.py

DIST := $(VENV)/.dist

.PHONY: demo test check dist docs fuzz bench clean

demo: $(READY)  ## train on synthetic images, segment a large one, score it (about four minutes)
	$(BIN)/contractile demo --out demo

test: $(READY)  ## the whole test suite, and how much of the code it runs
	$(BIN)/python -m pytest $(SIGNALS:%=--ignore=%) --cov=contractile --cov-report=term:skip-covered --cov-fail-under=92
	$(BIN)/python -m pytest $(SIGNALS)

check: $(READY)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 src  # Windows reads and writes text in another encoding
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32  # names that Windows lacks

dist: $(DIST)/.ready  ## the wheel and the sdist, in dist/, and what can be checked of them and of the files around a release
	rm -rf dist
	$(DIST)/bin/python -m build
	for file in dist/*.whl; do $(DIST)/bin/python -m zipfile --list $$file; done
	for file in dist/*.tar.gz; do $(DIST)/bin/python -m tarfile --list $$file; done
	$(DIST)/bin/twine check --strict dist/*
	$(DIST)/bin/check-wheel-contents dist/*.whl
	$(DIST)/bin/validate-pyproject pyproject.toml
	$(DIST)/bin/cffconvert --validate
	$(DIST)/bin/python conda/render.py
	$(DIST)/bin/zizmor --offline --quiet --persona pedantic .github

docs: $(VENV)/.docs  ## the site of the documentation, in build/site; fails at a dead link (about five minutes)
	$(BIN)/python -m docs.tools.site build/pages
	$(BIN)/zensical build --strict --clean
	$(BIN)/python -m docs.tools.links build/site

fuzz: $(READY)  ## 10,000 damaged files for every reader (about an hour)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py --count 10000

bench: $(VENV)/.bench  ## every benchmark that needs no data, beside its peers; fails where a ratio fell by a fifth
	status=0; for name in scores training speed; do $(BIN)/python benchmarks/$$name.py || status=1; done; exit $$status

# pip alone decides which build of PyTorch it takes; installing it first keeps other packages from choosing.
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch>=2.6,<2.14"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $(READY)

# Apart from the package: these tools hold other packages back.
$(DIST)/.ready:
	$(PYTHON) -m venv $(DIST)
	$(DIST)/bin/python -m pip install --quiet build check-wheel-contents "cffconvert>=2.0" py-rattler-build twine \
		validate-pyproject zizmor
	touch $(DIST)/.ready

$(VENV)/.bench: $(READY)
	$(BIN)/python -m pip install --quiet --no-binary elasticdeform --editable ".[dev,bench]"
	touch $(VENV)/.bench

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[dev,docs]"
	touch $(VENV)/.docs

clean:
	rm -rf $(VENV) demo build dist .cache .coverage .pytest_cache .mypy_cache .ruff_cache
