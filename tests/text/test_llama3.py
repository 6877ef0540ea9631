"""Llama 3's tokenizer: the ids of an independent implementation, and markers that text cannot write."""

import base64
import dataclasses
import json
import random
from pathlib import Path

import pytest
import tiktoken
from tokenizers import Tokenizer

from cslm_jax import config as experiments
from cslm_jax.data.text import make_vocabulary
from cslm_jax.errors import CslmError
from cslm_jax.text.llama3 import Llama3Text
from cslm_jax.text.llama3_json import from_ranks
from cslm_jax.vocabulary import JointVocabulary

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "llama3_tokenizer.model"
# The split that Meta publishes with the weights, written here once more: the two must agree.
SPLIT = "|".join([
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+",
    r"\s+(?!\S)", r"\s+",
])  # fmt: skip
TEXTS = [
    "The cook lives by the river, doesn't she? I'LL ask.",
    "红色的猫住在花园里，它喜欢吃鱼。今天是2026年11月21日。",
    "😀👩‍👩‍👧‍👦 naïve café\u0301 Ωmega \u202eright",
    "def f(x):\n    return {'a': x ** 2}  # 12345678\n\n\n\t\r\nend  ",
    "1234567.89 and 3,141,592 ＡＢＣ ﷽",
    "mixed 中文 and English混在一起, twice  as  spaced",
    "",
    " ",
    "\n\n",
]

MISPLACED = {"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"id": 5, "content": "x"}]}
MARKERS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
UNMERGED = {
    "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["b", "c"]]},
    "added_tokens": [{"id": i + 1, "content": marker} for i, marker in enumerate(MARKERS)],
}
OTHER_CHAT = {"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "<|im_start|>"}]}


@pytest.fixture(scope="module")
def text() -> Llama3Text:
    if not PUBLISHED.is_file():
        pytest.skip("needs Llama 3's tokenizer.model")
    return Llama3Text.read(PUBLISHED)


@pytest.fixture(scope="module")
def reference(text) -> tiktoken.Encoding:
    lines = PUBLISHED.read_bytes().splitlines()
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in map(bytes.split, lines)}
    return tiktoken.Encoding("llama3", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})


def test_many_texts_at_once_are_those_of_tiktoken(text, reference):
    assert text.encode_all(TEXTS) == [reference.encode_ordinary(string) for string in TEXTS]


def test_ids_are_those_of_tokenizers_too(text):
    """Which reads the file itself; long repetitions are where tiktoken alone would give up."""
    other = Tokenizer.from_str(text.model.decode())
    for string in (*TEXTS, "^" * 300_000, " " * 99_999, "".join(map(chr, range(32, 0xD800, 7)))):
        assert text.encode(string) == other.encode(string, add_special_tokens=False).ids


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole.update(
            pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        ),
        lambda whole: whole.update(normalizer={"type": "NFC"}),
        lambda whole: whole["model"].update(ignore_merges=False),
        lambda whole: whole["model"]["merges"].reverse(),
    ],
)
def test_a_tokenizer_that_works_otherwise_is_read_as_it_is(small, change):
    """No faster way than that of `tokenizers` itself is taken then."""
    change(small)
    made, other = Llama3Text(json.dumps(small).encode()), Tokenizer.from_str(json.dumps(small))
    texts = ["abc cab", "\u0041\u030a bcab", "  abc"]
    expected = [other.encode(string, add_special_tokens=False).ids for string in texts]
    assert made.encode_all(texts) == expected == list(map(made.encode, texts))


@pytest.fixture
def small() -> dict:
    """The bytes, and a few pieces that are merged of them."""
    # Llama 3's first ids are the bytes, in an order of their own.
    ranks = {bytes([byte]): 255 - byte for byte in range(256)} | {b"ab": 256, b"bc": 257, b"abc": 258, b"ca": 259, b"cab": 260}
    return json.loads(from_ranks(b"".join(b"%s %d\n" % (base64.b64encode(piece), rank) for piece, rank in ranks.items())))


def test_a_small_tokenizer_takes_the_fast_way(small):
    texts = ["abc cab", "bcab", "  abc \n\n123456 é"]
    made, other = Llama3Text(json.dumps(small).encode()), Tokenizer.from_str(json.dumps(small))
    assert made._ranked is not None
    assert made.encode_all(texts) == [other.encode(string, add_special_tokens=False).ids for string in texts]


@pytest.mark.parametrize("string", TEXTS)
def test_ids_are_those_of_tiktoken(text, reference, string):
    assert text.encode(string) == reference.encode_ordinary(string)
    assert text.decode(text.encode(string)) == string


def test_ids_are_those_of_tiktoken_on_random_text(text, reference):
    """Anything at all: scripts, emoji, white space and digits mixed, from 2,000 draws."""
    rng = random.Random(0)
    blocks = [(0x20, 0x7F), (0xA0, 0x500), (0x4E00, 0x9FFF), (0x1F300, 0x1F6FF), (0x9, 0xE), (0x30, 0x3A)]
    for _ in range(2000):
        string = "".join(chr(rng.randrange(*rng.choice(blocks))) for _ in range(rng.randrange(40)))
        assert text.encode(string) == reference.encode_ordinary(string), repr(string)
        assert text.decode(text.encode(string)) == string


def test_special_tokens_have_the_published_ids(text):
    published = {"<|begin_of_text|>": 128000, "<|end_of_text|>": 128001, "<|start_header_id|>": 128006}
    published |= {"<|finetune_right_pad_id|>": 128004, "<|end_header_id|>": 128007, "<|eot_id|>": 128009}
    published |= {"<|reserved_special_token_0|>": 128002, "<|reserved_special_token_247|>": 128255}
    assert {name: text.markers[name] for name in published} == published
    assert len(text.markers) == 256 and text.size == 128256


def test_text_never_becomes_a_marker(text):
    assert max(text.encode("<|eot_id|><|begin_of_text|>")) < 128000


def test_units_and_markers_follow_the_last_published_id(text):
    joint = JointVocabulary(text, codes=4096)
    string = "<|start_header_id|>user<|end_header_id|>\n\n这是输入: <sosp><0><4095><eosp>。<|eot_id|>"
    ids = joint.encode(string)
    assert joint.decode(ids) == string
    assert joint.encode("<0><4095><sosp><eosp>[question][answer]") == [128256, 128256 + 4095, *range(132352, 132356)]
    assert joint.base_size == 128256 and joint.size == 132480 and joint.size % 128 == 0
    assert not joint.is_text(128002)  # a reserved marker


def test_a_saved_vocabulary_comes_back(text, tmp_path):
    joint = JointVocabulary(text, codes=16)
    joint.save(tmp_path)
    again = JointVocabulary.load(tmp_path)
    assert again.sha256 == joint.sha256
    assert again.encode("the cat<sosp><5><eosp>") == joint.encode("the cat<sosp><5><eosp>")


def test_both_published_files_give_the_same_tokenizer(text, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(text.model)
    again = Llama3Text.read(tmp_path)
    assert again.encode(TEXTS[0]) == text.encode(TEXTS[0]) and again.markers == text.markers


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.model", b"IQ== 0\nnot a line\n", "line 2"),
        ("tokenizer.model", b"IQ== 0\nIg== 7\n", "ranks"),
        ("tokenizer.json", b'{"model": {"type": "Unigram"}}', "byte-pair"),
        ("tokenizer.json", b'{"model": ', "tokenizer.json"),
        ("tokenizer.json", json.dumps(MISPLACED).encode(), "ids that follow"),
        ("tokenizer.json", json.dumps(OTHER_CHAT).encode(), "eot_id"),
        ("tokenizer.json", json.dumps(MISPLACED | {"added_tokens": [{"content": "x"}]}).encode(), "byte-pair"),
        ("tokenizer.json", json.dumps(UNMERGED).encode(), "tokenizer.json"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CslmError, match=said) as error:
        Llama3Text.read(tmp_path)
    assert name in str(error.value)


def test_a_config_takes_the_published_tokenizer(text, tmp_path):
    config = experiments.load(Path(__file__).parents[2] / "configs" / "miniature_text.py")
    config = dataclasses.replace(
        config,
        vocabulary=dataclasses.replace(config.vocabulary, text=str(PUBLISHED)),
        data=dataclasses.replace(config.data, vocabulary=str(tmp_path)),
    )
    make_vocabulary(config)
    made = JointVocabulary.load(tmp_path)
    assert made.base_size == text.size and made.codes == config.tokenizer.model.codes


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(CslmError, match="neither tokenizer.json nor tokenizer.model"):
        Llama3Text.read(tmp_path)
