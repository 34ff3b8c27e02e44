# make demo    install what is needed and fill holes in photographs and faces (under a minute once installed)
# make test    install and run the tests but the slow ones; make test-fast   the quickest, minutes; make test-full   the slow ones too; make test-long   launchers and benchmarks, minutes
# make coverage   make test in two parts, the quickest first, and which lines it ran; make ci   that and make lint, as .ci/run does
# make avatars the faces' table of earlier results (about half an hour on two CPU cores)
# make photos, make drawings, make latent   the tables of the other datasets and of latent methods
# make floors  photographs: what fills need no network, beside the small network, at 64, 128 and 256 pixels
# make seven   seven photographs as people have them, filled in several ways
# make table1 ... table8, fig4, fig10, figS, fig_calls   the paper's tables and figures; profile=demo, paper or smoke, limit= masks= rows= seeds= logger=wandb
# make report  all of them in one page
# make table3  shares of votes of the human study: ANSWERS=FOLDER with answers-*.json, KEY=the study's key
# make sweep, make sweep-latent, make sweep-patches, make sweep-seeds   the sweeps behind the defaults marked [R]
# make docs     the documentation, in outputs/site
# make bench   speed, measured side by side, from what published code does to what this one does; make bench-gpu on a GPU
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# A process for every GPU, or CPU where there is none; runner=ray on a cluster, runner= for all in one process.
runner ?= local
POOL = $(if $(runner),runner=$(runner))
# Two processes of one thread each; the one that is done first takes tests of the other.
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal
# Coverage by the interpreter's own events where it has them (3.12 on).
CORE = COVERAGE_CORE=$$($(RUN) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')
TABLES = table1 table2 table4 table5 table6 table7 table8 fig4 fig10 figS fig_calls

.PHONY: install demo test test-fast test-full test-long coverage ci avatars drawings latent photos floors ours seven sweep-photos sweep sweep-latent sweep-patches sweep-seeds $(TABLES) table3 report bench bench-gpu docs lint
install: $(VENV)/.installed

# The lock holds what the results were made with; where it does not fit (another Python), the ranges of
# pyproject.toml are used instead. A torch that is already there stays.
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

# What tests/unhurried.txt leaves; `make test UNHURRIED=1.2` writes that list anew, of tests that take longer than so many seconds.
test-fast: install
	$(PYTEST) -m "not slow and not long" --fast

test-full: install
	$(PYTEST) -m "not long"

test-long: install
	$(RUN) -m pytest -m long

# What fails fast fails first; no test runs twice.
coverage: install
	$(CORE) $(PYTEST) -m "not slow and not long" --fast --cov isdiff --cov-report=
	$(CORE) $(PYTEST) -m "not slow and not long" --rest --cov isdiff --cov-append --cov-report term:skip-covered

ci: coverage lint

avatars: install
	$(RUN) -m isdiff compare avatars $(POOL)

drawings latent photos floors ours: install
	$(RUN) -m isdiff compare $@ $(POOL)

sweep: install
	$(RUN) -m isdiff compare sweep_seed $(POOL)
	$(RUN) -m isdiff compare sweep_refine $(POOL)

sweep-photos: install
	$(RUN) -m isdiff compare sweep_photos $(POOL)

sweep-patches sweep-seeds: install
	$(RUN) -m isdiff compare $(subst -,_,$@) $(POOL)

seven: install
	$(RUN) scripts/seven_photos.py --teaser border grass blur

sweep-latent: install
	$(RUN) -m isdiff compare sweep_latent $(POOL)
	$(RUN) -m isdiff compare sweep_guidance $(POOL)

# make's own variables become arguments: make table1 profile=paper limit=8 masks=half logger=wandb
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
	    model.weights=random dataset=landscapes dataset.size=256 dataset.features=null
	$(RUN) benchmarks/throughput.py
	$(RUN) benchmarks/gpu.py

docs: install
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy isdiff scripts/training
