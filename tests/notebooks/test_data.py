"""notebooks/data.ipynb runs from its first cell to its last, on a handful of items of the miniature."""

from pathlib import Path

import nbclient
import nbformat

from cslm_jax import cli

ROOT = Path(__file__).parents[2]

CONFIG = '''
"""cslm prepare --config=small.py"""
import dataclasses
from cslm_jax.miniature.defaults import experiment

change = dataclasses.replace

def get_config():
    config = experiment("cpt", steps=2, learning_rate=1e-3)
    tokenizer = config.tokenizer
    folders = {part: f"{{workdir}}/{part}" for part in ("records", "vocabulary", "cache", "tokenizer")}
    return change(
        config,
        workdir="work",
        corpora=tuple(change(corpus, limit=24) for corpus in config.corpora),
        tokenizer=change(tokenizer, utterances=12, batch_seconds=16.0, buckets=1, fit=change(tokenizer.fit, steps=2)),
        data=change(config.data, **folders, prepare=change(config.data.prepare, processes=0)),
    )
'''


def test_the_notebook_runs(tmp_path, monkeypatch):
    (tmp_path / "small.py").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for command in ("vocabulary", "tokenizer", "prepare"):
        assert cli.main([command, "--config=small.py"]) == 0
    monkeypatch.setenv("CSLM_CONFIG", "small.py")
    notebook = nbformat.read(ROOT / "notebooks" / "data.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    executed = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in executed.cells for output in cell.get("outputs", [])]
    pictures = [output for output in shown if "image/svg+xml" in output.get("data", {})]
    said = "".join(output.get("text", "") for output in shown)
    assert len(pictures) == 6 and "of a row is not padding" in said and "recordings" in said
