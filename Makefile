# Every target installs through apt what it misses (as root or with sudo) and says so.
.DEFAULT_GOAL := help
.PHONY: help demo test test-compose lint fuzz bench conformance operations chaos build wheels audit sbom clean

# make demo PORT=8080; make fuzz SECONDS=600; make bench BENCH="--rounds 20"; make PYTHON=python3.12 …
PORT =
SECONDS = 60
MINUTES = 5
BENCH =
TARGET = $(or $(CARGO_TARGET_DIR),target)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a Flask application behind nginx and rusgi, until Ctrl-C (PORT=8080 to choose one)
	@.ci/install.sh rust python nginx
	@.ci/venv.sh $(TARGET)/venv "$$(.ci/pythons.sh | head -n 1)" release tests/requirements.txt
	@$(TARGET)/venv/bin/python examples/demo.py $(TARGET)/venv/bin/rusgi $(PORT)

test: ## everything CI checks: style, units, both doors end to end, every Python found, Docker, fuzz smoke
	@.ci/install.sh rust python nginx clients systemd deploy strace docker
	@.ci/test.sh

test-compose: ## docker-compose.yml on a Docker engine: requests, reload, stop, kill, scale
	@.ci/install.sh rust docker
	@.ci/test.sh compose

lint: ## style only: rustfmt, clippy, documentation
	@.ci/install.sh rust python
	@.ci/test.sh format lint docs

fuzz: ## each fuzz target for SECONDS (60)
	@.ci/install.sh rust
	@fuzz/run.sh $(SECONDS)

bench: ## rusgi beside its peers behind one nginx; writes bench.json (BENCH=--help lists options)
	@.ci/install.sh rust python nginx bench
	@.ci/bench.sh $(BENCH)

conformance: ## WSGI clause by clause beside uWSGI and gunicorn; writes docs/conformance.md
	@.ci/install.sh rust python nginx
	@.ci/conformance.sh

operations: ## reloads, kills, overload and the like beside uWSGI and gunicorn; writes docs/operations-compared.md
	@.ci/install.sh rust python nginx bench
	@.ci/bench.sh operations

chaos: ## kill, stop, reload, break and scale at random under load for MINUTES (5); SEED=… repeats a run
	@.ci/install.sh rust python nginx
	@PYO3_PYTHON="$$(.ci/pythons.sh | head -n 1)" RUSGI_CHAOS_SECONDS=$$(($(MINUTES) * 60)) $(if $(SEED),RUSGI_CHAOS_SEED=$(SEED)) \
		cargo test --locked --test it -- chaos:: --nocapture

build: ## the embedding binary: target/release/rusgi
	@.ci/install.sh rust python
	PYO3_PYTHON="$$(.ci/pythons.sh | head -n 1)" cargo build --release --locked

wheels: ## wheels for every CPython here, for any Linux with glibc 2.17 or newer, into wheels/
	@.ci/install.sh rust python
	@.ci/wheels.sh wheels

audit: ## what rusgi is made of against deny.toml and the advisories of rustsec.org (needs github.com)
	@.ci/install.sh rust
	@.ci/deny.sh bans licenses sources advisories

sbom: ## a CycloneDX bill of what is linked into rusgi: target/rusgi.cdx.json (wheels carry their own)
	@.ci/install.sh rust
	@.ci/sbom.py $(TARGET)/rusgi.cdx.json

clean: ## remove everything that was built
	rm -rf target fuzz/target wheels bench.json
