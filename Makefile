# Two commands are all a newcomer needs: `make demo` and `make test`. Both set everything up by themselves.
# TORCH: what pip installs as torch, before everything else. A torch of your own: make demo TORCH=/path/to/torch.whl, or
# TORCH="torch --index-url https://download.pytorch.org/whl/cpu" for the build without CUDA, or
# TORCH="torch --index-url https://download.pytorch.org/whl/rocm6.4" for an AMD GPU.
PYTHON ?= python3
VENV ?= .venv
TORCH ?=
BIN := $(VENV)/bin

.PHONY: demo test slow attack faults slurm ray clients conformance bundle lint format

demo: $(VENV)/.ready  # under three minutes on two cores; TASK=NAME: another example than the language model
	$(BIN)/autoresearch demo $(if $(TASK),--task $(TASK))

test: $(VENV)/.ready
	$(BIN)/python -m compileall -q server trainer  # a run's processes keep none, and each would compile again
	$(BIN)/python -m pytest

slow: $(VENV)/.ready  # the tests marked `slow`, which `make test` leaves out; some minutes
	$(BIN)/python -m pytest -m "slow and not thorough"

attack: $(VENV)/.ready  # the tests that take long, every cheat, and fifty runs of honest models; an hour
	$(BIN)/python -m pytest -m thorough
	$(BIN)/python -m tests.attack

faults: $(VENV)/.ready  # some ninety kinds of faults, hundreds of kills, what was survived; forty minutes
	$(BIN)/python -m tests.faults

slurm: $(VENV)/.ready  # a Slurm cluster on this machine, as root; studies over it, each fault three times; half an hour
	$(BIN)/python -m tests.slurm

clients: $(VENV)/.ready  # real clients, a scripted model, a whole experiment each; npm packages (1.5 GB), a quarter of an hour
	$(BIN)/python -m tests.clients

conformance: $(VENV)/.ready  # the official suite and the Inspector; npm packages, a minute
	$(BIN)/python -m tests.conformance

RAY := $(VENV)-ray
ray: $(RAY)/.ready  # three Ray nodes on this machine, a study over them, every failure three times; Ray's wheel (79 MB), half an hour
	$(RAY)/bin/python -m tests.ray $(if $(SHORT),--short)

$(RAY)/.ready: $(VENV)/.ready  # Ray stays out of $(VENV): the tests there see a machine without it
	$(PYTHON) -m venv $(RAY)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(RAY)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz-base.pth"
	$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check "$$($(BIN)/python -m tests.ray.wanted)"
	touch $@

bundle:  # dist/autoresearch.mcpb, for Claude Desktop; needs npx
	rm -rf build/bundle && mkdir -p build/bundle dist
	cp -RL packaging/manifest.json pyproject.toml README.md LICENSE autoresearch_command.py server trainer build/bundle
	npx --yes @anthropic-ai/mcpb@2.1.2 pack build/bundle dist/autoresearch.mcpb

lint: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "autoresearch needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo "This installs about 40 packages from PyPI into $(VENV), torch among them: 0.3 GB to download on a Mac, and 3 GB on Linux,"
	@echo "because PyPI's torch for Linux includes CUDA. A machine without a GPU needs only 0.3 GB:"
	@echo '    make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"'
	$(if $(TORCH),$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q server trainer tests
	touch $@
