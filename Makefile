# The house's commands. `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: env demo test test-slow check fix serve bench fidelity dice phi-bench lock clean

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@echo "building $(VENV) from requirements.lock (about two minutes on a first run)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@$(BIN)/python -m pip check --disable-pip-version-check >/dev/null || (echo "the lock is not complete: make lock"; exit 1)
	@touch $(STAMP)

demo: env  ## the whole job on real images that packages ship; ends with what was curated, refused and why
	@$(BIN)/oncurate demo

test: env  ## everything but the slow rest; tests that need the shared archive run where it is there
	@$(BIN)/python -m pytest -q -m "not slow"

test-slow: env  ## the slow rest, as CI runs it
	@$(BIN)/python -m pytest -q -m slow

check: env  ## lint and format; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

fix: env  ## lint and format, mending what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

serve: env  ## Prefect server with UI, an S3 server, a work pool with a worker, the demo deployment; until Ctrl-C
	@$(BIN)/python -m flows.serve

bench: env  ## the whole job against what a user would write today, and the cost per series
	@$(BIN)/python -m benchmarks

fidelity: env  ## every series against dcm2niix, voxel by voxel: table, totals; fails where a difference has no explanation
	@$(BIN)/python -m benchmarks fidelity $(foreach folder,$(DATA),--data $(folder))

dice: env  ## structure sets against solids of known shape and against the masks that come with samples
	@$(BIN)/python -m benchmarks dice

phi-bench: env  ## identifiers planted everywhere, the whole job, and the search for them in all that left; fails on a leak
	@$(BIN)/python -m benchmarks phi

lock:  ## renew requirements.lock; needs uv
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --no-annotate --extra dev --extra ocr pyproject.toml -o requirements.lock

clean:  ## remove what the commands made, not the environment
	rm -rf demo .serve bench-out .pytest_cache .ruff_cache .hypothesis
