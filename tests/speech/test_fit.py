"""The small training loop: it learns, resumes bit for bit, and stops where it must."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from cslm_jax.errors import CslmError
from cslm_jax.speech.fit import FitConfig, fit

CONFIG = FitConfig(steps=40, learning_rate=0.05, log_every=1, checkpoint_every=10)


class Line(nnx.Module):
    """y = a x + b, with a running mean of the inputs beside the parameters."""

    def __init__(self, width: int = 3):
        self.linear = nnx.Linear(width, 1, rngs=nnx.Rngs(0))
        self.mean = nnx.BatchStat(jnp.zeros(width))

    def __call__(self, x):
        return self.linear(x)[:, 0]


def loss(model, batch, key):
    model.mean[...] = 0.9 * model.mean[...] + 0.1 * batch["x"].mean(0)
    noise = 0.01 * jax.random.normal(key, batch["y"].shape)
    error = jnp.mean(jnp.square(model(batch["x"]) - batch["y"] + noise))
    return error, {"root": jnp.sqrt(error)}


def batch(step):
    x = np.random.default_rng(step).normal(size=(16, 3)).astype(np.float32) + 1
    return {"x": x, "y": x @ np.array([1, -2, 0.5], np.float32) + 3}


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def losses(directory):
    return {line["step"]: line["loss"] for line in lines(directory)}


def state(model):
    return jax.tree.leaves(nnx.state(model))


def test_fit_finds_the_line_and_keeps_the_running_mean():
    model = Line()
    fit(model, loss, batch, dataclasses.replace(CONFIG, steps=400))
    np.testing.assert_allclose(model.linear.kernel[...][:, 0], [1, -2, 0.5], atol=0.05)
    np.testing.assert_allclose(model.mean[...], 1, atol=0.3)


def test_metrics_tell_every_step(tmp_path):
    fit(Line(), loss, batch, CONFIG, tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 41))
    assert {"loss", "root", "grad_norm", "learning_rate", "seconds"} <= set(lines(tmp_path)[0])


@pytest.mark.parametrize("killed_at", [5, 27])
def test_an_interrupted_run_resumes_bit_for_bit(tmp_path, killed_at):
    def interrupted(step):
        if step == killed_at:
            raise KeyboardInterrupt
        return batch(step)

    whole, resumed = Line(), Line()
    fit(whole, loss, batch, CONFIG, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(Line(), loss, interrupted, CONFIG, tmp_path / "cut")
    fit(resumed, loss, batch, CONFIG, tmp_path / "cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    for a, b in zip(state(whole), state(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_finished_run_is_not_repeated(tmp_path):
    model, again = Line(), Line()
    fit(model, loss, batch, CONFIG, tmp_path)
    fit(again, loss, None, CONFIG, tmp_path)
    np.testing.assert_array_equal(model.linear.kernel[...], again.linear.kernel[...])


def test_a_half_written_line_of_metrics_is_cut_off(tmp_path):
    fit(Line(), loss, batch, CONFIG, tmp_path)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 41, "lo')
    fit(Line(), loss, batch, CONFIG, tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 41))


def test_a_loss_that_is_not_finite_stops_the_run():
    def broken(model, batch, key):
        return loss(model, batch, key)[0] * jnp.nan

    with pytest.raises(CslmError, match="nan at step 1"):
        fit(Line(), broken, batch, CONFIG)


def test_the_checkpoint_of_another_model_or_config_is_refused(tmp_path):
    fit(Line(3), loss, batch, CONFIG, tmp_path)
    with pytest.raises(CslmError, match=r"fit.safetensors has .*kernel.* = \(3, 1\), the config asks for \(4, 1\)"):
        fit(Line(4), loss, batch, CONFIG, tmp_path)
    with pytest.raises(CslmError, match="has steps = 40, the config asks for 50"):
        fit(Line(3), loss, batch, dataclasses.replace(CONFIG, steps=50), tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    fit(Line(), loss, batch, CONFIG, tmp_path)
    content = (tmp_path / "fit.safetensors").read_bytes()
    (tmp_path / "fit.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CslmError, match="fit.safetensors is damaged"):
        fit(Line(), loss, batch, CONFIG, tmp_path)


def test_a_run_that_went_astray_is_not_saved(tmp_path):
    def broken(model, batch, key):
        return loss(model, batch, key)[0] * jnp.nan

    with pytest.raises(CslmError, match="nan at step 10"):
        fit(Line(), broken, batch, dataclasses.replace(CONFIG, log_every=40), tmp_path)
    assert not (tmp_path / "fit.safetensors").exists()


@pytest.mark.parametrize("field, value", [("steps", 0), ("warmup_fraction", 1.0), ("learning_rate", 0.0)])
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        FitConfig(**{field: value})
