"""Tokens and loss weights of fine-tuning examples, as transformers' chat templates see the same chats.

The templates below are written for this test, after Llama 3's published chat format; `{% generation %}` marks what is trained.
What is trained, and under which token ids, is thus read twice and independently.
"""

import numpy as np
import pytest
from made_up_world import CODES, spoken

from cslm_jax.chat import ChatConfig
from cslm_jax.data.catalogue import tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.data.examples import examples
from cslm_jax.data.records import Dialogue, SpokenDialogue
from cslm_jax.text.export import write_tokenizer
from cslm_jax.text.llama3 import Llama3Text
from cslm_jax.vocabulary import JointVocabulary

HEADER = "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
CONTENT = "{{ message['content'] + '<|eot_id|>' }}"
TEMPLATE = (
    "<|begin_of_text|>{%- for message in messages %}{%- if message['role'] == 'assistant' %}"
    f"{HEADER}{{% generation %}}{CONTENT}{{% endgeneration %}}{{%- else %}}{HEADER}{CONTENT}{{%- endif %}}{{%- endfor %}}"
)
THE_AUTHORS = "<|begin_of_text|>" + TEMPLATE.replace(
    f"{HEADER}{{% generation %}}{CONTENT}", f"{{% generation %}}{HEADER}{CONTENT}"
)
MULTI_TURN = Dialogue(
    id="d",
    language="en",
    turns=(("system", "be kind"), ("user", "hello, 你好"), ("assistant", "hi 😀"), ("user", "why?"), ("assistant", "so\n\n1234")),
)
SPOKEN = SpokenDialogue(
    id="s",
    question={name: spoken(name, 1) for name in ("en", "zh")},
    answer={name: spoken(name, 2, True) for name in ("en", "zh")},
)


@pytest.fixture(scope="module")
def vocabulary(shared_data) -> JointVocabulary:
    return JointVocabulary(Llama3Text.read(shared_data / "llama3_tokenizer.model"), CODES, 128)


@pytest.fixture(scope="module")
def tokenizer(vocabulary, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(vocabulary, folder, units=True)
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("record, task", [(MULTI_TURN, "text_en"), (SPOKEN, "s2s_en_en"), (SPOKEN, "s2s_zh_en")])
@pytest.mark.parametrize(
    "template, config",
    [(TEMPLATE, ChatConfig()), (THE_AUTHORS, ChatConfig(loss_on_header=True, double_bos=True))],
    ids=["ours", "authors"],
)
def test_tokens_and_weights_are_those_of_the_template(vocabulary, tokenizer, record, task, template, config):
    (example,) = examples(record, tasks(("en", "zh"))[task], DataConfig(chat=config), vocabulary)
    read = tokenizer.apply_chat_template(
        _messages(vocabulary.decode(example.tokens)),
        chat_template=template,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    np.testing.assert_array_equal(example.tokens, read["input_ids"])
    np.testing.assert_array_equal(example.loss_weights, read["assistant_masks"])
    assert 0 < example.loss_weights.sum() < len(example.tokens)


def _messages(whole: str) -> list[dict[str, str]]:
    """The chat that a string spells."""
    turns = whole.replace("<|begin_of_text|>", "").split("<|start_header_id|>")[1:]
    pairs = (turn.removesuffix("<|eot_id|>").split("<|end_header_id|>\n\n", 1) for turn in turns)
    return [{"role": role, "content": content} for role, content in pairs]
