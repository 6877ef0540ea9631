"""Translation: asked once and rightly, and what is no translation is not taken for one."""

import dataclasses

import pytest
from conftest import completion

from cslm_jax.data.speak.cache import Cache
from cslm_jax.data.speak.config import EndpointConfig, TranslatorConfig
from cslm_jax.data.speak.translate import check, translate
from cslm_jax.errors import BadRecord, CslmError, TryAgain

TEXT = "Why is the sky blue, and {source} not?"
CHINESE = "天空为什么是蓝色的？"


@pytest.fixture
def config(server) -> TranslatorConfig:
    server.answer = lambda request, before: (200, {}, completion(f" {CHINESE}\n"))
    endpoint = EndpointConfig(server.url + "/v1", attempts=2, backoff_s=0.01)
    return TranslatorConfig(endpoint, "qwen", body={"max_tokens": 99})


@pytest.fixture
def translated(tmp_path):
    def translated(config, text=TEXT, source="en", target="zh", failures_in_a_row=20):
        return translate(text, source, target, "question[en]", config, Cache(tmp_path), failures_in_a_row)

    return translated


def test_a_translation_is_asked_for_once(server, config, translated):
    assert translated(config) == translated(config) == CHINESE
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert (request.json["model"], request.json["temperature"], request.json["max_tokens"]) == ("qwen", 0, 99)
    (message,) = request.json["messages"]
    assert message["role"] == "user" and message["content"].endswith(TEXT)
    assert "from English into Chinese" in message["content"]
    translated(dataclasses.replace(config, model="llama"))
    translated(config, "Why?")
    assert len(server.requests) == 3


def test_a_prompt_of_ones_own_for_a_direction(server, config, translated):
    translated(dataclasses.replace(config, prompts={"en-zh": "译成{target}：{text}"}))
    assert server.requests[0].json["messages"][0]["content"] == f"译成Chinese：{TEXT}"
    with pytest.raises(ValueError, match="translator.prompts.en-zh"):
        dataclasses.replace(config, prompts={"en-zh": "Translate."})


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ((200, b"<html>login</html>"), TryAgain, "no chat completion: b'<html>"),
        ((200, b"[]"), TryAgain, "no chat completion"),
        ((200, b'{"choices": []}'), TryAgain, "no chat completion"),
        ((200, b'{"choices": [{"message": {}}]}'), TryAgain, "no chat completion"),
        ((200, completion(" ")), BadRecord, "is empty"),
        ((200, completion(None)), BadRecord, "is empty"),
        ((200, completion("天空", "length")), BadRecord, "cut off; see max_tokens"),
        ((200, completion("The sky is blue.")), BadRecord, "not written in Chinese"),
        ((200, completion("<think>天空</think>天空为什么蓝")), BadRecord, "<think>"),
        ((200, completion("天空" * 99)), BadRecord, "has 198 words, the text 8"),
        ((500, b"overloaded"), TryAgain, "status 500: overloaded (2 attempts)"),
        ((400, b'{"error": {"message": "content filter"}}'), TryAgain, "status 400: content filter"),
    ],
)
def test_what_is_no_translation(server, config, translated, answer, error, says):
    server.answer = lambda request, before: (answer[0], {}, answer[1])
    with pytest.raises(BadRecord) as caught:
        translated(config)
    assert type(caught.value) is error and caught.value.stage == "translate"
    assert "field `question[en]` into Chinese" in caught.value.reason and says in caught.value.reason


def test_a_bad_translation_is_not_paid_for_again(server, config, translated):
    server.answer = lambda request, before: (200, {}, completion("The sky is blue."))
    for _ in range(2):
        with pytest.raises(BadRecord, match="not written in Chinese"):
            translated(config)
    assert len(server.requests) == 1


def test_a_model_that_never_translates_stops_the_work(server, config, translated):
    server.answer = lambda request, before: (200, {}, completion("The sky is blue."))
    for i in range(4):
        with pytest.raises(BadRecord):
            translated(config, f"{TEXT} {i}", failures_in_a_row=5)
    with pytest.raises(CslmError, match="chat/completions failed for 5 texts in a row, .*not written in Chinese"):
        translated(config, TEXT, failures_in_a_row=5)


def test_a_wrong_model_stops_the_work(server, config, translated):
    server.answer = lambda request, before: (404, {}, b'{"error": {"message": "The model `qwen` does not exist."}}')
    with pytest.raises(CslmError, match="status 404: The model `qwen` does not exist.; mend") as caught:
        translated(config)
    assert not isinstance(caught.value, BadRecord)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (CHINESE, "zh"),
        ("我用 TensorFlow 和 JAX 训练模型。", "zh"),
        ("42", "zh"),
        ("Pourquoi le ciel est-il bleu ?", "fr"),
        ("The word 红 means red.", "en"),
        ("空はなぜ青いのですか。", "ja"),
        ("하늘은 왜 파란가요?", "ko"),
        ("Почему небо голубое?", "ru"),
    ],
)
def test_good_translations_pass(text, target):
    assert check(text, "Why is the sky blue? ", "en", target) == text


@pytest.mark.parametrize(
    ("answer", "target", "says"),
    [
        ("天空为什么是蓝色的", "en", "not written in English"),
        ("Why is the sky blue, or so?", "zh", "not written in Chinese"),
        ("Почему небо голубое?", "fr", "not written in French"),
        ("Why is the sky blue, and why at noon?", "fr", "came back as it was"),
    ],
)
def test_the_wrong_language_does_not(answer, target, says):
    with pytest.raises(BadRecord, match=says):
        check(answer, "Why is the sky blue, and why at noon?", "en", target)
    with pytest.raises(BadRecord, match="has 1 words, the text 80"):
        check("Oui.", "many words " * 40, "en", "fr")
