# make demo         install everything and fill holes in photographs and faces (under a minute once installed)
# make test         install and run the tests except slow and long ones
# make test-fast    the quickest tests (minutes)
# make test-full    slow tests too
# make test-long    launchers and benchmarks (minutes)
# make coverage     make test in two parts, quickest first, with line coverage
# make ci           make coverage and make lint, as .ci/run does
# make avatars      an earlier table of faces (about half an hour on two CPU cores)
# make photos, make drawings, make latent   tables of the other datasets and of latent methods
# make floors       methods without a network and the small networks, at 64, 128 and 256 pixels
# make methods      methods and floors at equal network calls (hours)
# make ours         the paper's seed and a better one, on test images
# make seven        seven photographs filled in several ways
# make fig3, fig7, fig9   counterparts of the paper's pictures of seeds, hard cases and several results
# make table1 ... table8, fig4, fig10, figS, fig_calls   the paper's tables and figures;
#                   profile=demo, paper or smoke, limit= masks= rows= seeds= logger=wandb
# make report       all of them on one page
# make table3       votes of the human study: ANSWERS=FOLDER with answers-*.json, KEY=the study's key
# make sweep, sweep-photos, sweep-latent, sweep-patches, sweep-seeds   the sweeps behind the defaults marked [R]
# make docs         the documentation, in outputs/site
# make bench        speed compared with published code, side by side; make bench-gpu on a GPU
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# One process per GPU, or per CPU without a GPU; runner=ray uses a cluster, runner= one process.
runner ?= local
POOL = $(if $(runner),runner=$(runner))
# Two processes of one thread each; the faster one takes tests from the other.
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal
# Python 3.12 and later measure coverage with sys.monitoring.
CORE = COVERAGE_CORE=$$($(RUN) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')
TABLES = table1 table2 table4 table5 table6 table7 table8 fig4 fig10 figS fig_calls

.PHONY: install demo test test-fast test-full test-long coverage ci avatars drawings latent photos floors methods ours seven fig3 fig7 fig9 sweep-photos sweep sweep-latent sweep-patches sweep-seeds $(TABLES) table3 report bench bench-gpu docs lint
install: $(VENV)/.installed

# The lock holds the versions that made the results. If it does not fit this Python, pyproject.toml's ranges apply.
# An installed torch is kept.
$(VENV)/.installed: requirements.lock pyproject.toml setup.py
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet -r requirements.lock || $(RUN) -m pip install --quiet -e ".[dev,train]"
	$(RUN) -m pip install --quiet --no-deps -e .
	touch $@

demo: install
	$(RUN) -m isdiff compare demo

test: install
	$(PYTEST) -m "not slow and not long" $(if $(UNHURRIED),--unhurried $(UNHURRIED))

# All tests except those in tests/unhurried.txt. `make test UNHURRIED=1.2` rewrites that list: tests above 1.2 seconds.
test-fast: install
	$(PYTEST) -m "not slow and not long" --fast

test-full: install
	$(PYTEST) -m "not long"

test-long: install
	$(RUN) -m pytest -m long

# Quick tests run first; no test runs twice.
coverage: install
	$(CORE) $(PYTEST) -m "not slow and not long" --fast --cov isdiff --cov-report=
	$(CORE) $(PYTEST) -m "not slow and not long" --rest --cov isdiff --cov-append --cov-report term:skip-covered

ci: coverage lint

avatars: install
	$(RUN) -m isdiff compare avatars $(POOL)

drawings latent photos floors ours: install
	$(RUN) -m isdiff compare $@ $(POOL)

methods: install
	$(RUN) -m isdiff compare methods $(POOL)
	$(RUN) -m isdiff compare methods_photos $(POOL)
	$(RUN) -m isdiff compare methods_landscapes $(POOL)

sweep: install
	$(RUN) -m isdiff compare sweep_seed $(POOL)
	$(RUN) -m isdiff compare sweep_refine $(POOL)

sweep-photos: install
	$(RUN) -m isdiff compare sweep_photos $(POOL)

sweep-patches: install
	$(RUN) -m isdiff compare sweep_patches $(POOL)

sweep-seeds: install
	$(RUN) -m isdiff compare sweep_seeds $(POOL)
	$(RUN) -m isdiff compare sweep_starts $(POOL)

fig3 fig7 fig9: install
	$(RUN) scripts/paper_figures.py $(@:fig%=%)

seven: install
	$(RUN) scripts/seven_photos.py --teaser border grass blur

sweep-latent: install
	$(RUN) -m isdiff compare sweep_latent $(POOL)
	$(RUN) -m isdiff compare sweep_guidance $(POOL)

# make variables become arguments: make table1 profile=paper limit=8 masks=half logger=wandb
profile ?= demo
NARROWED = $(foreach name,limit masks rows seeds logger,$(if $($(name)),$(name)=$($(name))))
$(TABLES) report: install
	$(RUN) -m isdiff table $@ profile=$(profile) $(NARROWED) $(POOL)

KEY ?= outputs/study.key.json
table3: install
	$(RUN) -m isdiff study collect $(KEY) $(ANSWERS)

bench: install
	$(RUN) benchmarks/ladder.py
	$(RUN) benchmarks/peers.py --images 8
	$(RUN) benchmarks/patches.py

bench-gpu: install
	$(RUN) benchmarks/ladder.py --device cuda --images 256 --batch 64 --steps 100 --repeats 3 model=adm256_uncond \
	    model.weights=random dataset=photos dataset.size=256
	$(RUN) benchmarks/throughput.py
	$(RUN) benchmarks/gpu.py

docs: install
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy isdiff scripts/training
