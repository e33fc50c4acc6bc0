# Thin: each target is a line or two. `make run` and `make test` do all the set-up they need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-scale lint docs bench ui clean

run: .venv/installed
	$(BIN)/python -m pipeline $(ARGS)

# Two files at a time: more would want more memory and cores than many have. In two parts, because
# XLA never frees the programs of a process; exit code 5 means that a part has no test of ARGS.
test: .venv/installed
	for part in 1/2 2/2; do $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --part $$part $(ARGS) || [ $$? = 5 ] || failed=1; done; [ -z "$$failed" ]

# What needs Ray, submitit or PostgreSQL: two to four minutes, once they are installed.
test-scale: .venv/scale
	$(BIN)/python -m pytest -m scale $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site, docs/_site/html/index.html; a broken link or reference is an error.
docs: .venv/docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_site/html

# Half an hour on two cores; ARGS='--only tutorial sweep' runs some pieces, --quick small works.
# Not among them: simulations, which do not depend on the machine (comparison, intervals), long
# sweeps (sweep, leaderboard, killing), and others that run by name: `python -m benchmarks.inner`.
bench: .venv/bench
	$(BIN)/python -m benchmarks $(ARGS)

ui: .venv/installed
	$(BIN)/python -m pipeline ui $(ARGS)

# pip would compile on one core; files of templates do not compile.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	touch $@

.venv/docs: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

# PyTorch takes part in the benchmark where it is installed: its usual build is several gigabytes.
.venv/bench: .venv/installed
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev,bench]'
	touch $@

.venv/scale: .venv/installed
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { echo "PostgreSQL is missing: apt-get install postgresql"; exit 1; }
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev,ray,slurm,server]'
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	touch $@

clean:
	rm -rf .venv docs/_site docs/generated .mypy_cache .ruff_cache .pytest_cache .hypothesis
