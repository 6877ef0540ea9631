"""Waveforms -> units, transcripts and label log-probabilities: the trained speech tokenizer and how it is trained."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float
from safetensors.numpy import load_file, save_file

from cslm_jax.buckets import bucket
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import audio, ctc
from cslm_jax.speech.fit import FitConfig, fit
from cslm_jax.speech.s3 import S3Config, S3Tokenizer
from cslm_jax.speech.units import Speech

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Supervised training of the speech tokenizer; the defaults are the miniature's."""

    model: S3Config = S3Config(
        mels=80, width=160, heads=4, layers=3, mlp_ratio=4, codes=512, recogniser_layers=1
    )
    """Sizes of encoder, quantiser and recogniser."""
    fit: FitConfig = FitConfig(steps=1200, learning_rate=2e-3, weight_decay=0.01, warmup_fraction=0.1)
    """Optimisation."""
    utterances: int = 3400
    """Recordings to train on, drawn from all corpora."""
    batch_seconds: float = 256.0
    """Speech in a batch, padding included."""
    buckets: int = 5
    """Different lengths that utterances are padded to in training; each costs a compilation."""
    quantise_from: float = 0.2
    """Share of the steps after which the recogniser reads codebook entries; before, the encoder's own states."""
    commitment: float = 0.25
    """Weight of the squared distance between the states and their entries."""
    early: float = 1.0
    """Weight of the CTC loss on the encoder's own states."""
    steadiness: float = 0.1
    """Weight of the distance between neighbouring states: what is held gives one long run, so fewer merged units."""
    codebook_decay: float = 0.97
    """Decay of the codebook's running means, a step."""
    noise: float = 0.02
    """Largest deviation of the white noise added in training; speech peaks at about 0.5."""
    mask_share: float = 0.1
    """Share of the mel bins, and half that share of the time, that SpecAugment blanks out."""

    def __post_init__(self):
        if self.batch_seconds <= 0 or self.buckets < 1 or self.utterances < 1:
            raise ValueError("tokenizer: batch_seconds, buckets and utterances must be positive")
        if not 0 <= self.quantise_from < 1:
            raise ValueError(f"tokenizer: quantise_from must be in [0, 1), got {self.quantise_from}")
        if not 0 <= self.codebook_decay < 1:
            raise ValueError(f"tokenizer: codebook_decay must be in [0, 1), got {self.codebook_decay}")


def tokenizer_loss(
    model: S3Tokenizer, batch: dict[str, Array], key: Array, config: TokenizerConfig
) -> tuple[Array, dict[str, Array]]:
    """CTC a label, plus commitment a unit; moves the codebook along."""
    noise_key, mask_key, codebook_key = jax.random.split(key, 3)
    lengths = batch["lengths"]
    waveform = _add_noise(batch["waveform"].astype(jnp.float32) / 32768, noise_key, config.noise)
    mel = audio.log_mel_batch(waveform, lengths, config.model.mels)
    states = model.encoder(_mask(mel, mask_key, config.mask_share), lengths)
    present = jnp.arange(states.shape[1]) < config.model.units(lengths)[:, None]
    codes = model.quantizer.codes(jax.lax.stop_gradient(states))
    entries, distance = model.quantizer.through(states, codes)
    logits = model.recogniser(jnp.where(batch["quantise"], entries, model.quantizer.normalise(states)), present)
    model.quantizer.learn(states, codes, present, codebook_key, config.codebook_decay)
    recognition = _ctc_a_label(logits, present, batch["labels"])
    early = _ctc_a_label(model.early_outlet(states), present, batch["labels"])
    commitment = jnp.sum(distance * present) / jnp.sum(present)
    changes = _changes(model.quantizer.normalise(states), present)
    counts = model.quantizer.counts[...]
    share = counts / jnp.sum(counts)
    used = jnp.exp(-jnp.sum(share * jnp.log(share + 1e-9)))
    loss = recognition + config.early * early + config.commitment * commitment
    loss += config.steadiness * batch["quantise"] * changes
    return loss, {"ctc": recognition, "early_ctc": early, "commitment": commitment, "changes": changes, "codebook_perplexity": used}


def _ctc_a_label(logits: Float[Array, "B U V"], present: Array, labels: Array) -> Array:
    loss = optax.ctc_loss(logits, 1.0 - present, labels, 1.0 * (labels == ctc.BLANK), blank_id=ctc.BLANK)
    return jnp.sum(loss) / jnp.sum(labels != ctc.BLANK)


def _changes(states: Float[Array, "B U D"], present: Array) -> Array:
    """Mean distance between neighbours. Not squared: a few jumps are as cheap as many small steps, and merge better."""
    steps = jnp.sqrt(jnp.sum(jnp.square(jnp.diff(states, axis=1)), axis=-1) + 1e-4)
    return jnp.sum(steps * present[:, 1:]) / jnp.sum(present[:, 1:])


def _add_noise(waveform: Float[Array, "B S"], key: Array, largest: float) -> Float[Array, "B S"]:
    """Gain of -12 to 0 dB and white noise of a random deviation, another one for each row."""
    gain_key, level_key, noise_key = jax.random.split(key, 3)
    rows = (len(waveform), 1)
    gain = 10 ** (-0.6 * jax.random.uniform(gain_key, rows))
    level = largest * jnp.square(jax.random.uniform(level_key, rows))
    # Uniform noise of the same deviation: many times cheaper than Gaussian noise on a CPU, and it sounds alike.
    bits = jax.random.bits(noise_key, waveform.shape, jnp.uint8)
    return gain * (waveform + level * (bits.astype(jnp.float32) - 127.5) / 74.0)


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

    def __init__(self, waveforms: Sequence[Float[np.ndarray, "_"]], texts: Sequence[str], labels: ctc.Labels, config: TokenizerConfig):
        self.config = config
        self.waveforms = [np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16) for waveform in waveforms]
        self.labels = [labels.encode(ctc.spoken(text)) for text in texts]
        self.frames = np.array([len(waveform) // audio.HOP for waveform in waveforms])
        usable = np.array(
            [0 < ctc.frames_needed(y) <= config.model.units(t) for y, t in zip(self.labels, self.frames)], bool
        )
        if not usable.any():
            raise CslmError("the tokenizer needs utterances whose text fits their length; got none")
        if not usable.all():
            log.warning("%d of %d utterances have more text than units; left out", (~usable).sum(), len(usable))
        self.label_length = bucket(max(len(y) for y, ok in zip(self.labels, usable) if ok), 16)
        self.groups = self._groups(np.flatnonzero(usable))

    def _groups(self, usable: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """(padded frames, members) of each bucket; the edges are quantiles, rounded up to 0.16 s."""
        edges = np.quantile(self.frames[usable], np.linspace(0, 1, self.config.buckets + 1)[1:])
        edges = np.unique(np.ceil(edges / 16).astype(int) * 16)
        bucket_of = np.searchsorted(edges, self.frames[usable])
        return [(int(edge), usable[bucket_of == i]) for i, edge in enumerate(edges) if (bucket_of == i).any()]

    @functools.lru_cache(maxsize=2)
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
        return len(self._epoch(0))

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        edge, rows = self._epoch(step // self.per_epoch)[step % self.per_epoch]
        waveform, lengths = audio.pad_waveforms([self.waveforms[i] for i in rows], edge)
        labels = np.full((len(rows), self.label_length), ctc.BLANK, np.int32)
        for into, i in zip(labels, rows):
            into[: len(self.labels[i])] = self.labels[i]
        quantise = step >= self.config.quantise_from * self.config.fit.steps
        return {"waveform": waveform, "lengths": lengths, "labels": labels, "quantise": np.array(quantise)}


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What the tokenizer hears in one waveform."""

    speech: Speech
    """Merged units and run lengths."""
    log_probs: Float[np.ndarray, "T V"]
    """Log-probabilities of the labels, one row a unit before merging."""


class SpeechTokenizer:
    """A trained tokenizer; immutable, so it can be shared."""

    def __init__(self, model: S3Tokenizer, labels: ctc.Labels, batch_seconds: float = 48.0):
        """`batch_seconds` is how much sound, padding included, goes through the model at once."""
        self.config, self.labels, self.batch_seconds = model.config, labels, batch_seconds
        self._graph, self._state = nnx.split(model)
        self._run = jax.jit(functools.partial(_analyse, self._graph))

    @property
    def model(self) -> S3Tokenizer:
        return nnx.merge(self._graph, self._state)

    def analyse(self, waveforms: Sequence[Float[np.ndarray, "S"]]) -> list[Analysis]:
        """Units and label log-probabilities of 16 kHz waveforms.

        The shape that a waveform is computed in follows from its own length alone (a bucket of frames, and the
        number of rows that belongs to the bucket), so its units do not depend on what else is in the call.

        Raises:
            BadRecord: (stage "audio") a waveform cannot be speech; see `audio.check`. Check them first where the others should go on.
        """
        for i, waveform in enumerate(waveforms):
            try:
                audio.check(waveform)
            except BadRecord as error:
                raise BadRecord("audio", f"waveform {i} {error.reason}") from None
        results: list[Analysis | None] = [None] * len(waveforms)
        for frames, rows, members in self._batches([len(waveform) // audio.HOP for waveform in waveforms]):
            padded, lengths = audio.pad_waveforms([waveforms[i] for i in members], frames)
            padded = np.pad(padded, ((0, rows - len(members)), (0, 0)))
            units, log_probs = self._run(self._state, padded, np.pad(lengths, (0, rows - len(members))))
            units, log_probs = np.asarray(units), np.asarray(log_probs)
            for row, (i, length) in enumerate(zip(members, self.config.units(lengths))):
                speech = Speech.from_frames(units[row, :length], float(self.config.unit_rate))
                results[i] = Analysis(speech, log_probs[row, :length].copy())
        return results

    def transcribe(self, waveforms: Sequence[Float[np.ndarray, "S"]]) -> list[str]:
        """Greedy CTC transcripts, in the form of `ctc.spoken`."""
        return [self.labels.decode(ctc.greedy(analysis.log_probs)) for analysis in self.analyse(waveforms)]

    def _batches(self, lengths: Sequence[int]) -> list[tuple[int, int, list[int]]]:
        """(padded frames, rows, members) of every batch."""
        members: dict[int, list[int]] = {}
        for i, length in enumerate(lengths):
            members.setdefault(bucket(length), []).append(i)
        batches = []
        for frames, group in members.items():
            rows = max(int(self.batch_seconds * 100 / frames), 1)
            batches += [(frames, rows, group[i : i + rows]) for i in range(0, len(group), rows)]
        return batches

    def save(self, directory: str | Path) -> None:
        """Writes `tokenizer.safetensors` and `tokenizer.json` into the directory."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        tensors = {name: np.asarray(leaf) for name, leaf in _named(self._state).items()}
        described = {"model": dataclasses.asdict(self.config), "characters": "".join(self.labels.characters)}
        save_file(tensors, directory / "tokenizer.tmp")
        os.replace(directory / "tokenizer.tmp", directory / "tokenizer.safetensors")
        (directory / "tokenizer.json.tmp").write_text(json.dumps(described, ensure_ascii=False, indent=1))
        os.replace(directory / "tokenizer.json.tmp", directory / "tokenizer.json")

    @classmethod
    def load(cls, directory: str | Path, batch_seconds: float = 48.0) -> SpeechTokenizer:
        """Reads what `save` wrote.

        Raises:
            CslmError: the directory holds no tokenizer, or its two files do not fit each other.
        """
        directory = Path(directory)
        if not (directory / "tokenizer.json").is_file() or not (directory / "tokenizer.safetensors").is_file():
            raise CslmError(f"{directory} holds no speech tokenizer; train one with `cslm tokenizer`")
        described = json.loads((directory / "tokenizer.json").read_text())
        labels = ctc.Labels(tuple(described["characters"]))
        model = new_model(S3Config(**described["model"]), labels)
        tensors = load_file(directory / "tokenizer.safetensors")
        state = nnx.state(model)
        names = _named(state)
        if {name: leaf.shape for name, leaf in names.items()} != {name: leaf.shape for name, leaf in tensors.items()}:
            raise CslmError(f"{directory / 'tokenizer.safetensors'} does not fit the tokenizer.json beside it")
        leaves = [jnp.asarray(tensors[name]) for name in names]
        nnx.update(model, jax.tree.unflatten(jax.tree.structure(state), leaves))
        return cls(model, labels, batch_seconds)


def _analyse(graph: nnx.GraphDef, state: nnx.State, waveform: Array, lengths: Array) -> tuple[Array, Array]:
    model = nnx.merge(graph, state)
    return model(audio.log_mel_batch(waveform, lengths, model.config.mels), lengths)


def new_model(config: S3Config, labels: ctc.Labels, seed: int = 0) -> S3Tokenizer:
    """A tokenizer with random weights."""
    return S3Tokenizer(config, labels.size, rngs=nnx.Rngs(params=seed))


def train(
    config: TokenizerConfig,
    waveforms: Sequence[Float[np.ndarray, "S"]],
    texts: Sequence[str],
    directory: str | Path | None = None,
) -> SpeechTokenizer:
    """Trains a tokenizer on (16 kHz waveform, text) pairs of all languages and saves it in `directory`.

    A rerun with the same arguments resumes from the last checkpoint in `directory`.
    """
    labels = ctc.Labels.from_texts(texts)
    model = new_model(config.model, labels, config.fit.seed)
    loss: Callable = functools.partial(tokenizer_loss, config=config)
    fit(model, loss, Batches(waveforms, texts, labels, config), config.fit, directory, "tokenizer")
    tokenizer = SpeechTokenizer(model, labels)
    if directory is not None:
        tokenizer.save(directory)
    return tokenizer


def _named(state) -> dict[str, Array]:
    return {".".join(str(getattr(k, "key", getattr(k, "idx", k))) for k in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
