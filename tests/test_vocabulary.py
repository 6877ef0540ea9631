"""The joint vocabulary: ids, exact round trips, and that nobody can inject a unit through text."""

import json

import numpy as np
import pytest

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.text.sentencepiece import SentencePieceText
from cslm_jax.vocabulary import JointVocabulary

LINES = ["the red cat lives in the garden, and it likes fish.", "红色的猫住在花园里，它喜欢吃鱼。"] * 50


@pytest.fixture(scope="module")
def vocabulary() -> JointVocabulary:
    return JointVocabulary(SentencePieceText.train(LINES, 340), codes=64)


STRINGS = [
    "the red cat<sosp><1><63><eosp>红色的",
    "  two  spaces  ",
    "a\n\nb\nc\td",
    "😀 never seen é",
    "▁the▁▁ red ▁cat",
    "[question]: what?; [answer]: that<sosp><0><eosp>",
    "<007> <-1> <1.5> <> < 3>",
    "<|start_header_id|>user<|end_header_id|>\n\nx<|eot_id|>",
    "",
]


@pytest.mark.parametrize("string", STRINGS)
def test_mixed_strings_come_back_exactly(vocabulary, string):
    ids = vocabulary.encode(string)
    assert vocabulary.decode(ids) == string
    assert vocabulary.encode(vocabulary.decode(ids)) == ids


def test_many_texts_at_once_are_those_one_by_one(vocabulary):
    assert vocabulary.encode_texts(STRINGS) == list(map(vocabulary.encode_text, STRINGS))
    assert vocabulary.encode_texts([]) == []


def test_every_unit_and_marker_is_one_id(vocabulary):
    ids = vocabulary.encode("".join(f"<{u}>" for u in range(64)) + "<sosp><eosp>[question][answer]")
    assert ids == list(range(vocabulary.unit_offset, vocabulary.unit_offset + 68))
    assert vocabulary.is_unit(np.array(ids)).sum() == 64


def test_the_extension_follows_the_base_and_is_padded(vocabulary):
    assert vocabulary.base_size == vocabulary.eot + 1
    assert vocabulary.size % 128 == 0 and vocabulary.size >= vocabulary.base_size + 68


def test_id_zero_is_an_ordinary_piece(vocabulary):
    assert vocabulary.decode([0]) not in ("", "<unk>", "<pad>")
    assert vocabulary.encode_text(vocabulary.decode([0])) == [0]


def test_plain_text_never_becomes_speech(vocabulary):
    ids = np.array(vocabulary.encode_text("<5><sosp><|eot_id|>"))
    assert ids.max() < min(vocabulary.text.markers.values())


@pytest.mark.parametrize("code", [64, 4450])
def test_a_unit_out_of_range_is_named(vocabulary, code):
    with pytest.raises(BadRecord, match=f"<{code}>.*64 codes"):
        vocabulary.encode(f"<sosp><{code}><eosp>")


@pytest.mark.parametrize("codes", [[0, 64, 1], [3, -1], [-(2**31)]])
def test_the_first_of_many_units_out_of_range_is_named(vocabulary, codes):
    wrong = next(code for code in codes if not 0 <= code < 64)
    with pytest.raises(BadRecord, match=f"<{wrong}>.*64 codes"):
        vocabulary.unit_ids(np.array(codes))


def test_a_saved_vocabulary_is_the_same_one(vocabulary, tmp_path):
    vocabulary.save(tmp_path)
    loaded = JointVocabulary.load(tmp_path)
    assert loaded.sha256 == vocabulary.sha256 and loaded.encode(LINES[0]) == vocabulary.encode(LINES[0])


def test_a_swapped_text_model_is_noticed(vocabulary, tmp_path):
    vocabulary.save(tmp_path)
    (tmp_path / "text.model").write_bytes(SentencePieceText.train(LINES, 330).model)
    with pytest.raises(CslmError, match="text.model"):
        JointVocabulary.load(tmp_path)


@pytest.mark.parametrize("change", [{"sha256": None}, {"codes": "64"}, {"codes": None}, {"pad_to": 0}])
def test_a_wrong_field_of_a_saved_vocabulary_is_named(vocabulary, tmp_path, change):
    vocabulary.save(tmp_path)
    path = tmp_path / "vocabulary.json"
    layout = {field: value for field, value in {**json.loads(path.read_text()), **change}.items() if value is not None}
    for content in (layout, [layout]):
        path.write_text(json.dumps(content))
        with pytest.raises(CslmError, match=str(path)):
            JointVocabulary.load(tmp_path)


@pytest.mark.parametrize(
    ("lines", "pieces", "says"),
    [(LINES, 5000, "pieces is 5000, more than the text yields"), (LINES, 262, "raise it"), ([], 300, "no text")],
)
def test_an_impossible_number_of_pieces_is_named(lines, pieces, says):
    with pytest.raises(CslmError, match=says):
        SentencePieceText.train(lines, pieces)


def test_a_missing_vocabulary_says_how_to_make_one(tmp_path):
    with pytest.raises(CslmError, match="cslm vocabulary"):
        JointVocabulary.load(tmp_path / "nowhere")
