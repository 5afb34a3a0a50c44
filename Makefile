# make run: the main job on the embedded model. make test: lint, types, tests. Both install first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := data/runs/demo
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: run test bench bench-throttled bench-train consumers clean

run: $(VENV)/.run
	$(BIN)/selfinstruct model fetch
	env -u OPENAI_API_KEY -u OPENAI_BASE_URL $(BIN)/selfinstruct generate --n 20 --out $(DEMO)
	$(BIN)/selfinstruct show $(DEMO) -n 20

test: $(VENV)/.test
	$(BIN)/selfinstruct model fetch
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadscope

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.novelty
	$(BIN)/python -m benchmarks.clean
	$(BIN)/python -m benchmarks.generate

bench-throttled: $(VENV)/.test
	$(BIN)/python -m benchmarks.throttled
	$(BIN)/python -m benchmarks.throttled --headers

consumers: $(VENV)/.test
	$(BIN)/python -m benchmarks.consumers

bench-train: $(VENV)/.test
	$(BIN)/python -m benchmarks.train_gpu

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[local]'
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
