# Everything a newcomer types. `make help` lists the targets.

CARGO ?= cargo
BINARY := target/release/tidegate
DATA_DIR ?= tidegate-data
LISTEN ?= 127.0.0.1:9092
ADMIN ?= 127.0.0.1:9644
STORAGE ?= disk
export STORAGE

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the release binary
	$(CARGO) build --release --locked --bin tidegate

.PHONY: run
run: build ## Build and start the gateway; Ctrl-C stops it
	@echo "Kafka clients: $(LISTEN)   metrics and health: http://$(ADMIN)   data: $(DATA_DIR) ($(STORAGE))"
	@echo "try: kcat -b $(LISTEN) -L"
	$(BINARY) serve --listen $(LISTEN) --admin-listen $(ADMIN) --data-dir $(DATA_DIR) --storage $(STORAGE)

.PHONY: setup
setup: ## Fetch what the tests need (clients, registry, tools)
	@python3 tests/setup.py

.PHONY: test
test: setup ## Run every test, with real clients and a real Schema Registry
	$(CARGO) test --locked
	$(CARGO) check --locked --benches

.PHONY: quick-test
quick-test: build ## Register and verify 10 schemas through a real registry, with restarts and kill -9
	python3 tests/registry/quick_test.py

.PHONY: standard-test
standard-test: build ## The same for two minutes with several topics, groups and producers
	python3 tests/registry/standard_test.py

.PHONY: final-test
final-test: build ## Storage reset, quick-test, standard-test and reproducer: all at 100 %
	python3 tests/registry/final_test.py

.PHONY: perf-test
perf-test: build ## 1,000 schemas on memory, disk and Apache Kafka; writes docs/benchmarks.md
	python3 tests/registry/perf_test.py

.PHONY: conformance
conformance: ## Compare replies with those of Apache Kafka; UPDATE=1 keeps Kafka's
	python3 tests/golden/conformance.py

.PHONY: bench
bench: ## Criterion benchmarks
	$(CARGO) bench --locked

.PHONY: bench-compare
bench-compare: build ## Tidegate and Apache Kafka under the same load; writes docs/benchmarks.md
	python3 tests/bench/compare.py

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: lint
lint: ## Formatting, and clippy over what is shipped, without warnings
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --lib --bins -- -D warnings

.PHONY: docs
docs: ## Write the generated pages again
	UPDATE_DOCS=1 $(CARGO) test --locked --test docs --test config -q

.PHONY: verify
verify: lint ## Lint, and check that generated pages are up to date
	$(CARGO) test --locked --test tidy --test docs --test config -q
