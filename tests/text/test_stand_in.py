"""Where there is no vocabulary, synthetic data still has ids; text has none."""

import pytest

from cslm_jax.errors import CslmError
from cslm_jax.text.stand_in import StandInText
from cslm_jax.vocabulary import JointVocabulary


def test_a_stand_in_fills_a_table_of_any_size():
    made = JointVocabulary(StandInText(100), codes=8, pad_to=16)
    assert made.base_size == 100 and made.unpadded_size == 112 and made.eot == 99
    assert JointVocabulary(StandInText(101), codes=8, pad_to=16).sha256 != made.sha256


def test_text_needs_a_vocabulary():
    made = JointVocabulary(StandInText(100), codes=0)
    assert made.decode([5, made.eot]) == "[5]<|eot_id|>"
    with pytest.raises(CslmError, match="cslm vocabulary"):
        made.encode_text("hello")
    with pytest.raises(CslmError, match="cslm vocabulary"):
        made.encode_texts(["hello"])
