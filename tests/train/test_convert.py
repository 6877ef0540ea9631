"""Published Llama folders become runs and folders again: the same logits, the same bits, the same tokens.

The reference is transformers: it writes the folders that are read here, and loads those that are written.
"""

import base64
import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cslm_jax import chat, cli
from cslm_jax.errors import CslmError
from cslm_jax.generate.sampling import Generator, SamplingConfig
from cslm_jax.model import hf, llama
from cslm_jax.train.checkpoint import read_model
from cslm_jax.train.convert import from_hf, to_hf
from cslm_jax.train.loop import train
from cslm_jax.vocabulary import JointVocabulary

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROWS = 512  # 256 bytes and 256 special tokens
UNITS = 20
LLAMA31 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
KINDS = {
    "llama2": {"num_key_value_heads": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
    "llama3": {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}},
    "llama31": {"rope_parameters": LLAMA31},
    "llama32": {"rope_parameters": LLAMA31 | {"factor": 32.0}, "tie_word_embeddings": True, "head_dim": 16},
}


def published(directory: Path, kind="llama31", dtype=torch.float32, shard="1GB"):
    """A folder as people download it: weights, config, and Llama 3's tokenizer with bytes for pieces."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**{
        "vocab_size": ROWS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "initializer_range": 0.3, "max_position_embeddings": 256,
        **KINDS[kind],
    })  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.copy_(1 + 0.1 * torch.randn_like(weight))
    model.to(dtype).save_pretrained(directory, max_shard_size=shard)
    lines = (base64.b64encode(bytes([i])) + f" {i}\n".encode() for i in range(256))
    (directory / "tokenizer.model").write_bytes(b"".join(lines))
    return model


def tokens_of(rows=2, length=60):
    return np.random.default_rng(0).integers(0, ROWS, (rows, length))


def our_logits(workdir, tokens):
    trained = read_model(workdir)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)

    def run(params):
        model = llama.bind(trained.config, params)
        return model.logits(model(jnp.asarray(tokens), positions, jnp.ones_like(positions)))

    return np.asarray(jax.jit(run)(trained.params))


def their_logits(model, tokens):
    with torch.no_grad():
        return model(torch.from_numpy(tokens)).logits.float().numpy()


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Llama 3.1 in float32, the run made from it with units, and the folder made from that."""
    base = tmp_path_factory.mktemp("extended")
    model = published(base / "hf")
    from_hf(str(base / "hf"), str(base / "run"), units=UNITS)
    to_hf(str(base / "run"), str(base / "back"))
    return base, model


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers_before_and_after(kind, tmp_path):
    model = published(tmp_path / "hf", kind)
    from_hf(str(tmp_path / "hf"), str(tmp_path / "run"), units=0)
    tokens = tokens_of()
    expected = their_logits(model, tokens)
    np.testing.assert_allclose(our_logits(tmp_path / "run", tokens), expected, atol=1e-4)
    to_hf(str(tmp_path / "run"), str(tmp_path / "back"))
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    np.testing.assert_allclose(their_logits(back, tokens), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_bit_comes_back(dtype, tmp_path):
    model = published(tmp_path / "hf", dtype=dtype, shard="20KB")
    assert (tmp_path / "hf" / hf.INDEX).exists()
    from_hf(str(tmp_path / "hf"), str(tmp_path / "run"), units=UNITS)
    to_hf(str(tmp_path / "run"), str(tmp_path / "back"), shard_gib=20_000 / 2**30)
    back = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "back", dtype=dtype).state_dict()
    for name, weight in model.state_dict().items():
        assert back[name].dtype == dtype
        rows = ROWS if name in ("model.embed_tokens.weight", "lm_head.weight") else len(weight)
        assert torch.equal(back[name][:rows], weight), name


def test_old_rows_stay_and_new_rows_are_their_mean(extended):
    base, model = extended
    trained = read_model(base / "run")
    for ours, theirs in (("embedding", model.model.embed_tokens), ("output", model.lm_head)):
        table, old = np.asarray(trained.params[ours]), theirs.weight.detach().numpy()
        assert table.shape[0] == 640  # 512 + 20 units + 4 markers, padded to a multiple of 128
        np.testing.assert_array_equal(table[:ROWS], old)
        np.testing.assert_allclose(table[ROWS:], np.broadcast_to(old.mean(0), (128, 32)), atol=1e-6)


def test_new_rows_may_be_spread_like_the_old_ones(tmp_path):
    model = published(tmp_path / "hf")
    from_hf(str(tmp_path / "hf"), str(tmp_path / "run"), units=20_000, noise=0.5)
    old = model.lm_head.weight.detach().numpy()
    new = np.asarray(read_model(tmp_path / "run").params["output"])[ROWS:]
    np.testing.assert_allclose(np.cov(new.T), 0.25 * np.cov(old.T), atol=0.003)


def test_padding_rows_are_not_published_and_logits_stay(extended):
    base, model = extended
    back = transformers.LlamaForCausalLM.from_pretrained(base / "back")
    assert back.config.vocab_size == ROWS + UNITS + 4 == len(back.model.embed_tokens.weight)
    assert back.config.max_position_embeddings == model.config.max_position_embeddings
    tokens = tokens_of()
    np.testing.assert_allclose(their_logits(back, tokens)[..., :ROWS], their_logits(model, tokens), atol=1e-5)
    np.testing.assert_allclose(our_logits(base / "run", tokens)[..., : ROWS + UNITS + 4], their_logits(back, tokens), atol=1e-4)


def test_the_published_tokenizer_gives_our_ids(extended):
    base, _ = extended
    ours = JointVocabulary.load(base / "run" / "vocabulary")
    theirs = transformers.AutoTokenizer.from_pretrained(base / "back")
    string = "answer: 红色😀<sosp><0><19><7><eosp> and <7 > is text<|eot_id|>[question]: what?"
    ids = theirs.encode(string, add_special_tokens=False)
    assert theirs.decode(ids) == string
    assert ids == ours.encode(string)
    assert theirs.convert_tokens_to_ids(["<0>", "<19>", "<sosp>", "[answer]"]) == ours.encode("<0><19><sosp>[answer]")
    spoken = "<sosp>" + "".join(f"<{i % UNITS}>" for i in range(50)) + "<eosp>"
    assert theirs.encode(spoken, add_special_tokens=False) == ours.encode(spoken)
    assert theirs.decode(ours.encode(spoken), skip_special_tokens=True) == spoken


def test_the_published_chat_template_is_our_chat(extended):
    base, _ = extended
    ours = JointVocabulary.load(base / "run" / "vocabulary")
    theirs = transformers.AutoTokenizer.from_pretrained(base / "back")
    turns = [("system", "Be brief."), ("user", "这是输入: "), ("assistant", "yes."), ("user", "why?")]
    expected = chat.prompt([chat.Message(role, (text,)) for role, text in turns], ours)
    messages = [{"role": role, "content": text} for role, text in turns]
    got = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert list(got) == expected.tolist()


def test_greedy_answers_are_those_of_transformers(extended):
    base, _ = extended
    back = transformers.LlamaForCausalLM.from_pretrained(base / "back")
    trained = read_model(base / "run")
    vocabulary = JointVocabulary.load(base / "run" / "vocabulary")
    prompts = [tokens_of(1, length)[0].astype(np.int32) for length in (5, 17, 30)]
    answers = Generator(trained.params, trained.config, vocabulary).generate(
        prompts, SamplingConfig(greedy=True, max_new_tokens=40)
    )
    for prompt, answer in zip(prompts, answers, strict=True):
        with torch.no_grad():
            whole = back.generate(
                torch.from_numpy(prompt)[None].long(),
                max_new_tokens=40,
                do_sample=False,
                eos_token_id=vocabulary.eot,
                pad_token_id=0,
            )
        expected = whole[0, len(prompt) :].tolist()
        assert list(answer)[: len(expected)] == [token for token in expected if token != vocabulary.eot]


def test_training_begins_from_an_imported_model(extended, make_experiment, tmp_path):
    """bfloat16 or not, extended or not: the run that begins from it has its architecture, and float32 master weights."""
    base, _ = extended
    model = dataclasses.replace(read_model(base / "run").config, vocabulary_size=None)
    config = make_experiment(tmp_path, model=model, steps=1, init_from=str(base / "run"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, vocabulary=str(base / "run" / "vocabulary")))
    train(config)
    to_hf(str(tmp_path), str(tmp_path / "hf"), vocabulary=str(base / "run" / "vocabulary"))
    assert transformers.LlamaForCausalLM.from_pretrained(tmp_path / "hf").config.vocab_size == ROWS + UNITS + 4


def test_all_that_is_wrong_with_a_folder_is_listed(tmp_path):
    published(tmp_path / "hf")
    tensors = load_file(tmp_path / "hf" / hf.SINGLE)
    del tensors["model.norm.weight"]
    tensors["model.layers.7.self_attn.q_proj.weight"] = np.zeros((1, 1), np.float32)
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:5].copy()
    save_file(tensors, tmp_path / "hf" / hf.SINGLE)
    with pytest.raises(CslmError) as error:
        from_hf(str(tmp_path / "hf"), str(tmp_path / "run"))
    for said in ("missing: model.norm.weight", "surplus: model.layers.7.self_attn.q_proj", "lm_head.weight has shape (5, 32)"):
        assert said in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "qwen2"}, "model_type is 'qwen2'"),
        ({"attention_bias": True, "hidden_act": "gelu"}, "hidden_act is 'gelu'.*attention_bias is True"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "'yarn'"),
        ({"num_key_value_heads": 3}, "kv_heads"),
    ],
)
def test_another_architecture_is_refused(tmp_path, changes, said):
    published(tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CslmError, match=said):
        from_hf(str(tmp_path / "hf"), str(tmp_path / "run"))


def test_pickled_and_damaged_weights_are_refused(tmp_path):
    published(tmp_path / "hf")
    weights = tmp_path / "hf" / hf.SINGLE
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CslmError, match="model.safetensors cannot be read"):
        from_hf(str(tmp_path / "hf"), str(tmp_path / "run"))
    weights.rename(tmp_path / "hf" / "pytorch_model.bin")
    with pytest.raises(CslmError, match="never read"):
        from_hf(str(tmp_path / "hf"), str(tmp_path / "run"))


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    published(tmp_path / "hf")
    path = tmp_path / "hf" / "tokenizer.model"
    path.write_bytes(path.read_bytes() + base64.b64encode(b"th") + b" 256\n")
    with pytest.raises(CslmError, match="513 ids"):
        from_hf(str(tmp_path / "hf"), str(tmp_path / "run"))


def test_a_damaged_checkpoint_is_named_and_leaves_no_folder(tmp_path):
    published(tmp_path / "hf")
    from_hf(str(tmp_path / "hf"), str(tmp_path / "run"), units=UNITS)
    for file in (tmp_path / "run" / "checkpoints" / "0" / "params").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(CslmError, match="params is damaged"):
        to_hf(str(tmp_path / "run"), str(tmp_path / "back"))
    assert not (tmp_path / "back").exists()


def test_nothing_is_overwritten(extended, tmp_path):
    base, _ = extended
    JointVocabulary.load(base / "run" / "vocabulary").save(tmp_path / "vocabulary")
    with pytest.raises(CslmError, match="another vocabulary"):
        from_hf(str(base / "hf"), str(tmp_path), units=UNITS + 1)
    with pytest.raises(CslmError, match="there already"):
        from_hf(str(base / "hf"), str(base / "run"))
    with pytest.raises(CslmError, match="there already"):
        to_hf(str(base / "run"), str(base / "back"))


def test_the_commands_have_two_words(tmp_path, capsys):
    assert cli.main(["convert", "from-hf", f"--source={tmp_path}", f"--output={tmp_path / 'run'}"]) == 2
    assert "config.json cannot be read" in capsys.readouterr().err
    assert cli.main(["convert", "from-fh"]) == 2
    assert "Did you mean `convert from-hf`" in capsys.readouterr().err
