"""Golden chats: the exact token stream and loss weights of the method, and reading responses back."""

import numpy as np
import pytest

from cslm_jax import chat
from cslm_jax.chat import ChatConfig, Marker, Message, Units
from cslm_jax.text.sentencepiece import SentencePieceText
from cslm_jax.vocabulary import JointVocabulary

LINES = ["user assistant system This is input: where does the cat live? it lives there, near the house."] * 50
PIECES = [("it lives there, ", np.array([1, 2, 3])), ("near the house.", np.array([3, 5]))]


@pytest.fixture(scope="module")
def vocabulary() -> JointVocabulary:
    return JointVocabulary(SentencePieceText.train(LINES, 330), codes=64)


def turn(role: str, content: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>"


FORMS = {
    "interleaved": "[question]: where?; [answer]: it lives there, <sosp><1><2><3><eosp>near the house.<sosp><3><5><eosp>",
    "full": "[question]: where?; [answer]: it lives there, near the house.<sosp><1><2><3><5><eosp>",
    "without_tq": "[answer]: it lives there, <sosp><1><2><3><eosp>near the house.<sosp><3><5><eosp>",
}


@pytest.mark.parametrize("form", FORMS)
def test_response_forms(vocabulary, form):
    content = chat.response("where?", PIECES, form, vocabulary)
    messages = [Message("user", ("This is input: ", Units(np.array([7, 9])), ".")), Message("assistant", content)]
    encoded = chat.encode(messages, vocabulary)
    user = turn("user", "This is input: <sosp><7><9><eosp>.")
    assert vocabulary.decode(encoded.tokens) == "<|begin_of_text|>" + user + turn("assistant", FORMS[form])


def test_fixed_ratio_is_13_text_tokens_then_26_units(vocabulary):
    units = np.arange(90) % 64
    text = "it lives there, near the house. " * 4
    content = chat.response("where?", [(text, units)], "fixed_ratio", vocabulary)[4:]
    sizes = [len(part.ids) if isinstance(part, chat.TextIds) else len(part.codes) for part in content]
    assert sizes[:4] == [13, 26, 13, 26] and sum(sizes[0::2]) == len(vocabulary.encode_text(text))
    assert sum(sizes[1::2]) == 90
    encoded = chat.encode([Message("assistant", (Marker.ANSWER, ": ", *content))], vocabulary)
    parsed = chat.parse(encoded.tokens[encoded.loss_weights == 1], vocabulary)
    assert parsed.text == text.strip() and parsed.units.tolist() == units.tolist()


def test_many_chats_at_once_are_those_one_by_one(vocabulary):
    """Whatever they share, however their texts and units stand beside each other, and if one says nothing."""
    chats = [
        [Message("user", ("where?",)), Message("assistant", ("there.",))],
        [Message("user", ("This is input: ", Units(np.array([7, 9])), ".")), Message("assistant", ("where", "?"))],
        [Message("user", ())],
        [Message("system", ("where?",)), Message("assistant", ("", "it ", "lives", Units(np.array([1])), "", " there"))],
    ]
    together = chat.finish([chat.draft(messages, vocabulary) for messages in chats], vocabulary)
    for messages, encoded in zip(chats, together, strict=True):
        said = "".join(turn(message.role, "".join(map(written, message.content))) for message in messages)
        assert encoded.tokens.tolist() == [vocabulary.bos, *vocabulary.encode(said)]
        assert encoded.tokens.dtype == np.int32 and encoded.loss_weights.dtype == np.float32
        assert np.array_equal(encoded.loss_weights, chat.encode(messages, vocabulary).loss_weights)


def written(part) -> str:
    return part if isinstance(part, str) else "<sosp>" + "".join(f"<{code}>" for code in part.codes) + "<eosp>"


def test_only_assistant_content_and_its_end_are_trained_in_every_turn(vocabulary):
    messages = [Message("system", ("x",)), *[Message("user", ("where?",)), Message("assistant", ("there.",))] * 2]
    encoded = chat.encode(messages, vocabulary)
    trained = vocabulary.decode(encoded.tokens[encoded.loss_weights == 1])
    assert trained == "there.<|eot_id|>" * 2
    assert (encoded.tokens == vocabulary.bos).sum() == 1


def test_the_authors_variant_trains_the_header_and_doubles_bos(vocabulary):
    encoded = chat.encode([Message("user", ("where?",)), Message("assistant", ("there.",))], vocabulary, ChatConfig(True, True))
    assert vocabulary.decode(encoded.tokens[encoded.loss_weights == 1]) == turn("assistant", "there.")
    assert encoded.tokens[:2].tolist() == [vocabulary.bos] * 2


def test_prompt_ends_where_the_assistant_begins(vocabulary):
    user, answer = Message("user", ("where?",)), Message("assistant", ("there.",))
    whole = chat.encode([user, answer], vocabulary)
    prompt = chat.prompt([user], vocabulary)
    assert len(prompt) == int(np.argmax(whole.loss_weights)) and np.array_equal(prompt, whole.tokens[: len(prompt)])


@pytest.mark.parametrize("form", ["interleaved", "full", "without_tq"])
def test_parse_gives_back_what_response_wrote(vocabulary, form):
    content = chat.response("where?", PIECES, form, vocabulary)
    encoded = chat.encode([Message("assistant", content)], vocabulary)
    parsed = chat.parse(encoded.tokens[encoded.loss_weights == 1], vocabulary)
    assert parsed.question == (None if form == "without_tq" else "where?")
    assert parsed.text == "it lives there, near the house."
    assert parsed.units.tolist() == [1, 2, 3, 5] and not parsed.complaints


@pytest.mark.parametrize(
    ("string", "question", "text", "units", "complaint"),
    [
        ("", None, "", [], None),
        ("[question]: where?; ", "where?", "", [], None),
        ("[answer]: it<sosp><1><2>", None, "it", [1, 2], "ended before <eosp>"),
        ("it<1><2><eosp>", None, "it", [1, 2], "outside of <sosp>"),
        ("[answer]: it<sosp><1>lives<2><eosp>", None, "itlives", [1, 2], "text inside speech"),
        ("[question]: where?<sosp><1><eosp>", "where?", "", [1], "before [answer]"),
        ("<eosp>[answer]: it<sosp><sosp><4><eosp>", None, "it", [4], "<sosp> inside speech"),
        ("[question]: a?; [question]: b?; [answer]: it", "a? b?", "it", [], "second [question]"),
        ("[answer]: it<sosp><1><eosp>[answer]: lives", None, "itlives", [1], "second [answer]"),
        ("[answer]: it[question]: a?; [answer]: lives", "a?", "itlives", [], "second [answer]"),
        ("[answer]: it[question]: a?; ", "a?", "it", [], "[question] after [answer]"),
        ("[answer]: it<|start_header_id|>lives", None, "itlives", [], "<|start_header_id|> inside the response"),
        ("[answer]: it<sosp><1><|begin_of_text|><2><eosp>", None, "it", [1, 2], "<|begin_of_text|> inside"),
        ("[answer]<sosp><1><eosp>: it", None, ": it", [1], None),
        (": it", None, ": it", [], None),
    ],
)
def test_malformed_output_is_kept_and_named(vocabulary, string, question, text, units, complaint):
    parsed = chat.parse(vocabulary.encode(string), vocabulary)
    assert (parsed.question, parsed.text, parsed.units.tolist()) == (question, text, units)
    assert any(complaint in said for said in parsed.complaints) if complaint else not parsed.complaints


def test_a_piece_is_out_as_soon_as_its_speech_ends(vocabulary):
    parser = chat.ResponseParser(vocabulary)
    seen = [parser.feed(t) for t in vocabulary.encode("[answer]: it<sosp><1><eosp>lives<sosp><2><eosp>")]
    done = [i for i, piece in enumerate(seen) if piece is not None]
    ids = vocabulary.encode("[answer]: it<sosp><1><eosp>lives<sosp><2><eosp>")
    assert done == [i for i, t in enumerate(ids) if t == vocabulary.eosp]
