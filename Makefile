# Two commands: `make demo` runs the whole product on this machine, `make test` checks it.

PYTHON ?= python3
PORT ?= 8000
STRIPE_PORT ?= 12111
DATA ?= .data
ARGS ?= help
BIN := .venv/bin
NAME ?= ai_page

.PHONY: help demo example test lint types tests coverage mutants manage stripe-check bench lock format schema client screenshots messages clean

help: ## What there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1|/' | column -t -s '|' || true

demo: .venv/runs ## Run everything here: make demo [PORT=8000] [STRIPE_PORT=12111] [DATA=.data]
	@exec $(BIN)/python -m sandbox demo --data "$(DATA)" --port $(PORT) --stripe-port $(STRIPE_PORT)

manage: .venv/runs ## Run a management command on the demo's data: make manage ARGS="audit_ledger"
	@exec $(BIN)/python -m sandbox manage --data "$(DATA)" -- $(ARGS)

example: .venv/runs ## Run an example against the demo: make example NAME=ai_page
	@exec $(BIN)/python -m sandbox example --data "$(DATA)" "$(NAME)"

test: .venv/tests ## Linters, types, import contracts, and all tests on real PostgreSQL and Redis
	@$(MAKE) --no-print-directory --jobs=2 lint types tests  # types take a minute of one core: beside the tests

lint: .venv/tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/tests
	SANDBOX=1 SECRET_KEY=for-types-only DATABASE_URL=postgresql://localhost/none $(BIN)/mypy .

tests: .venv/tests
	$(BIN)/python -m pytest -n $$($(BIN)/python -c "import os; print(os.cpu_count() + 1)") --dist loadgroup $(ARGS:help=)

coverage: .venv/tests ## Branch coverage of the tests: credits and billing must be over 95 % each
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $$($(BIN)/python -c "import os; print(os.cpu_count())") --dist loadgroup $(ARGS:help=)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage report --include="credits/*" --fail-under=95 --precision=1 > /dev/null
	$(BIN)/coverage report --include="billing/*" --fail-under=95 --precision=1 > /dev/null

mutants: .venv/tests ## Change the code in small ways: which changes does no test see? make mutants [ARGS="credits --every 20"]
	$(BIN)/python -m tests.mutation $(if $(filter help,$(ARGS)),credits billing/fulfilment billing/refunds billing/clawbacks billing/payments billing/checkout/top_ups.py,$(ARGS))

stripe-check: .venv/runs ## A customer's life in Stripe's test mode, and locally: make stripe-check STRIPE_TEST_KEY=rk_test_…
	@$(BIN)/python -m sandbox.stripe_check $(if $(STRIPE_TEST_KEY),--key "$(STRIPE_TEST_KEY)")

bench: .venv/bench ## Measure the ledger, and spends over HTTP, against other ways: make bench [ARGS="--seconds 1"]
	$(BIN)/python -m benchmarks.ledger $(ARGS:help=)
	$(BIN)/python -m benchmarks.http $(ARGS:help=)

format: .venv/tests ## Put imports and layout in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: .venv/tests ## Write the API's description to docs/openapi.yaml
	SANDBOX=1 SECRET_KEY=for-the-schema DATABASE_URL=postgresql://localhost/none \
		$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

client: .venv/tests ## Write the Python client's synchronous half from its asynchronous one
	$(BIN)/python clients/python/generate_synchronous.py

screenshots: .venv/tests ## Take pictures of the pages for docs/screenshots (needs chromium): make screenshots [ARGS="dashboard"]
	$(BIN)/python -m tests.screenshots $(ARGS:help=)

messages: .venv/tests ## Compile the translations (locale/*/LC_MESSAGES/django.po)
	$(BIN)/pybabel compile --domain django --directory locale --statistics

lock: ## Resolve the dependencies anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra sandbox \
		--generate-hashes --no-emit-index-url --no-header -o requirements.lock
	uv pip compile pyproject.toml --universal --python-version 3.11 -c requirements.lock \
		--generate-hashes --no-emit-index-url --no-header -o requirements.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra sandbox --extra dev -c requirements.lock \
		--generate-hashes --no-emit-index-url --no-header -o requirements-dev.lock
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra sandbox --extra bench -c requirements.lock \
		--generate-hashes --no-emit-index-url --no-header -o requirements-bench.lock

clean: ## Remove the virtual environment and caches; the demo's data stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache staticfiles

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Tegoed needs Python 3.11, 3.12 or 3.13 as $(PYTHON). Try: make demo PYTHON=python3.12"; exit 1; }
	@echo "Making a virtual environment in .venv."
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/runs: .venv/python requirements.lock
	@echo "Installing what it needs (requirements.lock, checked by hash). This takes a minute the first time."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/tests: .venv/python requirements-dev.lock
	@echo "Installing what the tests need (requirements-dev.lock, checked by hash)."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@ .venv/runs

.venv/bench: .venv/runs requirements-bench.lock
	@echo "Installing what the benchmark compares with (requirements-bench.lock, checked by hash)."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@
