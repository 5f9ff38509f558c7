# The only entry point: people and CI call the same targets. `make` alone lists them.
#
# Everything expensive is kept in $(CACHE) outside the checkout: the build, the prebuilt RocksDB, foreign clients.
# Nothing depends on its being there: an empty cache only costs time.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(HOME)/.cache/ottla
export CARGO_TARGET_DIR ?= $(CACHE)/target

# Crates that build without RocksDB, root or a JVM.
PURE := ottla-wire ottla-core ottla-rpc ottla-crds ottla-log ottla-coordination ottla-client ottla-columns ottla-operator ottla-kubectl ottla-sim ottla-tidy
PURE_FLAGS := $(addprefix -p ,$(PURE))

# Prints the exports that make every build link the one prebuilt RocksDB (and builds it the first time).
WITH_ROCKSDB := rocksdb_env="$$(broker/state/build-rocksdb.sh)"; eval "$$rocksdb_env";

.PHONY: help check test build demo demo-stop sim sim-mutants conformance crash fuzz bench bench-cluster kubernetes deny \
        setup-build fmt-check clippy clippy-pure unit unit-pure unit-scripts tidy

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | while IFS=$$'\t' read -r name what; do printf '  make %-13s %s\n' "$$name" "$$what"; done

# --- the developer's loop -----------------------------------------------------------------------------------------

check: fmt-check clippy-pure unit-pure unit-scripts ## format, lints, tidy and the pure crates: no root, no RocksDB, no JVM

fmt-check:
	cargo fmt --all --check

clippy-pure:
	cargo clippy --locked $(PURE_FLAGS) --all-targets -- -D warnings

unit-pure:
	cargo test --locked -q $(PURE_FLAGS)

unit-scripts:
	python3 -m unittest discover -q -s e2e/conformance/runner
	python3 -m unittest discover -q -s e2e/faults/runner
	python3 -m unittest discover -q -s e2e/cluster/runner
	python3 -m unittest discover -q -s e2e/tests/runner
	python3 -m unittest discover -q -s deploy/image

tidy: ## only the rules of the house: layers, sizes, headers, dead files, banned words
	cargo test --locked -p ottla-tidy

# The machines and the simulator are optimised for these two only, with every assertion and overflow check.
SIM := cargo run --locked -q --config profile.dev.package.ottla-core.opt-level=2 \
	--config profile.dev.package.ottla-sim.opt-level=2 -p ottla-sim --

# Another set of seeds: make sim SEEDS=5000 FROM=100000
SEEDS ?= 1000
FROM ?= 0
sim: ## SEEDS simulated clusters (1000) with every fault at once; a failure prints its seed and what happened
	$(SIM) --seeds $(SEEDS) --from $(FROM)

sim-mutants: ## broker/sim/MUTANTS.md: which oracle notices that a rule is missing, after how many seeds
	$(SIM) --mutants 20000 > broker/sim/MUTANTS.md.new
	mv broker/sim/MUTANTS.md.new broker/sim/MUTANTS.md

# --- everything ---------------------------------------------------------------------------------------------------

test: ## every test, each suite within its budget (e2e/budget.toml); ends with `N passed, N failed`
	@e2e/run-suite e2e/budget.toml

# The suites of `make test` that are not scripts of their own.
.PHONY: suite-build suite-check suite-clippy suite-unit
suite-build: setup-build
	$(WITH_ROCKSDB) cargo test --locked --workspace --no-run
	$(MAKE) --no-print-directory build

suite-check: check

suite-clippy: setup-build
	$(WITH_ROCKSDB) cargo clippy --locked --workspace --all-targets -- -D warnings
	$(WITH_ROCKSDB) cargo clippy --locked -p ottla-coordination --all-features --all-targets -- -D warnings

suite-unit: setup-build
	$(WITH_ROCKSDB) cargo test --locked --workspace

clippy: suite-clippy
unit: suite-unit

# --- binaries -----------------------------------------------------------------------------------------------------

setup-build:
	@e2e/setup/need build

build: setup-build ## release binaries in bin/: ottla, ottla-broker, ottla-operator, kubectl-ottla
	$(WITH_ROCKSDB) cargo build --locked --release -p ottla-cli -p ottla-broker -p ottla-operator -p ottla-kubectl
	@mkdir -p bin
	@for name in ottla ottla-broker ottla-operator kubectl-ottla; do \
	  if [ -x "$$CARGO_TARGET_DIR/release/$$name" ]; then install -m 755 "$$CARGO_TARGET_DIR/release/$$name" bin/; fi; done
	@ls -l bin

# --- try it -------------------------------------------------------------------------------------------------------

demo: build ## starts Ottla, loads real data, reads it back with kcat and our own CLI, leaves it running
	@e2e/setup/need demo
	@e2e/demo/run.sh

demo-stop: ## ends what `make demo` left running
	@e2e/demo/stop.sh

.PHONY: charts
charts: ## the Helm charts: linted, rendered, compared with kustomize, installed on a real API server; the workflows linted
	@e2e/setup/need charts
	@e2e/charts/run.sh
	@e2e/setup/workflows.sh

.PHONY: alerts
alerts: build ## the alerts, by promtool and by a real Prometheus that watches brokers while they and their disks are spoilt
	@e2e/setup/need alerts
	@e2e/alerts/run.sh

.PHONY: cluster-up cluster-down cluster
cluster-up: ## a Kubernetes of four nodes on this machine: PROVIDER=kind where it works, else PROVIDER=local (root)
	@e2e/cluster/up.sh

cluster-down: ## ends what `make cluster-up` started
	@e2e/cluster/down.sh

cluster: ## what that Kubernetes promises, shown on one that is made for it
	@e2e/cluster/test.sh

.PHONY: e2e
e2e: build ## Ottla on that Kubernetes: README word for word, then Pods killed, nodes drained and without power, rolls, under load
	@e2e/tests/run.sh

.PHONY: gitops
gitops: build ## health as kstatus, Flux and Argo CD judge it, examples under `kubectl diff`, an operator killed after every write
	@e2e/setup/need gitops
	@e2e/gitops/run.sh

# --- heavy suites, whole; each writes docs/results/<suite>.md ------------------------------------------------------

conformance: build ## foreign clients against Apache Kafka, Ottla, and three brokers of which one is killed at a time
	@e2e/setup/need conformance
	@e2e/conformance/run.sh --whole

crash: build ## SIGKILL and power loss under load, every acked record accounted for
	@e2e/setup/need crash
	@e2e/crash/run.sh --whole

faults: build ## three brokers under load: processes, networks, disks, clocks and the API server fail; Kafka beside them
	@e2e/setup/need faults-whole
	@e2e/faults/run.sh --whole

fuzz: setup-build ## every decoder against random and mutated bytes
	@e2e/fuzz/run.sh --whole

bench: build ## Ottla beside Apache Kafka in one run
	@e2e/setup/need bench
	@e2e/bench/run.sh --whole

bench-cluster: build ## three brokers beside three of Apache Kafka, and 10,000 partitions
	@e2e/setup/need bench-cluster
	@e2e/bench/run.sh --cluster

.PHONY: bench-operator
bench-operator: build ## what the operator costs: 10 Clusters with brokers, 2,000 Topics, every write in the API server's audit log
	@e2e/setup/need gitops
	@e2e/bench/run.sh --operator

kubernetes: setup-build ## coordination against a real kube-apiserver and etcd, built from their Go modules
	@e2e/setup/need kubernetes
	@e2e/kubernetes/run.sh

deny: ## licences, duplicates, sources and (where the database is at hand) advisories of every dependency
	@e2e/setup/deny.sh
