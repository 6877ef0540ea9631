"""Every benchmark runs without data and vocabulary, and writes the figures that it promises."""

import dataclasses

import pytest

from cslm_jax import cli
from cslm_jax.bench.align import align
from cslm_jax.bench.attention import attention
from cslm_jax.bench.generate import generate
from cslm_jax.bench.loader import loader
from cslm_jax.bench.loss import loss
from cslm_jax.bench.prepare import prepare
from cslm_jax.bench.step import step
from cslm_jax.bench.tokenizer import tokenizer
from cslm_jax.errors import CslmError
from cslm_jax.speech.s3_config import PUBLISHED, S3Config


def positive(spread) -> bool:
    return 0 < spread["low"] <= spread["median"] <= spread["high"]


def test_every_benchmark_is_a_command():
    names = [name for name in cli.COMMANDS if name.startswith("bench ")]
    assert len(names) == 10 and all(callable(cli._command(name)) for name in names)


def test_step(bare, measure, capsys):
    (result,) = measure(step, bare, repetitions=2)
    assert positive(result["step_seconds"]) and result["step_seconds"]["repetitions"] == 2
    assert 7 * 32 < result["tokens_per_step"] <= 8 * 32
    rate = result["tokens_per_step"] / result["step_seconds"]["median"] / 8
    assert result["tokens_per_second_per_device"] == pytest.approx(rate)
    assert result["mfu_causal"] is result["mfu_full"] is None, "nobody publishes the peak of this CPU"
    assert result["compile_seconds"] > 0 and result["peak_memory_bytes"] > 2**20
    assert "tokens_per_second_per_device" in capsys.readouterr().out


def test_loss(bare, measure):
    tiled, plain = measure(loss, bare, tokens=64, repetitions=1)
    assert (tiled["loss"], plain["loss"]) == ("tiled", "plain")
    for result in (tiled, plain):
        assert result["tokens"] == 64 and result["temporary_bytes"] > 0 and positive(result["seconds"])


def test_without_repetitions_the_loss_is_only_compiled(bare, measure):
    """At sizes that this machine could never hold."""
    model, train = dataclasses.replace(bare.model, vocabulary_size=2**29), dataclasses.replace(bare.train, loss_tile=2**20)
    huge = dataclasses.replace(bare, model=model, train=train)
    tiled, plain = measure(loss, huge, tokens=32, repetitions=0)
    assert plain["temporary_bytes"] > 2**33 > 10 * tiled["temporary_bytes"] and "seconds" not in tiled


def test_attention_measures_the_kernels_of_this_machine(bare, measure):
    results = measure(attention, bare, tokens=64, repetitions=1)
    seen = {(result["kernel"], result["direction"]) for result in results}
    both = ("forward", "forward and backward")
    assert {(kernel, direction) for kernel in ("reference", "blocked") for direction in both} <= seen
    assert "splash" not in {kernel for kernel, _ in seen}, "it is for TPUs"
    assert all(result["tokens"] == 64 and positive(result["seconds"]) for result in results)


def test_loader(bare, measure):
    (result,) = measure(loader, bare, steps=3, repetitions=2)
    assert positive(result["tokens_per_second"]) and result["density"] == pytest.approx(31.5 / 32)


def test_align(bare, measure):
    plain, batched = measure(align, bare, batch=2, frames=20, labels=5, repetitions=2)
    assert (plain["paths"], batched["paths"]) == ("numpy", "batched") and batched["paths_equal"] == "True"
    assert batched["times_faster"] == pytest.approx(plain["seconds"]["median"] / batched["seconds"]["median"])


def test_prepare(bare, measure, capsys):
    results = measure(prepare, bare, examples=30, repetitions=2, entries=3)
    assert [result["task"] for result in results] == ["mt_en_zh", "asr_en", "tts_zh", "text_en"]
    for result in results:
        assert result["examples"] == 30 and 10 < result["tokens_per_example"] < 300
        assert positive(result["examples_per_second"]) and positive(result["examples_per_cpu_second"])
        assert len(result["profile"]) == 3 and all(0 < share < 1 for share in result["profile"].values())
    assert f"%  {next(iter(results[0]['profile']))}" in capsys.readouterr().out


def test_generate(bare, measure):
    (result,) = measure(generate, bare, batch=2, prompt=4, new_tokens=20, repetitions=2)
    assert positive(result["prefill_seconds"]) and positive(result["answer_seconds"])
    assert {"prefill_tokens_per_second", "decode_tokens_per_second", "decode_step_seconds", "peak_memory_bytes"} <= set(result)


def test_tokenizer(bare, measure, monkeypatch):
    tiny = S3Config(mels=20, width=32, heads=2, layers=1, codes=16, recogniser_layers=None)
    monkeypatch.setitem(PUBLISHED, "v2", tiny)
    (result,) = measure(tokenizer, bare, version="v2", utterances=3, longest=1.0, repetitions=2)
    assert positive(result["seconds"]) and positive(result["hours_an_hour"]) and result["first_seconds"] > 0
    assert result["sound_seconds"] == pytest.approx(1.8, abs=0.01)
    # The upper quartile of one is the lower of the other, but for the interpolation between two turns.
    assert result["hours_an_hour"]["low"] <= 1.8 / result["seconds"]["low"] * 1.01
    assert result["hours_an_hour"]["high"] >= 1.8 / result["seconds"]["high"] * 0.99


@pytest.mark.parametrize("bench", [step, loader])
def test_missing_data_is_told_with_the_way_around_it(bare, bench):
    data = dataclasses.replace(bare.data, synthetic=False)
    with pytest.raises(CslmError, match="cslm vocabulary.*--config.data.synthetic=true"):
        bench(dataclasses.replace(bare, data=data))
