# Everything from a fresh machine with Python 3.11 or newer: `make demo` runs the main job, `make test` the tests.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-slurm test-sweep check tables report clean

demo: $(INSTALLED) ## HARMONIC against copy, independent and SMOTE on the bundled default, offline
	$(BIN)/python run.py -m method=smote,harmonic n_samples=2000 model.training.max_steps=150

test: $(INSTALLED) ## the tests; those on the paper's tables need HARMONIC_DATA_DIR
	$(BIN)/python -m pytest -q -n logical --dist loadfile --no-loadscope-reorder

test-slurm: $(INSTALLED) ## a sweep through a real Slurm of this machine, set up as root (Debian, Ubuntu)
	scripts/setup_slurm.sh
	$(BIN)/python -m pytest -q -m slurm tests/slurm

test-sweep: $(INSTALLED) ## a sweep of 24 cells, killed three times, against an unbroken one; minutes
	$(BIN)/python -m pytest -q -m long tests/sweeps

check: $(INSTALLED) ## what CI checks besides the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tables: $(INSTALLED) ## from the committed records: results/tables, the README's table, and the base model's card
	$(BIN)/python scripts/make_tables.py
	$(BIN)/python scripts/make_readme.py
	$(BIN)/python scripts/make_base_card.py

report: $(INSTALLED) ## results/report.html: tables and plots on one page, from the same records
	$(BIN)/python scripts/make_report.py

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean: ## the environment, every cached result and what loggers left in outputs; records stay
	rm -rf .venv cache outputs
