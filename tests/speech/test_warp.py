"""Alignment by warping: espeak-ng itself says when it spoke a word, which is what the times are compared with."""

import csv

import numpy as np
import pytest

from cslm_jax.errors import BadRecord
from cslm_jax.speech import align, audio
from cslm_jax.speech.chunks import chunk
from cslm_jax.speech.espeak import Voice, speak_with_marks
from cslm_jax.speech.warp import _starts, align_spoken

TEXTS = {
    "en": "Well, the old man sees a red house by the river. It costs 42 dollars, and nobody wants to buy it.",
    "zh": "给定一个名人，给出关于他们生活、事业或其他方面的某些事实。",
    "hi": "नमस्ते दुनिया, आज मौसम बहुत अच्छा है और हम पार्क जा रहे हैं।",
    "fr": "Le vieil homme voit une maison rouge, au bord de la rivière. Elle coûte 42 euros.",
}


@pytest.mark.parametrize("voice", [Voice("f4", 150, 65), Voice("m3", 200, 40)])
@pytest.mark.parametrize("language", TEXTS)
def test_words_of_other_voices_are_found_where_they_were_said(language, voice):
    text = TEXTS[language]
    waveform, marks = speak_with_marks(text, language, voice)
    noise = np.random.default_rng(0).normal(0, 0.003, len(waveform))
    words = align_spoken(text, language, (waveform + noise).astype(np.float32))
    assert [(word.start_char, word.end_char) for word in words] == align.words(text, language)
    errors = [abs(word.start_s - marks[word.start_char]) for word in words if word.start_char in marks]
    assert len(errors) > 0.8 * len(words)
    assert np.quantile(errors, 0.9) < 0.06 and max(errors) < 0.2
    assert all(a.start_s < a.end_s <= b.start_s for a, b in zip(words, words[1:], strict=False))


def test_english_words_inside_chinese_are_found():
    """One word each, however many syllables; what espeak-ng does not mark lies between its neighbours."""
    text = "我在用iPhone和Google搜索，你好吗？"
    waveform, marks = speak_with_marks(text, "zh", Voice("f4", 150, 65))
    words = {text[word.start_char : word.end_char]: word for word in align_spoken(text, "zh", waveform)}
    for name in ("iPhone", "Google", "你"):
        assert abs(words[name].start_s - marks[text.index(name)]) < 0.1
    assert words["搜"].start_s < words["索"].start_s < words["索"].end_s <= words["你"].start_s


def test_words_without_a_mark_share_the_time_that_is_left():
    """At the end and at the beginning too; marks never run backwards."""
    spans = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert _starts(spans, {1: 0.4, 2: 0.9}, 1.5).tolist() == pytest.approx([0.0, 0.4, 0.9, 1.1, 1.3])
    assert _starts(spans, {0: 0.0, 1: 0.5, 2: 0.3, 3: 0.6, 4: 0.7}, 0.6).tolist() == [0.0, 0.5, 0.5, 0.6, 0.7]
    with pytest.raises(BadRecord, match="marks no word"):
        _starts(spans, {9: 0.4}, 1.5)


@pytest.mark.parametrize("text, seconds", [("yes", 0.3), ("yes", 30.0), ("yes no", 0.1)])
def test_words_lie_inside_the_sound_whatever_it_is(text, seconds):
    """Noise, as short as may be, or far longer than the text."""
    noise = np.random.default_rng(0).normal(0, 0.01, int(16000 * seconds)).astype(np.float32)
    times = [time for word in align_spoken(text, "en", noise) for time in (word.start_s, word.end_s)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= seconds and times[-1] > times[0]


def test_hours_are_refused_and_not_compared():
    with pytest.raises(BadRecord, match="1200 s of sound"):
        align_spoken("one two three " * 100, "en", np.random.default_rng(0).normal(size=1200 * 16000).astype(np.float32))


def test_a_pause_belongs_to_no_word():
    waveform, marks = speak_with_marks("the old man sees a house", "en")
    cut = round(marks[12] * 16000)
    paused = np.concatenate([waveform[:cut], np.zeros(16000, np.float32), waveform[cut:]])
    words = align_spoken("the old man sees a house", "en", paused)
    assert words[2].end_s < marks[12] + 0.1 and words[3].start_s > marks[12] + 0.9


def test_real_speech_is_cut_in_its_pauses(shared_data):
    """A recorded question with two commas' pauses of more than 0.3 s: the cuts between its pieces fall into silence."""
    folder = shared_data / "real_speech" / "zh_questions"
    with (folder / "transcripts.tsv").open(encoding="utf-8") as table:
        texts = {row["file"]: row["text"] for row in csv.DictReader(table, delimiter="\t")}
    waveform = audio.load(folder / "30.wav")
    words = align_spoken(texts["30.wav"], "zh", waveform)
    pieces = chunk(texts["30.wav"], words, 4, len(waveform) / 16000)
    level = np.convolve(np.abs(waveform), np.ones(320) / 320, "same") / np.abs(waveform).mean()
    at = {piece.text: level[int(piece.end_s * 16000)] for piece in pieces[:-1]}
    assert at["给定一个名人，"] < 0.05 and at["事业或其他方面的某些事实。"] < 0.05


def test_too_little_sound_and_no_word():
    with pytest.raises(BadRecord, match="5 words in 0.05 s"):
        align_spoken("one two three four five", "en", np.ones(800, np.float32))
    with pytest.raises(BadRecord, match="no word"):
        align_spoken("...", "en", np.ones(16000, np.float32))
