"""Kills `cslm prepare` (SIGKILL) at chosen file operations, and sees whether the end is that of a run nobody disturbed.

    python tests/data/killing.py 10      # kills in each of the three phases, at random operations

An audit hook sees every file that Python opens, renames or removes; the process kills itself before the n-th of those in the
folder that a phase writes.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
PHASES = {"records": "/work/records/", "caches": "/work/cache/", "summary": r"/work/[^/]*\.(json|jsonl|png|tmp)$"}


def run(config: Path, phase: str = "records", kill_at: int = 0, event: str = "") -> tuple[bool, list[str]]:
    """`cslm prepare` in a process of its own: whether it was killed, and the phase's file operations that it came to.

    Args:
        kill_at: before which operation it is killed, or before which of one kind (`event`); 0 for never.
    """
    log = config.parent / "operations"
    log.unlink(missing_ok=True)
    command = [sys.executable, __file__, "child", str(log), PHASES[phase], str(kill_at), event, f"--config={config}"]
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(config.parent / "xla"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | compiled)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0, log.read_text().splitlines()


def _child(log: str, phase: str, kill_at: str, counted: str, *words: str) -> int:
    count, file = 0, os.open(log, os.O_CREAT | os.O_WRONLY)

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in EVENTS:
            paths = [os.fsdecode(each) for each in arguments[:2] if isinstance(each, str | bytes | os.PathLike)]
            if any(re.search(phase, path) for path in paths):
                count += event.startswith(counted)
                os.write(file, f"{event} {' '.join(paths)}\n".encode())
                if count == int(kill_at) > 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    from cslm_jax import cli

    return cli.main(["prepare", *words])


def make_world(folder: Path, sound: bool) -> Path:
    """Texts and, with sound, good and bad recordings, in three shards each; a tokenizer of random weights; a config."""
    from test_prepare import make_corpus, tokenizer

    from cslm_jax import config as experiments
    from cslm_jax.data.config import DataConfig, PrepareConfig
    from cslm_jax.data.corpora import CorpusConfig
    from cslm_jax.text.sentencepiece import SentencePieceText
    from cslm_jax.vocabulary import JointVocabulary

    folder.mkdir(exist_ok=True)
    if sound:
        make_corpus(folder / "corpus")
        tokenizer().save(folder / "tokenizer")
    text = SentencePieceText.train([f"a red dog and a second line for the same file {i}" for i in range(200)], 300)
    JointVocabulary(text, 50).save(folder / "vocabulary")
    texts = CorpusConfig("texts", "miniature", "translations", limit=12)
    corpora = (CorpusConfig("mine", "manifest", f"{folder}/corpus"), texts) if sound else (texts,)
    data = DataConfig(
        records=f"{folder}/work/records", cache=f"{folder}/work/cache", vocabulary=f"{folder}/vocabulary",
        tokenizer=f"{folder}/tokenizer", prepare=PrepareConfig(shard_items=4, processes=0), row_length=64,
    )  # fmt: skip
    experiments.save(experiments.Experiment("killed", f"{folder}/work", corpora=corpora, data=data), folder)
    return folder / "config.json"


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main(kills: int, seed: int = 0) -> None:
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        config = make_world(Path(folder), sound=True)
        work = config.parent / "work"
        for phase in PHASES:
            shutil.rmtree(work, ignore_errors=True)
            _, operations = run(config, phase)
            whole = content_of(work)
            shutil.rmtree(work)
            print(f"{phase}: {len(operations)} file operations undisturbed, {len(whole)} files in the end", flush=True)
            left = kills
            while left:
                killed, done = run(config, phase, draw.randrange(1, len(operations)))
                left -= killed
                print(f"  {'killed before' if killed else 'ended after'} {len(done)}: {done[-1].replace(folder, '')}", flush=True)
                if not killed:
                    _compare(work, whole)
                    shutil.rmtree(work)
            run(config)
            _compare(work, whole)


def _compare(work: Path, whole: dict[str, bytes]) -> None:
    found = content_of(work)
    differing = sorted(name for name in {**found, **whole} if found.get(name) != whole.get(name))
    print(f"  {'DIFFERENT: ' + ', '.join(differing) if differing else 'byte-identical, nothing left over'}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "child":
        sys.exit(_child(*sys.argv[2:]))
    main(*map(int, sys.argv[1:]))
