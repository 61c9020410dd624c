# Two commands do everything on a fresh Debian machine: `make demo` and `make test`.
#   make demo              set up, start a cluster, apply examples/, show the live URLs   (ARGS=--once: check them and stop)
#   make test              set up, run every test
#   make check             format, lint, types, layers
#   make bench             every benchmark, as tables (make bench-api, bench-node: one of them)
VENV := .venv
BIN  := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
ARGS ?=

.PHONY: setup demo test check bench bench-api bench-node format golden clean
setup: $(VENV)/.setup
demo: setup
	@$(SUDO) $(BIN)/fairway demo --state-dir .fairway/demo $(ARGS)
test: $(VENV)/.setup-dev
	$(SUDO) $(BIN)/python -m pytest $(ARGS)
check: $(VENV)/.setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
bench: $(VENV)/.setup-dev
	@for script in bench/*.py; do echo "== $$script"; $(SUDO) $(BIN)/python $$script $(ARGS) || exit 1; done
bench-node: $(VENV)/.setup-dev
	@$(SUDO) $(BIN)/python bench/node.py $(ARGS)
bench-api: $(VENV)/.setup-dev
	@$(BIN)/python bench/api.py $(ARGS)
format: $(VENV)/.setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
golden: $(VENV)/.setup-dev
	$(BIN)/python -m pytest --update-golden tests/edge tests/engine/serviceproxy
clean:
	rm -rf $(VENV) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.setup: pyproject.toml tools/system_packages
	@$(SUDO) tools/system_packages run
	@[ -x $(BIN)/python ] || python3 -m venv $(VENV)
	@echo "• installing Fairway into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@
$(VENV)/.setup-dev: $(VENV)/.setup
	@$(SUDO) tools/system_packages test
	@echo "• installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
