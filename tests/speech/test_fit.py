"""The small training loop: it learns, resumes bit for bit, and stops where it must."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from cslm_jax.errors import CslmError
from cslm_jax.speech.fit import MUON_RMS, FitConfig, digest, fit

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


@pytest.mark.parametrize("algorithm", ["adamw", "muon"])
def test_fit_finds_the_line_and_keeps_the_running_mean(algorithm):
    model = Line()
    fit(model, loss, batch, dataclasses.replace(CONFIG, algorithm=algorithm, steps=400))
    np.testing.assert_allclose(model.linear.kernel[...][:, 0], [1, -2, 0.5], atol=0.05)
    np.testing.assert_allclose(model.mean[...], 1, atol=0.3)


def test_metrics_tell_every_step(tmp_path):
    fit(Line(), loss, batch, CONFIG, tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 41))
    assert {"loss", "root", "grad_norm", "learning_rate", "seconds"} <= set(lines(tmp_path)[0])


def test_muon_moves_what_has_two_axes_and_adamw_the_rest():
    """For a matrix of one column the nearest orthogonal one has its direction; it is scaled by 0.2 sqrt(the longer side)."""
    optimizer = FitConfig(algorithm="muon", steps=2, learning_rate=1.0, clip=1e9).optimizer()
    params = nnx.state(Line(), nnx.Param)
    gradients = jax.tree.map(lambda p: jnp.linspace(1.0, 2.0, p.size).reshape(p.shape), params)
    moments = optimizer.init(params)
    for _ in range(2):  # the rate is 0 in the very first step
        updates, moments = optimizer.update(gradients, moments, params)
    kernel, bias = updates["linear"]["kernel"][...], updates["linear"]["bias"][...]
    # Newton-Schulz stops early: it leaves singular values between about 0.65 and 1.25.
    assert 0.65 < np.linalg.norm(kernel) / (MUON_RMS * np.sqrt(3)) < 1.25
    np.testing.assert_allclose(kernel / np.linalg.norm(kernel), -_unit(gradients["linear"]["kernel"][...]), atol=1e-3)
    assert bias[0] < -0.9, "AdamW moves every weight by about the rate, whatever its gradient"


def _unit(x):
    return x / np.linalg.norm(x)


@pytest.mark.parametrize("killed_at, algorithm", [(5, "adamw"), (27, "adamw"), (27, "muon")])
def test_an_interrupted_run_resumes_bit_for_bit(tmp_path, killed_at, algorithm):
    config = dataclasses.replace(CONFIG, algorithm=algorithm)

    def interrupted(step):
        if step == killed_at:
            raise KeyboardInterrupt
        return batch(step)

    whole, resumed = Line(), Line()
    fit(whole, loss, batch, config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(Line(), loss, interrupted, config, tmp_path / "cut")
    fit(resumed, loss, batch, config, tmp_path / "cut")
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

    with pytest.raises(CslmError, match="fit: loss nan, gradient norm nan at step 1"):
        fit(Line(), broken, batch, CONFIG)


def test_a_gradient_that_is_not_finite_is_not_saved(tmp_path):
    """The loss of that very step is still fine, but the weights behind it are not."""

    def steep(model, batch, key):
        return loss(model, batch, key)[0] + jnp.sqrt(0 * model.linear.bias[...].sum())

    with pytest.raises(CslmError, match=rf"fit \({tmp_path}\): loss \d.*, gradient norm nan at step 1,"):
        fit(Line(), steep, batch, dataclasses.replace(CONFIG, steps=1), tmp_path)
    assert not (tmp_path / "fit.safetensors").exists()


def test_the_checkpoint_of_another_model_or_config_is_refused(tmp_path):
    fit(Line(3), loss, batch, CONFIG, tmp_path)
    with pytest.raises(CslmError, match=r"fit.safetensors was made with .*kernel.* = \(3, 1\), not \(4, 1\)"):
        fit(Line(4), loss, batch, CONFIG, tmp_path)
    with pytest.raises(CslmError, match="was made with steps = 40, not 50"):
        fit(Line(3), loss, batch, dataclasses.replace(CONFIG, steps=50), tmp_path)
    fit(Line(3), loss, None, dataclasses.replace(CONFIG, log_every=3, checkpoint_every=7), tmp_path)


def test_what_was_learnt_from_something_else_is_refused(tmp_path):
    made = {"noise": 0.1, "model": {"kernels": (3, 5)}, "texts": digest(["a", "b"])}
    fit(Line(), loss, batch, CONFIG, tmp_path, identity=made)
    fit(Line(), loss, None, CONFIG, tmp_path, identity=made)
    for name, value in {"noise": 0.2, "texts": digest(["ab"])}.items():
        with pytest.raises(CslmError, match=f"was made with {name} = {made[name]}, not {value} "):
            fit(Line(), loss, batch, CONFIG, tmp_path, identity=made | {name: value})
    with pytest.raises(CslmError, match=r"was made with model.kernels = \[3, 5\], not \[3, 7\] "):
        fit(Line(), loss, batch, CONFIG, tmp_path, identity=made | {"model": {"kernels": (3, 7)}})


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog):
    fit(Line(), loss, batch, CONFIG, tmp_path)
    expected = losses(tmp_path)
    _cut(tmp_path / "fit.safetensors")
    asked = []
    fit(Line(), loss, lambda step: asked.append(step) or batch(step), CONFIG, tmp_path)
    assert asked == list(range(30, 40)) and losses(tmp_path) == expected
    assert "fit.safetensors is damaged" in caplog.text


def test_only_damaged_checkpoints_are_named(tmp_path):
    fit(Line(), loss, batch, CONFIG, tmp_path)
    for name in ("fit.safetensors", "fit.previous.safetensors"):
        _cut(tmp_path / name)
    with pytest.raises(CslmError, match="fit.safetensors and .*fit.previous.safetensors cannot be read"):
        fit(Line(), loss, batch, CONFIG, tmp_path)


def _cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_kill_between_two_checkpoints_loses_none(tmp_path):
    """The moment in which the older one has its new name and the newer one has not."""
    fit(Line(), loss, batch, CONFIG, tmp_path)
    (tmp_path / "fit.safetensors").rename(tmp_path / "fit.tmp")
    asked = []
    fit(Line(), loss, lambda step: asked.append(step) or batch(step), CONFIG, tmp_path)
    assert asked == list(range(30, 40))


def test_a_run_that_went_astray_is_not_saved(tmp_path):
    def broken(model, batch, key):
        return loss(model, batch, key)[0] * jnp.nan

    with pytest.raises(CslmError, match="loss nan, .* at step 10"):
        fit(Line(), broken, batch, dataclasses.replace(CONFIG, log_every=40), tmp_path)
    assert not (tmp_path / "fit.safetensors").exists()


IMPOSSIBLE = {"algorithm": "sgd", "steps": 0, "learning_rate": 0.0, "warmup_fraction": 1.0, "weight_decay": -1}


@pytest.mark.parametrize("field, value", IMPOSSIBLE.items())
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        FitConfig(**{field: value})
