"""The report: the keys that scripts read, a page that needs nothing but itself, and honest verdicts."""

import json
import re
import shutil

import numpy as np
import pytest

from cslm_jax.errors import CslmError
from cslm_jax.evaluate import report, table
from cslm_jax.evaluate.journal import Journal
from cslm_jax.evaluate.measures import Result
from cslm_jax.evaluate.system import Spoken
from cslm_jax.miniature.defaults import BARS

DIRECTIONS = ("en_en", "zh_zh", "en_zh", "zh_en")
QUOTED = '<b>"it"</b> & 它'


def results() -> dict[str, Result]:
    sound = Spoken(np.linspace(-1, 1, 12800, dtype=np.float32), (0.4,), (np.array([1, 2]), np.array([3])), "it")
    spoken = {"id": "1", "reference": QUOTED, "transcript": "it", "edits": 1}
    answer = {
        "id": "1", "question": QUOTED, "heard": None, "reference": "it", "answer": QUOTED, "pieces": ["it ", QUOTED],
        "transcript": "it", "correct": True, "off_target": False, "complaints": ["<sosp> inside speech"],
    }  # fmt: skip
    found = {}
    for language, name in (("en", "wer_en"), ("zh", "cer_zh")):
        found[f"asr_{language}"] = Result({name: 0.05}, 100, {name: (0.04, 0.06)}, [spoken])
        found[f"tts_{language}"] = Result({name: 0.25}, 60, {name: (0.2, 0.3)}, [spoken], [Spoken(*_one_piece(sound))])
        found[f"recogniser_{language}"] = Result({name: 0.01}, 90, {name: (0.0, 0.02)}, [])
    for direction in DIRECTIONS:
        values = {"answer_accuracy": 0.9, "asr_er": 0.04, "off_target_text": 0.0}
        found[f"s2s_{direction}"] = Result(values, 50, {name: (0.0, 1.0) for name in values}, [answer], [sound], [sound.waveform])
    found["similarity"] = Result({"parallel": 0.7, "random": 0.65}, 200, {})
    return found


def _one_piece(sound: Spoken) -> tuple:
    return sound.waveform, (), (np.array([1, 2]),), "it"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The directory of a report about everything."""
    tmp_path = tmp_path_factory.mktemp("report")
    journal = Journal(tmp_path / "measures", tmp_path / "samples", 1, 16000)
    measured = {name: journal.measure(name, "a", lambda result=result: result) for name, result in results().items()}
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps({"step": i, "loss": 1.0}) + "\n" for i in range(9)) + '{"step": 9, "lo')
    write = lambda directory: report.write(  # noqa: E731
        directory, measured, title="<a> run", codes=8, bars=BARS,
        metrics={"cpt": metrics, "sft": tmp_path / "none.jsonl"},
        stages={"cpt": {"seconds": 60, "peak_memory_gib": 2.0}, "sft": {"seconds": 30.5, "peak_memory_gib": 3.0}},
    )  # fmt: skip
    write(tmp_path)
    return tmp_path, write


def test_report_json_has_the_keys_of_the_contract(written):
    found = json.loads((written[0] / "report.json").read_text())
    assert found == {
        "asr": {"wer_en": 0.05, "n_en": 100, "cer_zh": 0.05, "n_zh": 100},
        "tts": {"wer_en": 0.25, "n_en": 60, "cer_zh": 0.25, "n_zh": 60},
        "recogniser": {"wer_en": 0.01, "n_en": 90, "cer_zh": 0.01, "n_zh": 90},
        "s2s": {d: {"answer_accuracy": 0.9, "asr_er": 0.04, "off_target_text": 0.0, "n": 50} for d in DIRECTIONS},
        "similarity": {"parallel": 0.7, "random": 0.65, "n": 200},
        "wall_seconds": 90.5,
        "peak_memory_gib": 3.0,
    }


def test_the_page_is_one_file_that_asks_the_network_for_nothing(written):
    page = (written[0] / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith("data:") for source in sources)
    assert "http" not in re.sub(r"data:[^\"]*", "", page)
    assert 'name="viewport"' in page


def test_the_page_plays_and_shows_every_sample(written):
    page = (written[0] / "report.html").read_text(encoding="utf-8")
    assert page.count("data:audio/mpeg") == 4 * 2 + 2, "question and answer of each direction, one reading a language"
    assert page.count("log-mel spectrogram") == 6
    assert page.count('class="cut"') == 4
    assert page.count("data:image/svg+xml") == 1, "one stage left metrics"


def test_text_of_models_and_corpora_cannot_become_markup(written):
    page = (written[0] / "report.html").read_text(encoding="utf-8")
    assert "<b>&#34;it" not in page and QUOTED not in page and "&lt;b&gt;&#34;it&#34;&lt;/b&gt; &amp; 它" in page
    assert "&lt;a&gt; run" in page


def test_a_missing_sample_is_named(written, tmp_path):
    directory, write = shutil.copytree(written[0], tmp_path / "report"), written[1]
    (directory / "samples" / "tts_en_0.wav").unlink()
    with pytest.raises(CslmError, match="tts_en_0.wav"):
        write(directory)


def test_verdicts_look_the_right_way():
    measured = {name: {"values": r.values, "intervals": r.intervals, "n": r.n} for name, r in results().items()}
    rows = table.rows(measured, table.nested(measured, 1500.0, 3.0), BARS)
    verdict = {(row.group.split(" ")[0], row.label): row.reached for row in rows}
    assert verdict["Speech", "English: word error rate"] is True
    assert verdict["Text", "English: word error rate"] is False
    assert verdict["The", "wall time"] is False and verdict["The", "peak memory"] is True
    assert verdict["Speech", "English → Chinese: answer correct"] is True
    assert verdict["Speech", "parallel minus random"] is False, "0.05 is less than 0.10"
    assert verdict["Speech", "English → Chinese: speech differs from its text (ASR-ER)"] is None


def test_nothing_measured_about_the_run_is_null_not_invented():
    found = table.nested({}, None, None)
    assert found == {"wall_seconds": None, "peak_memory_gib": None}
    assert table.rows({}, found, BARS) == []


def test_units_fill_their_piece():
    assert report._frames([[5], [6, 7]], [0.0, 1.0, 2.0], columns=8).tolist() == [5, 5, 5, 5, 6, 6, 7, 7]
    assert report._frames([[1, 2, 3]], [0.0, 0.5], columns=6).tolist() == [1, 1, 2, 2, 3, 3]
