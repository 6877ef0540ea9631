"""How the speech tokenizer is taught: CTC through the quantiser, on noisy and masked speech in buckets of like length."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from cslm_jax.buckets import bucket
from cslm_jax.errors import CslmError
from cslm_jax.speech import audio, ctc
from cslm_jax.speech.fit import FitConfig
from cslm_jax.speech.s3 import S3Tokenizer
from cslm_jax.speech.s3_config import S3Config

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Supervised training of the speech tokenizer; small defaults (the miniature's own: miniature.defaults)."""

    model: S3Config = S3Config(
        mels=80, width=160, heads=4, layers=3, codes=512, recogniser_layers=1, memory=11, position_scale=0.1
    )
    """Sizes of encoder, quantiser and recogniser."""
    fit: FitConfig = FitConfig(steps=2200, learning_rate=2e-3, weight_decay=0.01, warmup_fraction=0.1)
    """Optimisation."""
    utterances: int = 3400
    """Recordings to train on, drawn from all corpora."""
    speaker_share: float = 0.2
    """Largest share of them that one known speaker has: the many voices are the ones that are hard to hear."""
    batch_seconds: float = 32.0
    """Speech in a batch, padding included; many small steps learn faster than few large ones."""
    buckets: int = 4
    """Different lengths that utterances are padded to in training; each costs a compilation."""
    quantise_from: float = 0.2
    """Share of the steps after which the recogniser reads codebook entries; before, the encoder's own states."""
    commitment: float = 0.25
    """Weight of the squared distance between the states and their entries."""
    early: float = 1.0
    """Weight of the CTC loss on the encoder's own states."""
    steadiness: float = 0.3
    """Weight of the distance between neighbouring states: what is held gives one long run, so fewer merged units."""
    codebook_decay: float = 0.97
    """Decay of the codebook's running means, a step."""
    noise: float = 0.02
    """Largest deviation of the white noise added in training; speech peaks at about 0.5."""
    mask_share: float = 0.05
    """Share of the mel bins, and half that share of the time, that SpecAugment blanks out."""

    def __post_init__(self):
        if self.batch_seconds <= 0 or self.buckets < 1 or self.utterances < 1:
            raise ValueError("tokenizer: batch_seconds, buckets and utterances must be positive")
        if not 0 < self.speaker_share <= 1:
            raise ValueError(f"tokenizer: speaker_share must be in (0, 1], got {self.speaker_share}")
        if not 0 <= self.quantise_from < 1:
            raise ValueError(f"tokenizer: quantise_from must be in [0, 1), got {self.quantise_from}")
        if not 0 <= self.codebook_decay < 1:
            raise ValueError(f"tokenizer: codebook_decay must be in [0, 1), got {self.codebook_decay}")
        if self.model.recogniser_layers is None or self.model.dtype != "float32":
            raise ValueError("tokenizer: training needs a CTC head (model.recogniser_layers is None) and float32 (model.dtype)")


def tokenizer_loss(
    model: S3Tokenizer, batch: dict[str, Array], key: Array, config: TokenizerConfig
) -> tuple[Array, dict[str, Array]]:
    """CTC a label, before and behind the quantiser, and what keeps states near their entries and steady.

    Moves the codebook along. `batch` is what `Batches` gives.
    """
    noise_key, mask_key, codebook_key = jax.random.split(key, 3)
    lengths = batch["lengths"]
    mel = audio.log_mel_batch(_add_noise(batch["waveform"], noise_key, config.noise), lengths, config.model.mels)
    states = model.encoder(_mask(mel, mask_key, config.mask_share), lengths)
    present = jnp.arange(states.shape[1]) < config.model.units(lengths)[:, None]
    codes = model.quantizer.codes(jax.lax.stop_gradient(states))
    entries, distance = model.quantizer.through(states, codes)
    normal = model.quantizer.normalise(states)
    logits = model.recogniser(jnp.where(batch["quantise"], entries, normal), present)
    model.quantizer.learn(states, codes, present, codebook_key, config.codebook_decay)
    terms = {
        "ctc": _ctc_a_label(logits, present, batch["labels"]),
        "early_ctc": _ctc_a_label(model.early_outlet(states), present, batch["labels"]),
        "commitment": jnp.sum(distance * present) / jnp.sum(present),
        "changes": _changes(normal, present),
    }
    loss = terms["ctc"] + config.early * terms["early_ctc"] + config.commitment * terms["commitment"]
    loss += config.steadiness * batch["quantise"] * terms["changes"]
    return loss, terms | {"codebook_perplexity": model.quantizer.perplexity()}


def _ctc_a_label(logits: Float[Array, "B U V"], present: Array, labels: Array) -> Array:
    loss = optax.ctc_loss(logits, 1.0 - present, labels, 1.0 * (labels == ctc.BLANK), blank_id=ctc.BLANK)
    return jnp.sum(loss) / jnp.sum(labels != ctc.BLANK)


def _changes(states: Float[Array, "B U D"], present: Array) -> Array:
    """Mean distance between neighbours. Not squared: a few jumps are as cheap as many small steps, and merge better."""
    steps = jnp.sqrt(jnp.sum(jnp.square(jnp.diff(states, axis=1)), axis=-1) + 1e-4)
    return jnp.sum(steps * present[:, 1:]) / jnp.sum(present[:, 1:])


def _add_noise(samples: Float[Array, "B S"], key: Array, largest: float) -> Float[Array, "B S"]:
    """16-bit samples within [-1, 1], with a gain of -12 to 0 dB and, in half of the rows, white noise."""
    gain_key, level_key, noise_key = jax.random.split(key, 3)
    rows = (len(samples), 1)
    gain = 10 ** (-0.6 * jax.random.uniform(gain_key, rows))
    level = largest * jnp.square(jax.random.uniform(level_key, rows, minval=-1, maxval=1).clip(0))
    # Uniform noise of the same deviation: many times cheaper than Gaussian noise on a CPU, and it sounds alike.
    bits = jax.random.bits(noise_key, samples.shape, jnp.uint8)
    return gain * (samples / 32768 + level * (bits.astype(jnp.float32) - 127.5) / 74.0)


def _mask(mel: Float[Array, "B T M"], key: Array, share: float) -> Float[Array, "B T M"]:
    """SpecAugment (Park et al. 2019): one band of bins and two stretches of time of each row are blanked out."""
    bands, *stretches = jax.random.split(key, 3)
    mel = jnp.where(_band(bands, mel.shape[0], mel.shape[2], share)[:, None], 0.0, mel)
    for stretch in stretches:
        mel = jnp.where(_band(stretch, mel.shape[0], mel.shape[1], share / 4)[:, :, None], 0.0, mel)
    return mel


def _band(key: Array, rows: int, length: int, share: float) -> Array:
    """A random interval a row, up to 2 x share of the length long."""
    where, width = jax.random.uniform(key, (2, rows, 1))
    index = jnp.arange(length)
    return (index >= where * length) & (index < (where + 2 * share * width) * length)


class Batches:
    """`batches(step)`: utterances of like length together; an epoch visits each of them once."""

    def __init__(
        self, waveforms: Sequence[Float[np.ndarray, "_"]], texts: Sequence[str], labels: ctc.Labels, config: TokenizerConfig
    ):
        self.config = config
        self.epoch = functools.lru_cache(maxsize=2)(self._epoch)
        self.waveforms = [np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16) for waveform in waveforms]
        self.labels = [labels.encode(ctc.spoken(text)) for text in texts]
        self.frames = np.array([len(waveform) // audio.HOP for waveform in waveforms])
        usable = np.array([0 < ctc.frames_needed(y) <= config.model.units(t) for y, t in zip(self.labels, self.frames)])
        if not usable.any():
            raise CslmError("the tokenizer needs utterances whose text fits their length; got none")
        if not usable.all():
            logger.warning("%d of %d utterances have more text than units; left out", (~usable).sum(), len(usable))
        self.label_length = bucket(max(len(y) for y, ok in zip(self.labels, usable) if ok), 16)
        self.groups = self._groups(np.flatnonzero(usable))

    def _groups(self, usable: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """(padded frames, members) of each bucket; the edges are quantiles, rounded up to 0.16 s."""
        edges = np.quantile(self.frames[usable], np.linspace(0, 1, self.config.buckets + 1)[1:])
        edges = np.unique(np.ceil(edges / 16).astype(int) * 16)
        bucket_of = np.searchsorted(edges, self.frames[usable])
        return [(int(edge), usable[bucket_of == i]) for i, edge in enumerate(edges) if (bucket_of == i).any()]

    def _epoch(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """(padded frames, rows) of each batch. A bucket's last batch is filled up from its beginning."""
        rng = np.random.default_rng([self.config.fit.seed, epoch])
        batches = []
        for edge, members in self.groups:
            rows = max(int(self.config.batch_seconds * 100 / edge), 1)
            members = np.resize(rng.permutation(members), -(-len(members) // rows) * rows)
            batches += [(edge, rows) for rows in members.reshape(-1, rows)]
        return [batches[i] for i in rng.permutation(len(batches))]

    @functools.cached_property
    def per_epoch(self) -> int:
        return len(self.epoch(0))

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        edge, rows = self.epoch(step // self.per_epoch)[step % self.per_epoch]
        waveform, lengths = audio.pad_waveforms([self.waveforms[i] for i in rows], edge)
        labels = np.full((len(rows), self.label_length), ctc.BLANK, np.int32)
        for into, i in zip(labels, rows):
            into[: len(self.labels[i])] = self.labels[i]
        quantise = step >= self.config.quantise_from * self.config.fit.steps
        return {"waveform": waveform, "lengths": lengths, "labels": labels, "quantise": np.array(quantise)}
