# The verbs of this project. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test peers faults fuzz bench lint fmt doc deny ci programs nextest

# Seconds of `make fuzz`, over all targets together.
SECONDS ?= 60
FUZZ_TARGETS = $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_SCRATCH = target/fuzz-corpus
# The sanitizer comes with the compiler; asking for it on a stable one takes this.
FUZZ = RUSTC_BOOTSTRAP=1 cargo fuzz

# What is to be seen soon, and not to be measured, is not linked as one: that takes longer than all the rest.
demo faults fuzz: export CARGO_PROFILE_RELEASE_LTO = off
demo faults fuzz: export CARGO_PROFILE_RELEASE_CODEGEN_UNITS = 16

help: ## lists the verbs
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | while IFS=$$'\t' read -r verb what; do printf '  make %-8s %s\n' "$$verb" "$$what"; done

demo: ## both programs and a small service, with something sent through; ONCE=1 ends after the checks
	@cargo build --release -p server -p client
	@cargo build --release -p tests --bin demo
	@ONCE='$(ONCE)' target/release/demo

test: programs peers nextest ## every test
	cargo test --quiet --workspace --doc
	if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace; else cargo test --workspace --all-targets; fi

faults: peers nextest ## the fault cases in their long forms, on release builds
	cargo build --release -p server -p client -p plugin-agents
	TUNNEL_FULL=1 cargo nextest run --release -p tests -p proxy --profile faults

# Debian's names of what the tests speak to, each behind the program that it brings.
PEERS = curl:curl faketime:faketime nginx:nginx-light chromium-headless-shell:chromium-headless-shell python3:python3-venv ip:iproute2

peers: target/peers/complete ## other people's clients and servers, for the tests: Python's into target/, the rest must be there
	@missing=; for peer in $(PEERS); do \
	  PATH="$$PATH:/usr/sbin" command -v "$${peer%%:*}" >/dev/null || missing+=" $${peer##*:}"; done; \
	if [ -n "$$missing" ]; then echo "the tests need: apt-get install --no-install-recommends$$missing"; exit 1; fi

target/peers/complete: tests/peers/requirements.txt
	rm -rf target/peers
	python3 -m venv target/peers
	target/peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r $<
	touch $@

programs:
	cargo build -p server -p client -p plugin-agents

nextest:
	@cargo nextest --version >/dev/null 2>&1 || cargo install cargo-nextest --locked || echo 'no cargo-nextest: cargo test it is'

fuzz: ## searches with every fuzz target, SECONDS=60 in all; finds go to target/, crashes to fuzz/artifacts/
	@cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --version 0.13.2 --locked
	@test -n '$(FUZZ_TARGETS)' || { echo 'no fuzz targets'; exit 1; }
	$(FUZZ) build --features libfuzzer
	@each=$$(( $(SECONDS) / $(words $(FUZZ_TARGETS)) )); each=$$(( each > 0 ? each : 1 )); \
	for target in $(FUZZ_TARGETS); do \
	  mkdir -p "$(FUZZ_SCRATCH)/$$target" "fuzz/corpus/$$target"; \
	  echo "== $$target, $$each s"; \
	  $(FUZZ) run --features libfuzzer "$$target" "$(FUZZ_SCRATCH)/$$target" "fuzz/corpus/$$target" -- \
	    -max_total_time=$$each -verbosity=0 2>&1 | sed -e '/# Uses:/d' -e '/ended dictionary\. #/d'; \
	done

bench: ## criterion for the parts, then end to end; SHORT=1 only shows that they run
	cargo build --release -p server -p client
	cargo bench -p benches --bench '*' -- $(if $(SHORT),--test,)
	cargo run --release -p benches --bin e2e -- $(if $(SHORT),--secs 0.5,)

lint: ## formatting, clippy and documentation, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --workspace --no-deps --document-private-items

fmt: ## formats
	cargo fmt --all

doc: ## the documentation, in target/doc
	cargo doc --workspace --no-deps --document-private-items

deny: ## licences, bans and sources of what we depend on
	@cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --version 0.20.2 --locked
	cargo deny --log-level error check bans licenses sources

ci: ## everything a change must pass
	$(MAKE) lint
	$(MAKE) deny
	$(MAKE) fuzz SECONDS=60
	$(MAKE) bench SHORT=1
	$(MAKE) demo ONCE=1
	$(MAKE) test
