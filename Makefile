# make run     environment, sample data, the whole pipeline; ends with a registered champion and a report
# make test    environment, test suite
# make check   ruff, types, import boundaries
# make bench   the benchmark table
# make results AMTL_DATA=FOLDER   docs/results.md from its raw runs: makes those that are missing (hours); QUICK=1: a look in minutes, in build/
# make clean   away with stage outputs and tool caches; data, registry and environment stay
#
# TORCH=cpu takes PyTorch's CPU build where the default is the CUDA one (make run TORCH=cpu). PYTHON names the interpreter.
# Paths are relative: make cannot have a space in them, and the folder above may have one.

PYTHON ?= python3
TORCH ?= default
INDEX_cpu := --extra-index-url https://download.pytorch.org/whl/cpu
PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input --no-cache-dir
ENVIRONMENT := eval "$$(.venv/bin/amtl env)"

.PHONY: run test check bench results clean install

run: .venv/.installed
	@if [ ! -d data/events ]; then echo "fetching the sample data"; $(ENVIRONMENT) && dvc pull data.dvc; fi
	@.venv/bin/amtl retrain
	@printf '%s\n' "" "next:" \
	  '  eval "$$(.venv/bin/amtl env)"              this folder'"'"'s amtl, dvc, mlflow and prefect for your shell' \
	  "  amtl status                              data, stages, champion, challenger" \
	  "  amtl sample --next-day && amtl retrain   another day arrives" \
	  "  dvc repro                                after a change of params.yaml: reruns what depends on it" \
	  "  mlflow ui                                runs, versions, reports"

test: .venv/.installed
	@OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: .venv/.installed
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/python -m mypy
	@.venv/bin/python -m pytest tests/test_boundaries.py

bench: .venv/.installed
	@$(ENVIRONMENT) && python -m benchmarks

results: .venv/.installed
	@$(ENVIRONMENT) && python -m benchmarks.results $(if $(QUICK),--quick) $(if $(AMTL_DATA),--data "$(AMTL_DATA)")

clean:
	rm -rf build .amtl .pytest_cache .mypy_cache .ruff_cache .hypothesis

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("amtl needs Python 3.11 or later; %s is %d.%d. Name another: make run PYTHON=..." % (sys.executable, v[0], v[1]))'
	@test -x .venv/bin/python || { echo "making the environment .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing into .venv (some minutes, about 2 GB)"
	@$(PIP) install --progress-bar off --use-pep517 $(INDEX_$(TORCH)) --constraint constraints.txt --editable '.[dev]'
	@touch $@
