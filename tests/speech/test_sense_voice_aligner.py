"""SenseVoice as an aligner: the columns of its characters, sound that is not padded, and words with times."""

import io

import jax
import numpy as np
import pytest
import sentencepiece
from flax import nnx
from safetensors.numpy import save_file

from cslm_jax.errors import CslmError
from cslm_jax.speech.align import align
from cslm_jax.speech.sense_voice import SenseVoiceConfig
from cslm_jax.speech.sense_voice_aligner import PIECES, STATISTICS, SenseVoiceAligner
from cslm_jax.speech.sense_voice_weights import load_published, published_shapes


def pieces():
    """A vocabulary with characters, letters, English words and digits, like the published one."""
    model = io.BytesIO()
    text = ["今天天气很好 the people 3", "我们 the people 今カナ々"] * 5
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=model, vocab_size=50, hard_vocab_limit=False, model_type="bpe", minloglevel=2
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("SenseVoiceSmall")
    (path / PIECES).write_bytes(pieces())
    rng = np.random.default_rng(0)
    shift, scale = (" ".join(map(str, rng.normal(mean, 0.1, 560))) for mean in (-10, 0.2))
    layers = f"<AddShift> 560 560\n<LearnRateCoef> 0 [ {shift} ]\n<Rescale> 560 560\n<LearnRateCoef> 0 [ {scale} ]\n"
    (path / STATISTICS).write_text(f"<Nnet>\n<Splice> 560 560\n[ 0 ]\n{layers}</Nnet>\n")
    shapes = published_shapes(config(path))
    save_file(
        {name: 0.2 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}, path / "model.safetensors"
    )
    return path


def config(folder):
    labels = len(sentencepiece.SentencePieceProcessor(model_file=str(folder / PIECES)))
    return SenseVoiceConfig(width=32, heads=2, mlp_width=48, blocks=3, tp_blocks=2, labels=labels)


@pytest.fixture(scope="module")
def aligner(folder):
    return SenseVoiceAligner.load(folder, config=config(folder))


@pytest.fixture(scope="module")
def waveforms():
    rng = np.random.default_rng(1)
    return [(0.1 * rng.normal(size=size)).astype(np.float32) for size in (1600, 30_000, 16_000, 60_000, 31_000)]


def test_labels_are_the_characters_that_are_words(aligner):
    assert "".join(aligner.labels.characters) == "".join(sorted("今天气很好我们カナ々"))


def test_columns_are_those_of_the_blank_and_the_characters(aligner, folder, waveforms):
    """The network by itself on one utterance; no column is taken for another."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / PIECES))
    features = aligner.features(waveforms[1])
    whole = np.asarray(nnx.jit(load_published(folder, config(folder)))(features[None], np.array([len(features)])))[0]
    (found,) = aligner.log_probs(waveforms[1:2])
    assert found.dtype == np.float32 and found.shape == (31, aligner.labels.size)
    columns = [0, *map(processor.piece_to_id, aligner.labels.characters)]
    np.testing.assert_allclose(found, whole[:, columns], atol=1e-4)
    assert np.all(np.exp(found).sum(axis=1) < 1)


def test_a_batch_gives_exactly_what_single_runs_give(aligner, waveforms):
    for together, waveform in zip(aligner.log_probs(waveforms), waveforms, strict=True):
        (alone,) = aligner.log_probs([waveform])
        np.testing.assert_array_equal(together, alone)


def test_frames_are_60_ms(aligner, waveforms):
    for log_probs, waveform in zip(aligner.log_probs(waveforms), waveforms, strict=True):
        assert -0.025 <= len(log_probs) / aligner.frame_rate - len(waveform) / 16000 <= 0.06


def test_words_of_a_text_get_times(aligner, waveforms):
    """An English word inside Chinese is one star: it has a time, although none of its letters has a label."""
    text = "今天the people很好！"
    (log_probs,) = aligner.log_probs(waveforms[3:4])
    found = align(text, "zh", log_probs, aligner.labels, aligner.frame_rate)
    assert [text[word.start_char : word.end_char] for word in found] == ["今", "天", "the", "people", "很", "好"]
    times = [time for word in found for time in (word.start_s, word.end_s)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= len(log_probs) * 0.06


def test_several_devices_give_exactly_what_one_gives(aligner, folder, waveforms):
    model, characters = load_published(folder, config(folder)), dict(zip(aligner.labels.characters, aligner.labels.ids))
    spread, one = (
        SenseVoiceAligner(model, characters, aligner.normalisation, devices=jax.local_devices()[:count]) for count in (8, 1)
    )
    assert len(jax.local_devices()) == 8
    for several, alone in zip(spread.log_probs(waveforms), one.log_probs(waveforms), strict=True):
        np.testing.assert_array_equal(several, alone)


def test_what_is_no_sound_says_why_and_the_others_go_on(aligner, waveforms):
    silent, short, good = aligner.log_probs([np.zeros(16000, np.float32), waveforms[0][:399], waveforms[0]])
    assert "is silent" in silent.reason and "lasts 0.02 s" in short.reason
    np.testing.assert_array_equal(good, aligner.log_probs(waveforms[:1])[0])


def test_the_language_is_asked_for(aligner, folder, waveforms):
    other = SenseVoiceAligner.load(folder, "ja", config(folder))
    assert np.abs(other.log_probs(waveforms[:1])[0] - aligner.log_probs(waveforms[:1])[0]).max() > 1e-3
    with pytest.raises(CslmError, match="aligns zh, yue, ja, not 'ko'"):
        SenseVoiceAligner.load(folder, "ko", config(folder))


def test_pieces_of_another_network_are_refused(folder, tmp_path):
    with pytest.raises(CslmError, match=f"{PIECES} has .* pieces, and the network 25055 labels"):
        SenseVoiceAligner.load(folder)
    with pytest.raises(CslmError, match=f"{PIECES} cannot be read"):
        SenseVoiceAligner.load(tmp_path)
