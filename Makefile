# Every target makes .venv if there is none and installs what it needs.
# A certain Python: make test PYTHON=/path/to/python3.13
# Some of the tests: make test ARGS="-k domains"

SETUP = PYTHON="$(PYTHON)" sh scripts/setup_env.sh
RUN = .venv/bin/python -m

.PHONY: help demo demo-maps test lint docs

help:
	@echo 'make demo       a first look at the package'
	@echo 'make demo-maps  the same for segmentation, time series and change'
	@echo 'make test       run all tests'
	@echo 'make lint       check style and types'
	@echo 'make docs       build the documentation'

demo:
	@$(SETUP)
	@$(RUN) torchgeo_experts demo

demo-maps:
	@$(SETUP)
	@$(RUN) torchgeo_experts demo --task segmentation
	@$(RUN) torchgeo_experts demo --task series
	@$(RUN) torchgeo_experts demo --task change

test:
	@$(SETUP) tests
	$(RUN) pytest --numprocesses auto $(ARGS)

lint:
	@$(SETUP) style
	$(RUN) ruff check --no-fix .
	$(RUN) ruff format --check .
	$(RUN) mypy

docs:
	@$(SETUP) docs
	$(RUN) sphinx -q -E -W --keep-going docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'
