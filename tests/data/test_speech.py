"""What the speech models are trained on: never what is held out, and for the decoder only the voice of the answers."""

import itertools

import pytest

from cslm_jax.data import corpora, speech
from cslm_jax.data.corpora import CorpusConfig, Recording, SpokenDialogueItem
from cslm_jax.errors import CslmError
from cslm_jax.miniature.defaults import CORPORA
from cslm_jax.miniature.voices import ANSWER_VOICE

ANSWERING = {voice.speaker for voice in ANSWER_VOICE.values()}


def held_out_texts() -> set[str]:
    items = itertools.chain(*(corpora.read(corpus) for corpus in CORPORA))
    held_out = (item for item in items if item.split == "validation")
    recordings = ((item,) if isinstance(item, Recording) else getattr(item, "recordings", ()) for item in held_out)
    return {recording.text for group in recordings for recording in group}


@pytest.fixture(scope="module")
def samples():
    return {pick: speech._sample(CORPORA, 3000, 0, pick) for pick in (speech._in_any_voice, speech._in_the_answer_voice)}


def test_nothing_held_out_is_trained_on(samples):
    held_out = held_out_texts()
    assert held_out
    assert not any(recording.text in held_out for sample in samples.values() for recording in sample)


def test_the_decoder_hears_the_answer_voice_only_and_the_tokenizer_many(samples):
    assert {recording.speaker for recording in samples[speech._in_the_answer_voice]} == ANSWERING
    assert len({recording.speaker for recording in samples[speech._in_any_voice]}) > 500


def test_the_decoder_hears_both_readings_and_answers(samples):
    kinds = {recording.id.split("-")[0] for recording in samples[speech._in_the_answer_voice]}
    assert kinds == {"reading", "answer"}


def test_no_speaker_has_more_than_his_share():
    sample = speech._sample(CORPORA, 3000, 0, speech._in_any_voice, speaker_share=0.2)
    assert len(sample) == 3000
    assert sum(recording.speaker in ANSWERING for recording in sample) == 600


def test_a_sample_is_the_same_for_the_same_seed(samples):
    again = speech._sample(CORPORA, 3000, 0, speech._in_any_voice)
    assert [recording.id for recording in again] == [recording.id for recording in samples[speech._in_any_voice]]


def test_corpora_without_sound_are_named():
    with pytest.raises(CslmError, match="config.corpora"):
        speech._sample((CorpusConfig("t", "miniature", "translations"),), 10, 0, speech._in_any_voice)


def test_recordings_without_usable_sound_are_named(tmp_path):
    (tmp_path / "manifest.tsv").write_text("file\ttext\nnowhere.wav\ta dog\n")
    recordings = speech._sample((CorpusConfig("mine", "manifest", str(tmp_path)),), 10, 0, speech._in_any_voice)
    with pytest.raises(CslmError, match="none of the 1 recordings .* usable sound; the first: .*nowhere.wav"):
        speech._load(recordings, 1)


def test_each_part_of_the_miniature_has_both_sides_of_the_split_and_both_languages():
    for corpus in CORPORA:
        items = list(corpora.read(corpus))
        assert {item.split for item in items} == {"train", "validation"}, corpus.name
        for item in items[:50]:
            if isinstance(item, SpokenDialogueItem):
                assert set(item.question) == set(item.answer) == {"en", "zh"}


def test_an_unknown_part_of_the_miniature_is_named():
    with pytest.raises(CslmError, match="readings"):
        list(corpora.read(CorpusConfig("r", "miniature", "reading")))
