# xentpm. Every target sets up what it needs first (scripts/setup.sh); when all is there, that takes no time.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

# The Python to make the virtual environment with: 3.10 or newer. For test-dom0 any from 3.6, by path, or by release
# (3.6), which is looked for in PATH and pyenv.
PYTHON ?= python3
# Arguments for pytest, for instance: make test ARGS='-k quote -x'
ARGS ?=
# Another release of tpm2-pytss for test-dom0, for instance 1.2.0
PYTSS ?=

# By its real path: .venv is a link in a checkout whose path a plugin's first line could not hold.
VENV_PYTHON = "$$(cd .venv && pwd -P)/bin/python"

# What of the tests is about dom0 and so runs on every Python that dom0 can have.
DOM0_TESTS := tests/unit/evidence tests/unit/tpm tests/unit/host \
	tests/integration/tpm tests/integration/host tests/integration/plugin tests/property
# What of the tests is about the verifier and so runs on every Python that a management station can have.
VERIFIER_TESTS := tests/unit/verifier tests/integration/verifier tests/attacks
# What has to compile on Python 3.6.
DOM0_CODE := setup.py plugins/tpm scripts packaging tests/conftest.py xentpm_lib/__init__.py xentpm_lib/errors.py \
	xentpm_lib/evidence xentpm_lib/tpm xentpm_lib/host $(DOM0_TESTS)

# For pack: where to, the key to sign with (a file, or one of your key ring), the hosts' ID:VERSION of os-release where
# they are not this machine's, and 1 to pack GRUB's modules.
OUT ?= dist
SIGNING_KEY ?=
FOR ?=
WITH_GRUB ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-dom0 test-verifier check format bench pack lab clean

help: ## this list
	@echo 'make …'
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14
	@echo 'Variables: PYTHON=/path/to/python3, ARGS=<for pytest>, PYTSS=<release of tpm2-pytss, for test-dom0>'

setup: ## install system packages (as root) and make .venv; the others do it themselves
	@scripts/setup.sh .venv '$(PYTHON)'

demo: setup ## two simulated hosts, real quotes of software TPMs, through XAPI's calling convention
	@$(VENV_PYTHON) -m xentpm_lib.simulator.demo

test: setup ## all tests, with the coverage that each layer must have
	@scripts/test.sh $(VENV_PYTHON) $(ARGS)

test-dom0: ## the dom0 half's tests on another Python: make test-dom0 PYTHON=3.6
	@python='$(PYTHON)'; \
	if [[ "$$python" =~ ^[0-9.]+$$ ]]; then python=$$(scripts/find-python.sh "$$python"); fi; \
	found=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || \
		{ echo "cannot run $$python; give another one: make test-dom0 PYTHON=3.6" >&2; exit 1; }; \
	venv=.venv-$$found$(if $(PYTSS),-pytss$(PYTSS)); \
	scripts/setup.sh "$$venv" "$$python" '$(PYTSS)'; \
	"$$(cd "$$venv" && pwd -P)/bin/python" -m pytest $(DOM0_TESTS) $(ARGS)

test-verifier: ## the verifier's tests on another Python: make test-verifier PYTHON=3.10
	@python='$(PYTHON)'; \
	if [[ "$$python" =~ ^[0-9.]+$$ ]]; then python=$$(scripts/find-python.sh "$$python"); fi; \
	found=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || \
		{ echo "cannot run $$python; give another one: make test-verifier PYTHON=3.10" >&2; exit 1; }; \
	venv=.venv-$$found; \
	scripts/setup.sh "$$venv" "$$python"; \
	"$$(cd "$$venv" && pwd -P)/bin/python" -m pytest $(VERIFIER_TESTS) $(ARGS)

check: setup ## ruff, mypy --strict, the layering, and Python 3.6's view of dom0's code
	@failed=0; python=$(VENV_PYTHON); \
	"$$python" -m ruff check . || failed=1; \
	"$$python" -m ruff format --check . || failed=1; \
	"$$python" -m mypy || failed=1; \
	"$$python" -m pytest -q tests/unit/test_layering.py || failed=1; \
	if oldest=$$(scripts/find-python.sh 3.6); then \
		"$$oldest" scripts/compile_check.py $(DOM0_CODE) || failed=1; \
	else \
		echo 'check: so the compilation by Python 3.6 is left out'; \
	fi; \
	exit $$failed

format: setup ## ruff format, and the import order
	@$(VENV_PYTHON) -m ruff check --select I --fix .
	@$(VENV_PYTHON) -m ruff format .

bench: setup ## what a call of the plugin, an appraisal and a watched fleet cost
	@$(VENV_PYTHON) benchmarks/plugin_call.py
	@$(VENV_PYTHON) benchmarks/appraisal.py
	@$(VENV_PYTHON) benchmarks/fleet.py

pack: ## the supplemental pack for this machine's platform, in dist: see docs/build-pack.md
	@python='$(if $(filter python3,$(PYTHON)),/usr/bin/python3,$(PYTHON))'; \
	if command -v apt-get >/dev/null; then scripts/setup.sh --system "$$python"; fi; \
	"$$python" -I packaging/build_pack.py --out '$(OUT)' $(if $(SIGNING_KEY),--signing-key '$(SIGNING_KEY)') \
		$(FOR:%=--for %) $(if $(WITH_GRUB),--with-grub)

lab: setup ## a real measured boot of Xen in an emulated machine: see docs/lab.md
	@scripts/setup-lab.sh
	@rm -rf build/lab; mkdir -p build
	@$(MAKE) --no-print-directory pack OUT=build/lab >build/lab.log 2>&1 || { cat build/lab.log; exit 1; }
	@PYTHONPATH=tests $(VENV_PYTHON) -m lab --pack build/lab/*.iso $(ARGS)

clean: ## remove the virtual environments and everything that was generated
	@for link in .venv .venv-*; do if [ -L "$$link" ]; then rm -rf "$$(readlink "$$link")"; fi; done
	@rm -rf .venv .venv-* .venv.lock .setup.log build dist *.egg-info .coverage .coverage.* htmlcov \
		.pytest_cache .hypothesis .mypy_cache .ruff_cache
	@find . -name .git -prune -o -type d -name __pycache__ -exec rm -rf {} +
