"""What was there is remembered, and nothing else, however often the latest are merged into the rest."""

import random

import pytest

from cslm_jax.data.corpora._ids import Ids


@pytest.mark.parametrize("least", [0, 7, 1 << 16])
def test_it_answers_what_a_set_answers(least):
    ids, reference, draw = Ids(least), set(), random.Random(0)
    for _ in range(5000):
        id = f"speaker_{draw.randrange(3000)}"
        assert ids.add(id) == (id not in reference)
        reference.add(id)
