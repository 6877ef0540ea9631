"""What `cslm show-batch` prints: the process's rows as text, and the fingerprint of the global batch."""

import dataclasses

import pytest

from cslm_jax.config import Experiment
from cslm_jax.data.catalogue import mixture_weights
from cslm_jax.data.loader import Loader
from cslm_jax.data.show_batch import describe, show_batch
from cslm_jax.errors import CslmError


def test_processes_print_their_rows_and_the_same_fingerprint(prepared, vocabulary, tmp_path, capsys):
    config = Experiment("test", str(tmp_path), data=dataclasses.replace(prepared, mixture="cslm_cpt"))
    show_batch(config, step=4)
    *whole, fingerprint = capsys.readouterr().out.splitlines()
    parts = []
    for process in range(2):
        show_batch(config, step=4, processes=2, process=process)
        *lines, last = capsys.readouterr().out.splitlines()
        parts += lines
        assert last == fingerprint == f"sha256 {Loader(prepared, vocabulary).global_sha256(4)}"
    assert parts == whole
    assert sum(line.startswith("row ") for line in whole) == prepared.global_batch


def test_loss_and_context_stand_on_lines_of_their_own(prepared, vocabulary):
    removed = dict.fromkeys(set(mixture_weights("cslm_cpt", prepared.languages)) - {"asr_en"}, 0.0)
    loader = Loader(dataclasses.replace(prepared, weights=removed), vocabulary)
    title, segment, context, trained, *_ = describe(loader.batch(0), 0, 0, 0, loader, vocabulary, colour=False)
    assert title.startswith("row 0  asr_en  ") and segment.startswith("  segment 1  u-en-")
    assert context.startswith("    0 | <|begin_of_text|><|start_header_id|>user") and "\\n\\n" in context
    assert trained.startswith("    1 | the ") and trained.endswith("<|eot_id|>")
    assert any("\033[32m" in line for line in describe(loader.batch(0), 0, 0, 0, loader, vocabulary, colour=True))


def test_a_process_that_does_not_exist(prepared, tmp_path):
    with pytest.raises(CslmError, match="--process"):
        show_batch(Experiment("test", str(tmp_path), data=prepared), processes=2, process=2)
