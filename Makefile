# Bivouac. `make` lists what there is to do.

export PATH := $(PATH):/usr/local/go/bin

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME  ?= 30s
GOLANGCI  := v2.15.0
TOOLS     := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bivouac-tools
BUILD     := go build -trimpath -buildvcs=false -tags netgo,osusergo -ldflags '-s -w -X main.version=$(VERSION)'

.DEFAULT_GOAL := help
.PHONY: help build demo setup test lint fmt docs bench soak fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/bivouac
	$(BUILD) -o bin/bivouac ./cmd/bivouac

demo: build ## run a command in a sandbox over this machine's own root, and show that nothing remains
	@e2e/setup/demo.sh bin/bivouac

setup: ## as root, once: install what the tests need, make the test users, build the images
	@e2e/setup/setup.sh all

test: ## run every test, unit and e2e (PKG=./rootfs/... RUN=regexp KIND=mapped|single narrow it down)
	@e2e/setup/test.sh

lint: $(TOOLS)/golangci-lint-$(GOLANGCI) ## check the code with golangci-lint
	$< run

fmt: $(TOOLS)/golangci-lint-$(GOLANGCI) ## format the code as lint wants it
	$< fmt

$(TOOLS)/golangci-lint-$(GOLANGCI):
	GOFLAGS= GOBIN=$(TOOLS)/new go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	mv $(TOOLS)/new/golangci-lint $@

docs: ## write docs/reference and docs/man anew, which are generated from the commands
	go test ./cmd/bivouac -run TestReferenceIsCurrent -update

bench: ## measure against bubblewrap, crun, runc and podman, as far as they are installed
	@e2e/setup/bench.sh

soak: ## checkpoint and restore every service 200 times, and look for what that leaves
	@e2e/setup/bench.sh -soak 200

fuzz: ## run every fuzz target for FUZZTIME (30s)
	@FUZZTIME=$(FUZZTIME) e2e/setup/fuzz.sh

clean: ## remove what was built here
	rm -rf bin
