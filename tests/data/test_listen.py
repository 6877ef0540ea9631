"""`cslm units` and `cslm align` on sound files: JSON for scripts, and a bad file costs nothing but itself."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cslm_jax import cli
from cslm_jax.data import listen
from cslm_jax.speech.ctc import Labels
from cslm_jax.speech.s3 import S3Config
from cslm_jax.speech.tokenizer import SpeechTokenizer, new_model

CONFIG = f"--config={Path(__file__).parents[2] / 'configs' / 'miniature_sft.py'}"


@functools.cache
def tokenizer() -> SpeechTokenizer:
    """Random weights: which units and times come out does not matter here."""
    labels = Labels.from_texts(["abcdefghijklmnopqrstuvwxyz 狗"])
    sizes = S3Config(mels=40, width=16, heads=2, layers=1, codes=50, recogniser_layers=0)
    return SpeechTokenizer(new_model(sizes, labels), labels, batch_seconds=4)


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    monkeypatch.setattr(listen.SpeechTokenizer, "load", lambda *_, **__: tokenizer())


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for name, seconds in (("a", 1.0), ("b", 2.5)):
        noise = np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds))
        soundfile.write(folder / f"{name}.wav", noise, 16000)
    (folder / "bad.wav").write_text("no sound at all")
    return folder


def run(capsys, command: str, *words: str) -> tuple[int, str, str]:
    code = cli.main([command, CONFIG, *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_units_of_several_files_and_a_bad_one_among_them(capsys, sounds):
    files = [str(sounds / name) for name in ("a.wav", "bad.wav", "missing.wav", "b.wav")]
    code, out, err = run(capsys, "units", *files)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["id"] for line in lines] == [files[0], files[3]]
    assert [set(line) for line in lines] == [{"id", "seconds", "units", "run_lengths"}] * 2
    for line, seconds in zip(lines, (1.0, 2.5), strict=True):
        assert line["seconds"] == pytest.approx(seconds, abs=0.04) and sum(line["run_lengths"]) == 25 * line["seconds"]
        assert len(line["units"]) == len(line["run_lengths"])
    named = [line for line in err.splitlines() if line.startswith(str(sounds))]
    assert [line.split(":")[0] for line in named] == files[1:3]
    assert code == 2 and "2 of 4 files could not be read" in err


def test_good_files_end_well_and_none_is_a_mistake(capsys, sounds):
    assert run(capsys, "units", str(sounds / "a.wav"))[0] == 0
    code, _, err = run(capsys, "units")
    assert code == 2 and "name at least one sound file" in err


def test_words_and_chunks_of_a_file(capsys, sounds):
    text = "one two, three four."
    plot = sounds / "b.png"
    words = ("--text", text, str(sounds / "b.wav"), "--config.data.chunk-size=2", f"--plot={plot}")
    code, out, _ = run(capsys, "align", *words)
    found = json.loads(out)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert code == 0 and [word["word"] for word in found["words"]] == ["one", "two", "three", "four"]
    assert all(word["start"] < word["end"] for word in found["words"])
    assert [chunk["text"] for chunk in found["chunks"]] == ["one two,", " three four."]
    assert found["chunks"][0]["start"] == 0 and found["chunks"][1]["end"] == pytest.approx(2.5, abs=0.04)
    assert found["chunks"][0]["end"] == found["chunks"][1]["start"] and all(chunk["units"] for chunk in found["chunks"])


@pytest.mark.parametrize(
    "text, file, says",
    [
        ("dog", "bad.wav", "bad.wav.*cannot be read as sound"),
        ("龘", "a.wav", "alphabet"),
        ("one " * 90, "a.wav", "nobody"),
    ],
)
def test_what_cannot_be_aligned_is_told(capsys, sounds, text, file, says):
    code, out, err = run(capsys, "align", f"--text={text}", str(sounds / file))
    assert code == 2 and not out and re.search(says, err)


def test_the_language_is_guessed_from_the_script(capsys, sounds):
    """42 is said in Chinese, and so a star for this alphabet; the English of it would be found."""
    code, out, _ = run(capsys, "align", "--text=狗42", str(sounds / "a.wav"))
    assert code == 0 and [word["word"] for word in json.loads(out)["words"]] == ["狗", "42"]
    assert run(capsys, "align", "--text=42", str(sounds / "a.wav"))[0] == 0
    code, _, err = run(capsys, "align", "--text=42", "--language=zh", str(sounds / "a.wav"))
    assert code == 2 and "alphabet" in err
