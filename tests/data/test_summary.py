"""The summary: the columns of the paper's table, with totals, and a picture of the lengths."""

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from made_up_world import make_records

from cslm_jax.data import summary
from cslm_jax.data.config import DataConfig
from cslm_jax.data.ensure import make_missing_caches
from cslm_jax.data.packing import PackingPlan
from cslm_jax.data.records import write_records
from cslm_jax.data.tables import print_table
from cslm_jax.vocabulary import JointVocabulary


@pytest.fixture(scope="module")
def summed(prepared, tmp_path_factory):
    """summary.json of the prepared world, in rows that not every example fits into."""
    config, workdir = dataclasses.replace(prepared, row_length=200), tmp_path_factory.mktemp("work")
    summary.write_summary(config, workdir)
    return json.loads((workdir / "summary.json").read_text()), workdir


def test_hours_and_tokens_of_a_corpus(summed, vocabulary):
    world, records = summed[0]["corpora"]["world"], make_records(300)
    speeches = [speech for record in records for speech in record.speeches()]
    assert world["hours"] == pytest.approx(sum(speech.run_lengths.sum() for speech in speeches) / 25 / 3600)
    assert world["speech_tokens"] == sum(len(speech.units) for speech in speeches)
    texts = [text for record in records for text in record.texts_said()]
    assert world["text_tokens"] == sum(len(vocabulary.encode_text(text)) for text in texts)
    assert world["kept"] == len(records) and summed[0]["total"]["corpora"]["kept"] == len(records)


def test_rows_are_those_that_training_packs(summed, prepared):
    for task in ("asr_en", "s2s_en_zh"):
        (lengths,) = Path(prepared.cache, task).glob("*/lengths.npy")
        plan, row = PackingPlan(np.load(lengths), 200, seed=0), summed[0]["tasks"][task]
        assert (row["rows"], row["examples"], row["longer_than_row"]) == (plan.rows, plan.examples, plan.left_out)
        assert row["density"] == pytest.approx(plan.density)
    total = summed[0]["total"]["tasks"]
    assert total["density"] == pytest.approx(total["tokens"] / total["rows"] / 200)
    assert total["longer_than_row"] == sum(row["longer_than_row"] for row in summed[0]["tasks"].values()) > 0


def test_a_png_with_a_panel_a_task(summed):
    content = (summed[1] / "lengths.png").read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content.startswith(b"\x89PNG") and height > 50 * len(summed[0]["tasks"]) and width > 500


def test_text_tokens_are_counted_again_for_another_vocabulary(vocabulary, tmp_path):
    records = make_records(5)
    texts = [text for record in records for text in record.texts_said()]
    expected = sum(len(vocabulary.encode_text(text)) for text in texts)
    another = {"vocabulary": JointVocabulary(vocabulary.text, vocabulary.codes + 1).sha256, "tokens": 7}
    for notes in ({}, {"text_tokens": another}, {"text_tokens": {"vocabulary": vocabulary.sha256, "tokens": expected}}):
        write_records(tmp_path / "records" / "world", records, notes=notes)
        ((_, row),) = summary._corpora(tmp_path / "records", vocabulary, {})
        assert row["text_tokens"] == expected


def test_reasons_are_counted_by_stage(prepared, vocabulary_directory, tmp_path, capsys):
    rejected = [{"id": f"r{i}", "file": "f", "stage": stage, "reason": "x"} for i, stage in enumerate(["audio", "text", "audio"])]
    write_records(tmp_path / "records" / "bad", [], rejected)
    config = dataclasses.replace(prepared, records=str(tmp_path / "records"), cache=str(tmp_path / "cache"))
    summary.write_summary(config, tmp_path)
    row = json.loads((tmp_path / "summary.json").read_text())["corpora"]["bad"]
    assert row["rejected_by_stage"] == {"audio": 2, "text": 1}
    assert "audio 2, text 1" in capsys.readouterr().out
    assert [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()] == rejected


def test_there_is_no_picture_of_nothing(vocabulary_directory, tmp_path):
    """All records are held out, so no task has an example."""
    held_out = [dataclasses.replace(record, split="validation") for record in make_records(2)]
    write_records(tmp_path / "records" / "world", held_out)
    folders = {"records": str(tmp_path / "records"), "cache": str(tmp_path / "cache")}
    config = DataConfig(**folders, vocabulary=str(vocabulary_directory))
    make_missing_caches(config)
    summary.write_summary(config, tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["total"]["tasks"]["examples"] == 0
    assert not (tmp_path / "lengths.png").exists()


def test_columns_are_aligned_and_totals_stand_below(capsys):
    print_table("corpora", {"a": {"hours": 1.5, "kept": 1200}, "long name": {"hours": 10.25, "kept": 3}}, {"hours": 11.75})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["corpora", "hours", "kept"] and lines[5].split() == ["total", "11.750"]
    assert lines[2].index("1.500") + 5 == lines[3].index("10.250") + 6 == lines[5].index("11.750") + 6
    assert lines[2].endswith("1,200") and set(lines[1]) == set(lines[4]) == {"-"}
