# Everything runs in .venv, which is made from constraints.txt on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := setup.py tf_crossdistil pipelines serving tests benchmarks

.PHONY: help demo test test-all test-matrix soak lint format bench study study-small clean
help:
	@echo "make demo      run the whole way on synthetic logs and show the result"
	@echo "make test      run the tests (test-all: the slow ones too)"
	@echo "make test-matrix   build the wheel, install and use it on every Python from 3.10 to 3.13 that is here"
	@echo "make soak      run the tests of steady load on the local server, minutes"
	@echo "make lint      check style and types (format: mend the style)"
	@echo "make bench     time everything beside its peers, about 30 minutes, into benchmarks/RESULTS.md"
	@echo "make study     the study of docs/study.md, up to 3 hours, into study-output (study-small: minutes, into study-small-output)"
	@echo "make clean     remove .venv, caches and the demo's output"

$(INSTALLED): constraints.txt setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo 'constraints.txt needs Python 3.11, which $(PYTHON) is not: give PYTHON=/path/to/python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev,bench]'
	@touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/crossdistil demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadscope

test-all: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadscope -m 'not soak'

test-matrix: $(INSTALLED)
	$(BIN)/python -m tests.packaging.matrix

soak: $(INSTALLED)
	$(BIN)/python -m pytest -m soak

lint: $(INSTALLED)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(filter-out setup.py,$(SOURCES))

format: $(INSTALLED)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# The training peers have environments of their own, .venv-bench-*, which are made on first use.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.results

study: OUT := study-output
study: ROWS := 1000000
study: SEEDS := 0,1,2,3,4
study: SWEEP_SEEDS := 0,1,2
study-small: OUT := study-small-output
study-small: ROWS := 100000
study-small: SEEDS := 0,1
study-small: SWEEP_SEEDS := 0
BACKBONES := single,shared_bottom,cross_stitch,mmoe,ple
METHODS := taug,crossdistil,without_auxiliary_ranking,without_calibration,without_correction,kd_same_task,kd_cross_task
study study-small: $(INSTALLED)
	mkdir -p $(OUT)
	$(BIN)/crossdistil generate --rows $(ROWS) --seed 1 --out $(OUT)/logs.csv
	$(BIN)/crossdistil prepare configs/study.yaml --input $(OUT)/logs.csv --output $(OUT)/data
	$(BIN)/crossdistil compare configs/study.yaml --data $(OUT)/data --out $(OUT)/compared --jobs 2 \
	  --methods $(BACKBONES),$(METHODS) --seeds $(SEEDS) --sweep-seeds $(SWEEP_SEEDS) \
	  --sweep distillation.margin=-4,-2,0,2,4 --sweep distillation.alpha=0,0.2,0.4,0.7,1 \
	  --sweep distillation.beta1=0,0.5,1,2,4 --sweep distillation.beta2=0,0.5,1,2,4 \
	  --sweep training.label_exchange.like=0.1,0.3,0.5,0.7,0.9

clean:
	rm -rf $(VENV) .venv-bench-* demo-output study-output study-small-output build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
