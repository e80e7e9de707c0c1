# Everything runs from here; `make help` lists the targets. Nothing outside this folder is changed.

.DEFAULT_GOAL := help
.PHONY: help setup spark demo demo-real test check bench serve fix lock clean

BIN := .venv/bin
READY := .venv/.ready
# Every process of this program would compile all of it again, for longer than it then takes to start.
unexport PYTHONDONTWRITEBYTECODE
WORKERS ?= 2

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make the private environment in .venv from requirements.lock

$(READY): requirements.lock pyproject.toml tools/setup.sh
	@sh tools/setup.sh
	@touch $@

spark: $(READY) ## add Apache Spark to the environment, if there is Java
	@sh tools/setup_spark.sh

demo: $(READY) ## a month of a video-conferencing company: metered, rated, billed, printed
	@$(BIN)/counterfoil demo

demo-real: $(READY) ## real cloud usage in FOCUS format, rated to its billed cost; FILE=path
	@$(BIN)/counterfoil demo-real $(if $(FILE),"$(FILE)")

test: spark ## run every test; WORKERS=n processes, ARGS="-k name" for some of them
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(ARGS)

check: $(READY) ## style, types, import rules and the rules of this house
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/lints.py

bench: spark ## measure the speeds of docs/performance.md; writes build/bench.json
	@$(BIN)/python -m bench

serve: $(READY) ## answer REST requests on a loopback port; PORT=n
	@$(BIN)/counterfoil serve $(if $(PORT),--port $(PORT))

fix: $(READY) ## format the code and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY) ## renew requirements.lock and requirements-spark.lock from pyproject.toml
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --upgrade \
		--no-emit-index-url --no-header --python-version 3.11 --quiet -o requirements.lock
	@sed -n 's/^spark = \["\(.*\)"\]$$/\1/p' pyproject.toml | $(BIN)/uv pip compile - \
		-c requirements.lock --generate-hashes --upgrade \
		--no-emit-index-url --no-header --python-version 3.11 --quiet -o requirements-spark.lock

clean: ## remove the environment, built files and caches; data folders stay
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
