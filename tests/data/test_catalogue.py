"""The table of tasks and mixtures, and what a mistyped weight gets to hear."""

import pytest

from cslm_jax.data.catalogue import all_weights, mixture_weights, tasks
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
        ("weights", {"asr_en": -1.0}), ("languages", ("en", "en")), ("seed", -1), ("chunk_size", 0),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field, value):
    with pytest.raises(ValueError, match=f"data.{field}"):
        DataConfig(**{field: value})
