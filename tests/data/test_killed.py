"""SIGKILL at any file operation leaves nothing behind that the next run does not clear; `killing.py` does it at random ones."""

import shutil
import subprocess
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest
from killing import content_of, make_world, run

from cslm_jax import config as experiments
from cslm_jax.data import files, prepare
from cslm_jax.data.corpora import Recording
from cslm_jax.data.recording import LoadingProcesses
from cslm_jax.errors import CslmError


def test_killed_in_every_phase_it_ends_as_if_undisturbed(tmp_path):
    path = make_world(tmp_path, sound=False)
    config, work = experiments.load(path), tmp_path / "work"
    prepare.prepare(config)
    whole = content_of(work)
    shutil.rmtree(work)
    for phase, rename in (("records", 5), ("caches", 3), ("summary", 2)):
        killed, operations = run(path, phase, rename, "os.rename")
        assert killed and operations[-1].startswith("os.rename"), operations
        assert list(work.rglob(".*.tmp")), "nothing was left that could be cleared"
    prepare.prepare(config)
    assert content_of(work) == whole


def test_only_the_files_of_that_name_are_cleared(tmp_path):
    """Shard 1 is not shard 10, and what another worker is writing has another name."""
    left = [".00001.json.0a.tmp", ".00001.utterance.arrayrecord.0b.tmp"]
    others = ["00001.json", ".00010.json.0c.tmp", ".10000.json.0d.tmp", ".recipe.json.0e.tmp"]
    for name in left + others:
        (tmp_path / name).touch()
    (tmp_path / ".00001.0f.tmp").mkdir()
    files.clear_leftovers(tmp_path, "00001")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


PARENT = """
import os, time
from cslm_jax.data.recording import LoadingProcesses
if __name__ == "__main__":
    load = LoadingProcesses(1)
    print(load.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_loading_processes_do_not_outlive_a_killed_parent(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        assert not psutil.wait_procs([child], timeout=20)[1]


def test_a_loading_process_that_was_killed_is_named(monkeypatch):
    load, broken = LoadingProcesses(1), Future()
    broken.set_exception(BrokenProcessPool("a child process terminated abruptly"))
    monkeypatch.setattr(load, "submit", lambda *_: broken)
    with pytest.raises(CslmError, match="lower data.prepare.processes or data.prepare.together"):
        list(load([Recording("a", "en", "a dog", lambda: None)]))
    load.close()


class _FullDisk:
    """A file that takes so many bytes."""

    def __init__(self, file, room: int):
        self._file, self._room = file, room

    def write(self, text: str) -> int:
        self._room -= len(text)
        if self._room < 0:
            raise OSError(28, "No space left on device")
        return self._file.write(text)


def test_a_full_disk_is_named_and_a_rerun_goes_on(tmp_path, monkeypatch):
    config = experiments.load(make_world(tmp_path, sound=False))
    prepare.prepare(config)
    whole = content_of(tmp_path / "work")
    shutil.rmtree(tmp_path / "work")
    line_writer = files.LineWriter
    with monkeypatch.context() as patch:
        patch.setattr(files, "LineWriter", lambda file: line_writer(_FullDisk(file, 0)))
        with pytest.raises(CslmError, match=r"rejected.jsonl cannot be written: .*No space left.*free some space and run"):
            prepare.prepare(config)
    assert not list(tmp_path.rglob("*.tmp"))
    prepare.prepare(config)
    assert content_of(tmp_path / "work") == whole


def test_a_full_disk_under_records_is_named(tmp_path):
    """ArrayRecord tells it only when the file is closed, and in its own words."""

    class Full:
        def write(self, record: bytes) -> None: ...

        def close(self) -> None:
            raise RuntimeError("write() failed: No space left on device; writing x; Failed to close chunk_writer")

    with pytest.raises(CslmError, match="x.arrayrecord cannot be written"), files.replacing(tmp_path / "x.arrayrecord") as path:
        path.touch()
        Full().close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="something else"), files.replacing(tmp_path / "x"):
        raise RuntimeError("something else")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CslmError, match="the folder .*file/records cannot be made: .*name another one in the config"):
        files.write_json(tmp_path / "file" / "records" / "recipe.json", {})
