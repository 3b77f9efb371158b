# Everything a person or a machine does with this project. Bare `make` prints the list.
.DEFAULT_GOAL := help
.PHONY: help run status logs stop test test-unit coverage lint format types imports work dead-letters \
	rebuild-replica rebuild-brain prove drill drill-outage test-sabotage bench bench-start bench-claims bench-budgets bench-drain bench-recovery bench-memory \
	bench-streams bench-conversation bench-brain bench-browse bench-search bench-replicator lock clean \
	install install-test

PORT_OFFSET ?= 0
TEST_PROCESSES ?= 2
export PORT_OFFSET
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
BIN := .venv/bin

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: install ## install what is missing, start everything, stay in the foreground (PORT_OFFSET=1000: beside another)
	@exec $(BIN)/python -m devstack run --end-with-parent

status: install ## every process of the running stack
	@$(BIN)/python -m devstack status

logs: install ## follow the log of one process: make logs NAME=gateway
	@$(BIN)/python -m devstack logs --follow $(or $(NAME),gateway)

stop: install ## end the running stack
	@$(BIN)/python -m devstack stop

test: install-test ## everything that proves the system: lint, types, imports, all tests on real servers and a browser
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@mkdir -p var; $(BIN)/mypy >var/types.log 2>&1 & types=$$!; \
		$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile; tests=$$?; \
		wait $$types || { cat var/types.log; exit 1; }; exit $$tests

test-unit: install-test ## the tests that need no server
	@$(BIN)/python -m pytest tests/unit tests/architecture -m "not servers and not browser"

test-sabotage: install-test ## take out what makes the promises true, piece by piece: the drill must turn red (15 min)
	@$(BIN)/python -m pytest tests/sabotage tests/acceptance/test_drill_outage.py -m sabotage

coverage: install-test ## which lines the unit, contract and integration tests reach
	@$(BIN)/coverage run -m pytest tests/unit tests/contracts tests/integration
	@$(BIN)/coverage report --skip-covered --sort=cover

lint: install-test ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: install-test ## put the code into its format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: install-test ## mypy, strict
	@$(BIN)/mypy

imports: install-test ## who may import whom
	@$(BIN)/lint-imports

work: install ## what is owed or dead, and why; make work ARGS="--watch", ARGS="retry memory <id>", ARGS=--help
	@GATEWAY_PORT=$${GATEWAY_PORT:-$$((20016 + $(PORT_OFFSET)))} $(BIN)/python -m app.cli work $(ARGS)

dead-letters: install ## records that could not be replicated; make dead-letters ARGS="replay memory.wal.dlq --dry-run"
	@GATEWAY_PORT=$${GATEWAY_PORT:-$$((20016 + $(PORT_OFFSET)))} $(BIN)/python -m app.cli dlq $(ARGS)

rebuild-replica: install ## make the replica anew from the log while it serves, and say whether it was what the log says
	@GATEWAY_PORT=$${GATEWAY_PORT:-$$((20016 + $(PORT_OFFSET)))} $(BIN)/python -m app.cli memory rebuild $(ARGS)

rebuild-brain: install ## the same, and then every memory into an (empty) memory service
	@GATEWAY_PORT=$${GATEWAY_PORT:-$$((20016 + $(PORT_OFFSET)))} $(BIN)/python -m app.cli memory rebuild --brain $(ARGS)

prove: install ## is anything missing? make prove ARGS="--repair", ARGS="--tenant t1"; status 1 when it is not clean
	@GATEWAY_PORT=$${GATEWAY_PORT:-$$((20016 + $(PORT_OFFSET)))} $(BIN)/python -m app.cli memory prove $(ARGS)

drill-outage: install-test ## pull the memory service out of a stack of its own, and prove that nothing is lost
	@$(BIN)/python -m drills outage

drill: install-test ## the whole fault campaign (FAULT=F12 only one, SMOKE=1 five in short, SEED=7, MINUTES=10 for F33)
	@$(BIN)/python -m drills campaign $(foreach fault,$(FAULT),--fault $(fault)) $(if $(SMOKE),--smoke) \
		$(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE)) \
		$(if $(DATA),--data $(DATA))

bench: bench-start bench-claims bench-budgets bench-recovery bench-conversation bench-streams bench-memory ## every benchmark

bench-start: install ## seconds to start, memory and processor of the idle stack
	@$(BIN)/python -m bench.start

bench-claims: install ## what a claim costs beside a million finished rows, against a thousand
	@$(BIN)/python -m bench.claims

bench-budgets: install ## reservations a second on one tenant's budget, against a bare UPDATE of one row
	@$(BIN)/python -m bench.budgets

bench-drain: install ## a backlog of 10,000 memories, against a bare loop over the memory service's batch route
	@$(BIN)/python -m bench.drain

bench-recovery: install ## from the SIGKILL of a conversation worker to the first token of the resumed answer
	@$(BIN)/python -m bench.recovery

bench-conversation: install ## a whole turn against the model asked directly, 200 turns at once, messages taken in
	@$(BIN)/python -m bench.conversation

bench-streams: install ## a word from the model's socket to the reader's, with one reader and with a hundred
	@$(BIN)/python -m bench.streams

bench-memory: bench-drain bench-brain bench-browse bench-replicator ## every benchmark of the memory plane

bench-brain: install ## the memory service: its batches against bare inserts, recall over 100,000 memories
	@$(BIN)/python -m bench.brain

bench-browse: install ## a page of the replica and an export, from a thousand memories to a million, against COPY
	@$(BIN)/python -m bench.memory_browse

bench-search: install ## a page of a search through conversations, up to a million events
	@$(BIN)/python -m bench.search

bench-replicator: install ## the log into the replica, against bare inserts; how far behind at 500 records a second
	@$(BIN)/python -m bench.replicate

bench-million: install ## a million memories imported, delivered, caught up with, rebuilt and proved; about two hours
	@$(BIN)/python -m bench.million

LOCK := $(BIN)/uv pip compile --quiet setup.cfg --override overrides.txt --generate-hashes --python-version 3.11 \
	--universal --no-header --no-annotate
lock: install-test ## write the lock files anew from setup.cfg
	@$(LOCK) --extra stack --extra meaning -o requirements.lock
	@$(LOCK) --extra stack --extra meaning --extra test -c requirements.lock -o requirements-test.lock
	@$(LOCK) --extra meaning -c requirements.lock -o requirements-runtime.lock
	@echo "uv==$$($(BIN)/uv --version | cut -d ' ' -f 2)" | $(BIN)/uv pip compile --quiet --universal --generate-hashes \
		--no-header --no-annotate - -o requirements-uv.lock
	@echo "setuptools>=84,<85" | $(BIN)/uv pip compile --quiet --universal --generate-hashes \
		--no-header --no-annotate - -o requirements-build.lock

clean: ## remove what was built and cached; the data in var/ stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage *.egg-info
	@find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

install:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed and was not found; install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) devstack/bootstrap.py run

install-test:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed and was not found; install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) devstack/bootstrap.py test
