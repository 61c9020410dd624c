# Two commands do everything on a fresh Debian machine: `make demo` and `make test`.
#   make demo              set up, start a cluster, apply examples/, show the live URLs   (ARGS=--once: check them and stop)
#   make test              set up, run every test, by WORKERS processes (3: most of them wait most of the time)
#   make check             format, lint, types, layers
#   make many-pods         300 real pods at once come, answer, and go
#   make test-cgroup2      limits by cgroup v2, in a virtual machine   (ARGS=node or ARGS=cluster: a half; MACHINE="--cpus 2")
#   make bench             every benchmark, as tables (make bench-api, bench-delivery, …: one of them)
VENV := .venv
BIN  := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
ARGS ?=
WORKERS ?= 3
MACHINE ?=

.PHONY: setup demo test test-runtimes test-cgroup2 check bench bench-api bench-edge soak-edge bench-node bench-delivery many-pods format golden clean
setup: $(VENV)/.setup
demo: setup
	@$(SUDO) $(BIN)/fairway demo --state-dir .fairway/demo $(ARGS)
test: $(VENV)/.setup-dev
	$(SUDO) env FAIRWAY_TEST_PATIENCE="$${FAIRWAY_TEST_PATIENCE:-3}" $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=40 $(ARGS)
# The runtimes' suite by each runtime and as each kind of user (minutes; `make test` has their contract in every mode).
NODE_TESTS := $(filter-out %_modes.py %_cgroup2.py %_resize.py,$(wildcard tests/engine/kubelet/test_runtime_*.py))
test-runtimes: $(VENV)/.setup-dev
	@for runtime in "" crun runc; do \
	  export FAIRWAY_TEST_RUNTIME="$$([ -z "$$runtime" ] || PATH=$$PATH:/usr/sbin command -v $$runtime)"; \
	  echo "== root, $${runtime:-native}"; $(SUDO) $(BIN)/python -m pytest $(NODE_TESTS) $(ARGS) || exit 1; \
	  for ids in subordinate single; do \
	    echo "== ordinary user, $$ids ids, $${runtime:-native}"; \
	    $(SUDO) $(BIN)/python tests/support/rootless_pytest.py $$ids $(NODE_TESTS) $(ARGS) || exit 1; \
	  done; \
	done
# Limits by cgroup v2 on Debian's own kernel, in a virtual machine: where that must be emulated it takes many minutes.
test-cgroup2: $(VENV)/.setup-dev
	@$(SUDO) tools/system_packages machine
	@export FAIRWAY_TEST_PATIENCE=10; $(SUDO) $(BIN)/python tools/in_a_vm.py --seconds 7200 $(MACHINE) tests/cgroup2/run $(ARGS)
check: $(VENV)/.setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
bench: $(VENV)/.setup-dev
	@for script in bench/*.py; do echo "== $$script"; $(SUDO) $(BIN)/python $$script $(ARGS) || exit 1; done
bench-edge: $(VENV)/.setup-dev
	@$(SUDO) $(BIN)/python bench/edge.py $(ARGS)
soak-edge: $(VENV)/.setup-dev
	@$(SUDO) $(BIN)/python bench/edge_soak.py $(ARGS)
bench-node: $(VENV)/.setup-dev
	@$(SUDO) $(BIN)/python bench/node.py $(ARGS)
many-pods: $(VENV)/.setup-dev
	@$(SUDO) env FAIRWAY_MANY_PODS=300 $(BIN)/python -m pytest -s tests/e2e/test_e2e_node.py -k many $(ARGS)
bench-api: $(VENV)/.setup-dev
	@$(BIN)/python bench/api.py $(ARGS)
bench-delivery: $(VENV)/.setup-dev
	@$(SUDO) $(BIN)/python bench/delivery.py $(ARGS)
format: $(VENV)/.setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
golden: $(VENV)/.setup-dev
	$(BIN)/python -m pytest --update-golden tests/edge tests/engine/serviceproxy
clean:
	rm -rf $(VENV) build src/*.egg-info src/fairway/engine/apiserver/schema/descriptions.json.gz .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.setup: pyproject.toml tools/system_packages
	@$(SUDO) tools/system_packages run
	@[ -x $(BIN)/python ] || python3 -m venv $(VENV)
	@echo "• installing Fairway into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@$(BIN)/python -m compileall -q src # or the first start does it, and takes twice as long
	@$(BIN)/python -m fairway.processes.descriptions || true # without them kubectl explain shows fields and types only
	@touch $@
$(VENV)/.setup-dev: $(VENV)/.setup
	@$(SUDO) tools/system_packages test
	@echo "• installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
