# Two commands: `make quickstart` (a model that answers speech with speech) and `make test`.
PYTHON ?= python3
VENV   ?= .venv
WORKDIR ?= runs/quickstart
STARTED := $(shell date +%s)

.PHONY: quickstart test parity lint clean

quickstart: $(VENV)/.installed
	$(VENV)/bin/cslm quickstart --workdir=$(WORKDIR) --started=$(STARTED)

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest --numprocesses=auto

# The tests that need torch (one version, so that figures can be repeated), transformers or onnxruntime; `make test` leaves
# them out where these are not installed.
parity: $(VENV)/.installed-parity
	$(VENV)/bin/python -m pytest --numprocesses=auto tests/model \
		tests/speech/test_s3.py tests/speech/test_s3_parity.py tests/speech/test_s3_published.py tests/speech/test_published.py \
		tests/speech/test_wav2vec2.py tests/speech/test_sense_voice.py tests/speech/test_sense_voice_weights.py \
		tests/speech/test_aligners.py \
		tests/train/test_convert.py tests/train/test_optimizer.py tests/train/test_step.py tests/train/test_lora.py \
		tests/data/test_sft_template.py tests/bench/test_against_torch.py

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

# The stamps make the environment again when the declared dependencies change. Python compiles a module when it is first
# imported; compiling all of TensorFlow beforehand, of which next to nothing is used, would double the time.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'
	touch $@

$(VENV)/.installed-parity: $(VENV)/.installed-test
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 --editable '.[onnx,parity]'
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps s3tokenizer==0.3.0
	touch $@

# What was trained stays: it is the user's.
clean:
	rm -rf $(VENV) build dist *.egg-info
