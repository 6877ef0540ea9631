"""The table of tasks and mixtures, and what a mistyped weight gets to hear."""

import pytest

from cslm_jax.data.catalogue import all_weights, mixture_weights, tasks, weights_per
from cslm_jax.data.config import DataConfig
from cslm_jax.errors import CslmError

TWO = ("en", "zh")


def test_tasks_of_two_languages():
    assert set(tasks(TWO)) == {
        "asr_en", "asr_zh", "tts_en", "tts_zh", "text_en", "text_zh", "mt_en_zh", "mt_zh_en",
        "s2s_en_en", "s2s_en_zh", "s2s_zh_en", "s2s_zh_zh", "text_stage0",
    }  # fmt: skip


def test_a_third_language_is_one_word():
    assert {"asr_fr", "mt_fr_zh", "s2s_en_fr"} <= set(tasks(("en", "zh", "fr")))


def test_weights_replace_and_zero_removes():
    weights = mixture_weights("cslm_cpt", TWO, {"mt_en_zh": 0, "asr_en": 0.5, "s2s_en_en": 0.1})
    assert "mt_en_zh" not in weights and weights["asr_en"] == 0.5 and weights["s2s_en_en"] == 0.1
    assert weights["tts_en"] == mixture_weights("cslm_cpt", TWO)["tts_en"]


def test_all_weights_name_every_task():
    weights = all_weights("cslm_sft", TWO)
    assert set(weights) == set(tasks(TWO)) and weights["asr_en"] == 0 and sum(weights.values()) == pytest.approx(1)


def test_the_papers_pretraining_mixture_is_its_table():
    """10.1 billion tokens: 6.1 of speech and 3.9 of text, rounded corpus by corpus; half of the English is read, half written."""
    weights = mixture_weights("cslm_cpt_paper", TWO)
    assert sum(weights.values()) == pytest.approx(10.1)
    assert weights["asr_en"] == weights["tts_en"] == pytest.approx(2.6)
    assert (weights["asr_zh"], weights["tts_zh"]) == (1.6, 0.8)
    assert weights["mt_en_zh"] == weights["mt_zh_en"] == pytest.approx(0.3)
    assert weights["text_en"] + weights["text_zh"] == pytest.approx(1.9)


def test_the_papers_tuning_mixture_counts_examples():
    """Thousands: 200 a language, 52 entries of Alpaca in both languages, 400 of text and 200 of translation."""
    weights = mixture_weights("cslm_sft_paper", TWO)
    assert (weights["s2s_en_en"], weights["s2s_zh_zh"]) == (200, 200)
    assert weights["s2s_en_zh"] + weights["s2s_zh_en"] == 104
    assert weights["text_en"] + weights["text_zh"] == 400 and weights["mt_en_zh"] + weights["mt_zh_en"] == 200
    assert (weights_per("cslm_sft_paper"), weights_per("cslm_cpt_paper")) == ("examples", "tokens")


def test_a_paper_weight_is_one_override():
    assert mixture_weights("cslm_cpt_paper", TWO, {"mt_en_zh": 0, "asr_en": 5.2})["asr_en"] == 5.2


@pytest.mark.parametrize(
    ("mixture", "weights", "says"),
    [
        ("cslm_cpt", {"asr_eng": 1.0}, "Did you mean 'asr_en'"),
        ("cslm_ctp", {}, "Did you mean 'cslm_cpt'"),
        ("cslm_cpt", dict.fromkeys(tasks(TWO), 0.0), "no task"),
    ],
)
def test_mistakes_are_named(mixture, weights, says):
    with pytest.raises(CslmError, match=says):
        mixture_weights(mixture, TWO, weights)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("row_length", 0), ("global_batch", -1), ("response_form", "interleave"), ("weights_per", "token"),
        ("weights", {"asr_en": -1.0}), ("languages", ("en", "en")), ("seed", -1), ("chunk_size", 0), ("mt_tokens", (128, 64)),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field, value):
    with pytest.raises(ValueError, match=f"data.{field}"):
        DataConfig(**{field: value})
