# Everything runs from a clean clone; the environment is made on first use, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORK ?= build/embedded-model
STAGE = $(BIN)/python -m tools.embedded_model --work $(WORK)
VAE_MINUTES ?= 60
UNET_MINUTES ?= 180
CODES_MINUTES ?= 60
ROUTED_MINUTES ?= 170
ICONS := $(WORK)/icons/node_modules/@iconify-json

.PHONY: bench docs evaluate gpu-check study install install-dev demo serve test test-slow test-browser test-webui test-forge test-reforge test-sdnext lint types embedded-model embedded-model-gpu clean

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml tools/install_torch.py | $(VENV)/bin/python
	$(BIN)/python tools/install_torch.py
	$(BIN)/pip install --quiet -e ".[standalone]"
	touch $@

$(VENV)/installed-serve: $(VENV)/installed
	$(BIN)/pip install --quiet -e ".[serve]"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed-serve
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@

demo: install
	$(BIN)/dreamartist demo

# The tab in a browser, on the embedded model: http://127.0.0.1:7870
serve: $(VENV)/installed-serve
	$(BIN)/dreamartist serve

# Side by side: as many at once as there are cores.
test: install-dev
	$(BIN)/pytest -n auto --dist worksteal

test-slow: install-dev
	$(BIN)/pytest -m slow

# Needs Chromium; says what it skips without it.
test-browser: install-dev
	$(BIN)/pytest -m "browser and not webui and not forge and not reforge and not sdnext" -rs

# Needs AUTOMATIC1111 v1.10.1 at $$WEBUI_DIR or ~/stable-diffusion-webui; says what it skips without it.
test-webui: install-dev
	$(BIN)/pytest -m webui -rs

# The same cases in Forge, at $$FORGE_DIR or ~/forge, and in reForge, at $$REFORGE_DIR or ~/reforge; they say what they skip.
test-forge: install-dev
	$(BIN)/pytest -m forge -rs

test-reforge: install-dev
	$(BIN)/pytest -m reforge -rs

# A part of them, and its own cases, in SD.Next at $$SDNEXT_DIR or ~/sdnext.
test-sdnext: install-dev
	$(BIN)/pytest -m sdnext -rs

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The embedded model from nothing: hours on two cores. Stages can be run again one by one; training stages continue.
embedded-model: install-dev
	$(BIN)/pip install --quiet -e ".[embedded-model]"
	mkdir -p $(WORK)/icons $(WORK)/clip
	cd $(WORK)/icons && npm install --silent --no-save $(foreach set,noto noto-v1 fluent-emoji-flat fluent-emoji fxemoji,@iconify-json/$(set))
	$(BIN)/pip download --quiet --no-deps --dest $(WORK)/clip open_clip_torch
	unzip -oqj $(WORK)/clip/open_clip_torch-*.whl open_clip/bpe_simple_vocab_16e6.txt.gz -d $(WORK)/clip
	$(STAGE) render --icons $(ICONS)
	$(STAGE) vae --minutes $(VAE_MINUTES)
	$(STAGE) tokenizer --merges $(WORK)/clip/bpe_simple_vocab_16e6.txt.gz
	$(STAGE) latents
	$(STAGE) unet --minutes $(UNET_MINUTES)
	$(STAGE) export --out $(WORK)/words
	$(STAGE) render-wide --icons $(ICONS)
	$(STAGE) latents-wide --model $(WORK)/words --by-vae 100000
	$(STAGE) views
	$(STAGE) scenes --model $(WORK)/words
	$(STAGE) codes --model $(WORK)/words --snapshot codes.pt --whole --minutes $(CODES_MINUTES)
	$(STAGE) route --model $(WORK)/words --init codes.pt --snapshot routed.pt
	$(STAGE) codes --model $(WORK)/words --snapshot routed.pt --whole --scene-share 0.05 --minutes $(ROUTED_MINUTES) --fall-from 0.6
	$(STAGE) export-codes --model $(WORK)/words --snapshot routed.pt --out $(WORK)/model
	$(STAGE) measure --model $(WORK)/model --out $(WORK)/figures
	$(STAGE) references --icons $(ICONS)
	$(STAGE) inversion --model $(WORK)/model --out $(WORK)/figures
	$(STAGE) share --model $(WORK)/model --out $(WORK)/figures --start '1 2 3 4 5 6' --output-rate 0.0016 --steps 150 \
		--after 'on a white background' --guidance 4 --negative-rate 0.3

# The same training with codes on a machine with a GPU, in nine minutes, from the shipped model: packs the drawings and the
# wheels that such a machine lacks, and says what to run there.
GPU_WORK := build/embedded-model-gpu
embedded-model-gpu: install-dev
	$(BIN)/pip install --quiet -e ".[embedded-model]"
	mkdir -p $(WORK)/icons
	cd $(WORK)/icons && npm install --silent --no-save $(foreach set,noto noto-v1 fluent-emoji-flat fluent-emoji fxemoji,@iconify-json/$(set))
	$(STAGE) render-wide --icons $(ICONS)
	$(STAGE) references --icons $(ICONS)
	$(BIN)/python -m tools.embedded_model.on_gpu pack --work $(WORK) --icons $(ICONS) --out $(GPU_WORK)
	$(BIN)/python -m benchmarks.gpu_bundle --out $(GPU_WORK)/wheels --drawings $(GPU_WORK)/drawings.zip

# A report on the shipped pairs: evaluation-output/report.html, in minutes.
ASSETS := dreamartist_ext/assets
evaluate: $(VENV)/installed-dev
	$(BIN)/dreamartist evaluate $(ASSETS)/pairs --reference $(ASSETS)/samples --seeds 3 --steps 15

# The study of docs/evidence/quality.md on the ten things that were not chosen by: pairs and plain inversion, three seeds.
# Some 90 minutes of one core's computing; started again, it does not train again what it finished.
STUDY ?= --arms guidance-1.3 plain --concepts report --seeds 0 1 2
PROTOCOL := --guidances 2.5 4 --drawn 8 --in-styles 1 --drawing-steps 15 --together 10 --processes 2
$(WORK)/references: | $(VENV)/installed-dev
	$(BIN)/pip install --quiet -e ".[embedded-model]"
	mkdir -p $(WORK)/icons
	cd $(WORK)/icons && npm install --silent --no-save @iconify-json/noto
	$(STAGE) references --icons $(ICONS)

study: install-dev $(WORK)/references
	$(BIN)/python -m tools.study run --references $(WORK)/references $(PROTOCOL) $(STUDY)

# The site in build/site; a broken link fails. What the program writes into it: python -m tools.pages
$(VENV)/installed-docs: $(VENV)/installed-serve
	$(BIN)/pip install --quiet -e ".[docs]"
	touch $@

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Speed and memory against the floor and against others, into docs/evidence/speed.md; SIZE=sd15, sd15-512 for SD 1.5's shape.
# Says what it leaves out where there is no WebUI, no peer's checkout, no GPU.
SIZE ?= embedded
bench: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks --size $(SIZE) --page docs/evidence/speed.md

# What waits for a GPU: writes the wheels that a bare machine with one lacks and says what to run there, then runs the
# same check here; on a machine without a GPU with tiny models, in some minutes.
gpu-check: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.gpu_bundle
	$(BIN)/python -m benchmarks.gpu_check

clean:
	rm -rf $(VENV) build demo-output evaluation-output
