"""Protects streaming: a piece is handed out before the LM has gone on, and nothing of the answer is lost."""

import numpy as np
import pytest
from script import PIECES, Script, answer

from cslm_jax import chat
from cslm_jax.chat import Message, ResponsePiece
from cslm_jax.generate.sampling import SamplingConfig
from cslm_jax.generate.stream import Finished, Heard, stream


def test_the_question_and_the_pieces_come_in_order(vocabulary):
    events = list(stream(Script(vocabulary, answer(vocabulary)), np.array([1]), SamplingConfig()))
    assert [type(event) for event in events] == [Heard, ResponsePiece, ResponsePiece, Finished]
    assert events[0].text == "where is the fox?"
    for event, (text, units) in zip(events[1:3], PIECES):
        assert event.text == text and np.array_equal(event.units, units)
    assert events[-1] == Finished(len(answer(vocabulary)) - 1, ())


@pytest.mark.parametrize("block", [1, 3, 16])
def test_a_piece_is_out_with_the_block_that_closes_it(vocabulary, block):
    tokens = answer(vocabulary)
    script = Script(vocabulary, tokens)
    ends = iter(np.flatnonzero(tokens == vocabulary.eosp) + 1)
    for event in stream(script, np.array([1]), SamplingConfig(), block):
        if isinstance(event, ResponsePiece):
            assert script.read - block < next(ends) <= script.read


def test_a_cut_off_answer_still_gives_what_there_is(vocabulary):
    tokens = answer(vocabulary)
    cut = tokens[: np.flatnonzero(tokens == vocabulary.eosp)[-1] - 1]
    events = list(stream(Script(vocabulary, cut), np.array([1]), SamplingConfig()))
    assert events[2].text == PIECES[1][0] and events[2].units.tolist() == [4]
    assert "ended before <eosp>" in events[-1].complaints[0]


def test_without_tq_nothing_is_heard(vocabulary):
    events = list(stream(Script(vocabulary, answer(vocabulary, "without_tq")), np.array([1]), SamplingConfig()))
    assert [type(event) for event in events] == [ResponsePiece, ResponsePiece, Finished]


def test_a_real_model_streams_what_it_generates(generator, vocabulary):
    """Whatever random weights say, the stream reads it as the parser of whole answers does."""
    prompt = chat.prompt([Message("user", ("where is the fox?",))], vocabulary)
    sampling = SamplingConfig(max_new_tokens=50, top_p=1.0, seed=2)
    events = list(stream(generator, prompt, sampling))
    whole = chat.parse(generator.generate([prompt], sampling)[0], vocabulary)
    pieces = [event for event in events if isinstance(event, ResponsePiece)]
    assert [piece.text for piece in pieces] == [piece.text for piece in whole.pieces]
    assert all(np.array_equal(a.units, b.units) for a, b in zip(pieces, whole.pieces))
    assert events[-1].complaints == whole.complaints
