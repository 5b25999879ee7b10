# One command each. The first call makes .venv and installs the pinned packages, once.
PROFILE  ?= mini
SEEDS    ?= 0
ARGS     ?=
PYTHON   ?= python3
JOBS     ?= 2
BUDGET   ?= 540
VENV     := .venv
RUN      := $(VENV)/bin/python
# A machine that is at hand for minutes has its packages already: make gpu installs nothing.
GPU_RUN  := $(if $(wildcard $(RUN)),$(RUN),$(PYTHON))
READY    := $(VENV)/.ready
# What has no wheels for another system is pinned by itself.
LOCKS    := requirements.lock $(if $(filter Linux,$(shell uname -s)),requirements-linux.lock)
# What a target takes unless the variable is given: $(call unless_given,SEEDS,table).
unless_given = $(if $(filter file,$(origin $1)),$2,$($1))
# Where none are given, a script has seeds of its own.
GIVEN_SEEDS := $(if $(filter file,$(origin SEEDS)),,seeds=[$(SEEDS)])
# exec: a signal to make reaches the script, not a shell that would leave it behind.
SWEEP    := exec $(RUN) scripts/sweep.py profile=$(PROFILE) seeds=[$(SEEDS)]

# Only these may be given, so that SEED=3 or PROFIL=paper is refused instead of ignored.
KNOWN    := PROFILE SEEDS ARGS PYTHON JOBS BUDGET VENV RUN READY
GIVEN    := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
UNKNOWN  := $(filter-out $(KNOWN) SHELL MAKE%,$(GIVEN))
$(if $(UNKNOWN),$(error no such variable: $(UNKNOWN); allowed: $(KNOWN)))

.PHONY: help edge tables figure1 curves stability theory plan performance status report claims publish dashboard dry bench gpu test test-all lint format clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z0-9%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
	@echo "variables: PROFILE=mini|cifar|small|paper|official|smoke  SEEDS=0,1,2|table  JOBS=2 (of test)  BUDGET=540 (of gpu)  PYTHON=python3 (makes .venv)"
	@echo "           ARGS='n_jobs=4 ...': settings of scripts/sweep.py, see its --help; of dry, bench and gpu those of their scripts"

$(READY): $(LOCKS) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$(LOCKS))
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

table%: $(READY) ## train what is missing of one table and write results/<profile>/table<N>.{csv,md}
	$(SWEEP) tables=[$@] $(ARGS)

# Its own profile and seeds, as conf/table/edge.yaml has them.
edge: $(READY) ## every stem at four learning rates, 126 runs on CIFAR-10 (PROFILE=cifar), about two hours
	exec $(RUN) scripts/sweep.py profile=$(call unless_given,PROFILE,cifar) seeds=[$(call unless_given,SEEDS,table)] tables=[$@] $(ARGS)

tables: $(READY) ## the same for every table
	$(SWEEP) $(ARGS)

figure1: $(READY) ## train what is missing of Figure 1 and draw it: results/<profile>/figure1.{csv,md,png,svg}
	exec $(RUN) scripts/figure1.py profile=$(PROFILE) seeds=[$(SEEDS)] $(ARGS)

curves: $(READY) ## training curves of every row, from what is done: results/<profile>/curves/
	@exec $(RUN) scripts/curves.py profile=$(PROFILE) seeds=[$(SEEDS)] $(ARGS)

# Its own seeds, unless SEEDS says otherwise: an edge needs more than one.
stability: $(READY) ## train what is missing of conf/stability/stems.yaml; map of rates, stability edge
	exec $(RUN) scripts/sweep.py profile=$(PROFILE) seeds=[$(call unless_given,SEEDS,table)] tables=[stems] $(ARGS)

theory: $(READY) ## the paper's theorems in numbers: trains a few runs, writes docs/theory.md
	exec $(RUN) scripts/theory.py $(ARGS)

plan: $(READY) ## what is done, missing, failed, crashed; time, GPU-hours, disk; trains nothing
	@$(SWEEP) dry_run=true $(ARGS)

performance: $(READY) ## GPU-hours of the whole paper, official, ours, floor: writes docs/performance.md; trains nothing
	@exec $(RUN) scripts/performance.py $(ARGS)

status: $(READY) ## one line a run: queued, running (epoch, images/s, ETA, loss), done, failed
	@exec $(RUN) scripts/status.py profile=$(PROFILE) seeds=[$(SEEDS)] $(ARGS)

report: $(READY) ## rewrite the tables and the page, report.html, from what is done; trains nothing
	@exec $(RUN) scripts/report.py profile=$(PROFILE) $(GIVEN_SEEDS) $(ARGS)

claims: $(READY) ## the paper's claims with verdicts, all seeds of each table; trains nothing
	@exec $(RUN) scripts/claims.py profile=$(PROFILE) $(GIVEN_SEEDS) $(ARGS)

publish: $(READY) ## copy tables, claims, figures, page and slim run records to results/published/<profile>/
	@exec $(RUN) scripts/report.py profile=$(PROFILE) $(GIVEN_SEEDS) publish=true $(ARGS)

dashboard: $(READY) ## save a workspace and a report per table at W&B
	@exec $(RUN) scripts/dashboard.py profile=$(PROFILE) seeds=[$(SEEDS)] $(ARGS)

dry: $(READY) ## one training and one evaluation step of every row of the paper profile, on noise
	exec $(RUN) scripts/dry.py $(ARGS)

bench: $(READY) ## speed beside other scripts, of start-up and of plans; table and picture under results/published/bench/
	exec $(RUN) scripts/bench.py $(ARGS)

gpu: ## on one GPU, within BUDGET seconds: tests, speed, whole runs at small; publishes what comes out
	exec $(GPU_RUN) scripts/gpu.py --budget $(BUDGET) --seeds $(SEEDS) $(if $(filter file,$(origin PROFILE)),,--profile $(PROFILE)) $(ARGS)

test: $(READY) ## the test suite, in two processes; tests about signals after that, alone
	exec $(RUN) -m pytest -n $(JOBS) --dist loadfile -m "not slow and not alone"
	exec $(RUN) -m pytest -m alone $$(grep -rl --include='test_*.py' mark.alone tests)

test-all: test ## with the tests that take minutes
	exec $(RUN) -m pytest -m slow

lint: $(READY) ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(READY) ## let ruff fix what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## remove what this checkout made, except published results
	rm -rf results/runs results/artifacts results/gpu results/wandb results/.cache $(filter-out results/published,$(patsubst conf/profile/%.yaml,results/%,$(wildcard conf/profile/*.yaml)))
