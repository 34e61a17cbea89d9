# Two commands matter: `make demo` and `make test`. Everything they need is installed by `make tools`, and everything
# they leave behind lies in target/ and .caracal/. Settings: PORT_BASE, CARACAL_DIR, CLEAN, SVC, ARGS, PROFILE.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help tools build up down restart status logs demo test check bench api-fuzz compose-env compose-native clean

# One profile for all, so that a fresh machine compiles the dependencies once. PROFILE=release is what images ship.
PROFILE ?= dev
ARGS ?=
SVC ?=
export PROFILE

help: ## Says what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do \
	  printf '  make %-15s %s\n' "$$name" "$$text"; done

tools: ## Installs what is missing: PostgreSQL, nats-server, opa, OpenSSL's headers
	@deploy/dev/install.sh

build: tools ## Builds every binary
	@cargo build --workspace --bins --profile $(PROFILE)

up: build ## Starts the stack, or what is missing of it; PORT_BASE=20000 for a second one
	@deploy/dev/stack.sh up

down: ## Stops the stack; CLEAN=1 forgets its data
	@CLEAN=$(CLEAN) deploy/dev/stack.sh down

restart: build ## Restarts all services, or SVC=sts
	@deploy/dev/stack.sh restart $(SVC)

status: ## Says what runs where
	@deploy/dev/stack.sh status || true

logs: ## Follows the logs, or those of SVC=sts
	@deploy/dev/stack.sh logs $(SVC)

demo: build ## An agent gets authority, uses it, loses it; and the ledger explains all of it
	@deploy/dev/demo.sh story

test: tools ## Runs every test; ARGS='-p caracal-sts revoked' for some
	@deploy/dev/test.sh $(ARGS)

check: tools ## Formatting, lints, licences, documentation, shell scripts, containers
	@deploy/dev/check.sh

bench: build ## Measures policy evaluation, and a running stack end to end
	@deploy/dev/demo.sh bench $(ARGS)

api-fuzz: build ## Lets a property-based tester (schemathesis) loose on the control plane
	@deploy/dev/api-fuzz.sh $(ARGS)

compose-env: ## Makes the secrets that docker-compose.yml asks for
	@deploy/docker/make-env.sh

compose-native: build ## Tries what docker-compose.yml says without containers
	@deploy/docker/native.sh

clean: ## Stops the stack and forgets its data and all that was built
	@CLEAN=1 deploy/dev/stack.sh down
	@cargo clean
