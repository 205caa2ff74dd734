# Two commands are all that a visitor needs: `make demo` and `make test`. `make help` lists the rest.
#
# Whatever a target needs, it installs with apt first (packaging/dependencies); nothing happens there
# when all is installed. Everything runs on Debian's own Python.

SHELL := /bin/bash
PYTHON := /usr/bin/python3
SOURCES := d4common:d4-sensor:d4-server:d4-exporter:maltrail-collector
BENCHES := sensor dns trails spool delivery ingest fleet idle exporter collector admin

# A file's tests run in one process. Two, for half of the time the tests wait for what a daemon does.
PYTEST := $(PYTHON) -m pytest --numprocesses 2 --dist loadfile

export PYTHONPATH := $(SOURCES):.
# Tests start daemons hundreds of times: what Python has compiled is kept, but not among the sources.
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-system build lint screenshots bench $(BENCHES:%=bench-%) bench-soak clean

help: ## list the targets
	@grep -hE '^(# )?[a-zA-Z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^# //; s/:[^#]*## /\t/' | expand -t 16

demo: ## the whole chain on a sample capture (ONCE=1 ends by itself; PCAP=file TRAILS=dir for your own)
	@packaging/dependencies run
	@$(PYTHON) -m demo.demo $(if $(ONCE),--once) $(if $(PCAP),--pcap "$(PCAP)") $(if $(TRAILS),--trails "$(TRAILS)")

test: ## all tests that this machine can run (the system tests need `make build` first)
	@packaging/dependencies run test system
	@$(PYTEST)

test-system: build ## the packages, installed on machines with a real systemd, and the fault table
	@packaging/dependencies run test system
	@$(PYTEST) tests/system tests/faults

build: ## the .deb files of this Debian release, with an apt index, into dist/
	@packaging/dependencies build
	@packaging/build dist

lint: ## ruff, mypy, shellcheck
	@packaging/dependencies run test lint
	build/lint/bin/ruff check .
	build/lint/bin/ruff format --check .
	mypy -p d4common -p d4sensor -p d4server -p d4exporter -p maltrailcollector
	shellcheck -x $$(git ls-files | xargs grep -lE '^#!/bin/(ba)?sh')

screenshots: ## pictures of the page for administrators, into docs/images
	@packaging/dependencies run test
	@PYTHONPATH=$(PYTHONPATH):tests $(PYTHON) tests/browser/screenshots.py docs/images

bench: $(BENCHES:%=bench-%) ## every benchmark; one line of JSON per figure

# bench-NAME: ## one of them: sensor (takes PCAP= and TRAILS=), dns, trails, spool, delivery, ingest, fleet, idle, exporter, collector, admin
$(BENCHES:%=bench-%): bench-%:
	@packaging/dependencies run test >&2
	@$(PYTHON) -m bench.$* $(if $(filter sensor,$*),$(if $(PCAP),--pcap "$(PCAP)") $(if $(TRAILS),--trails "$(TRAILS)"))

bench-soak: ## whether the sensor's memory grows, in an hour (or MINUTES=; takes PCAP= and TRAILS= too)
	@packaging/dependencies run test >&2
	@$(PYTHON) -m bench.soak $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(PCAP),--pcap "$(PCAP)") $(if $(TRAILS),--trails "$(TRAILS)")

clean: ## what was built, tested and cached
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.egg-info' -type d -prune -exec rm -rf {} +
