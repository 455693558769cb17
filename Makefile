# make demo   makes .venv, simulates two people (T1w, FLAIR, SWI at 2 mm), runs the app on them and says where the reports are
# make test   makes the same .venv and runs the tests
PYTHON ?= python3
VENV := .venv
DEMO := demo

.PHONY: demo test lint clean

demo: $(VENV)/.installed $(DEMO)/bids/dataset_description.json
	$(VENV)/bin/brainage $(DEMO)/bids $(DEMO)/out participant
	@echo
	@echo "Reports, to open in a browser:"
	@ls -1 $(abspath $(DEMO))/out/sub-*.html

test: $(VENV)/.installed
	$(VENV)/bin/pytest --numprocesses auto --dist loadfile

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/hadolint Dockerfile

clean:
	rm -rf $(VENV) $(DEMO)

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "brainage_bids needs Python 3.11 or newer, and this is " \
	    + sys.version.split()[0] + ": choose another by make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(DEMO)/bids/dataset_description.json: $(VENV)/.installed
	$(VENV)/bin/brainage-phantom $(DEMO)/bids --participants 2 --resolution 2 --seed 1100
