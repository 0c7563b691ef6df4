# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
JOURNEY ?= replace
FROM ?= owned
REAL ?=
DENY ?=
NODES ?= 100
UNIT = $(RUN) -m pytest tests/unit -n 2 --dist loadfile -m "not growth"
# Two sandboxes fit two cores: each of them often waits for nodes that join and agents that roll out.
ENGINE = $(RUN) -m pytest tests/engine tests/faults -n 2 --durations=25

.PHONY: help demo test matrix faults walk check unit engine lock tools bench-netpol bench-refresh bench-bridge oracle-netpol oracle-bridge image clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.ready: requirements-dev.txt
	@echo "== Python packages into $(VENV) (pinned and hashed)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": set PYTHON=")'
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

tools: $(VENV)/.ready ## build what the local EKS needs (a quarter of an hour once, then cached)
	@$(RUN) -m sandbox tools

demo: tools ## build a local EKS and walk a whole migration and a launch, stage by stage
	@$(RUN) -m sandbox demo

walk: tools ## walk one journey: JOURNEY=replace|greenfield FROM=owned|adopted|self-managed REAL=plugin,... DENY=yes
	@$(RUN) -m sandbox walk $(JOURNEY) --from $(FROM) $(if $(REAL),--real $(REAL)) $(if $(DENY),--default-deny)

check: $(VENV)/.ready ## lint, types, import directions, workflows, freshness of locks
	@echo "== lint";              $(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check --quiet .
	@echo "== types";             $(VENV)/bin/mypy .
	@echo "== import directions"; $(VENV)/bin/lint-imports --no-cache
	@echo "== workflows";         $(VENV)/bin/zizmor --quiet --offline --strict-collection --persona=pedantic .github
	@echo "== locks";             $(RUN) tests/locks.py

unit: $(VENV)/.ready ## tests without an engine or a cluster
	@$(UNIT)

engine: tools ## tests on the real engine and a local control plane
	@$(ENGINE) -m "not matrix and (core or not faults)"

test: check tools ## everything that must hold before a change lands
	@echo "== tests without an engine";     $(UNIT)
	@echo "== tests on the real engine";    $(ENGINE) -m "not matrix and (core or not faults)"

matrix: tools ## besides: deploys interrupted and killed at every stage, every way back, other people's clusters
	@$(ENGINE) -m matrix

faults: tools ## break what a node refresh stands on (kills, lost answers, AWS) and what is read, let it grow. MARK=core: the quick part
	@$(if $(MARK),,$(RUN) -m pytest tests/unit -m growth)
	@$(RUN) -m pytest tests/faults $(if $(MARK),-m $(MARK)) --durations=20

lock: $(VENV)/.ready ## write requirements*.txt anew from requirements*.in
	@$(RUN) tests/locks.py --write

bench-netpol: tools ## policy proofs against another analyzer, side by side, and the prover on a live API server
	@$(RUN) benchmarks/netpol.py

bench-refresh: tools ## node refresh against kubectl drain, side by side: NODES=
	@$(RUN) benchmarks/refresh.py --nodes $(NODES)

bench-bridge: tools ## the identity bridge under load: 5,000 pods, 50 changes a second
	@$(RUN) benchmarks/bridge.py

oracle-netpol: $(VENV)/.ready ## long runs against Cilium's own engine, another analyzer and kubectl's reading, and mutants
	@$(RUN) -m tests.oracles.yaml_campaign --cases 100000
	@$(RUN) -m tests.oracles.campaign --cases 100000
	@$(RUN) -m tests.oracles.calico_campaign --sets 600
	@$(RUN) -m tests.oracles.incomplete --cases 10000
	@$(RUN) -m tests.oracles.changing --sequences 1000
	@$(RUN) -m tests.oracles.conformance
	@$(RUN) -m tests.programs.published
	@$(RUN) -m tests.programs.mutants --mutants 1000

oracle-bridge: $(VENV)/.ready ## a long run of the bridge's labels against Cilium's own packages
	@$(RUN) -m tests.oracles.labels_campaign --cases 10000

image: $(VENV)/.ready ## the bridge in an image of your own: IMAGE=REGISTRY/NAME:TAG (deploys need none)
	@$(if $(IMAGE),,$(error say what to call it: make image IMAGE=REGISTRY/NAME:TAG))$(RUN) -m bridge.ship.image --tag $(IMAGE)

clean: ## end a running sandbox and delete what was built here (the tool cache stays)
	@test ! -x $(RUN) || $(RUN) -m sandbox down
	@rm -rf $(VENV) .sandbox
