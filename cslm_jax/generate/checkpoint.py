"""A generator from what a training run left behind."""

from __future__ import annotations

from pathlib import Path

from cslm_jax.errors import CslmError
from cslm_jax.generate.sampling import Generator
from cslm_jax.train.checkpoint import read_model
from cslm_jax.vocabulary import JointVocabulary


def load_generator(run: str | Path, vocabulary: JointVocabulary) -> Generator:
    """The newest readable model of a training run, on the first device.

    Raises:
        CslmError: the run has no readable checkpoint, or was trained with another vocabulary.
    """
    trained = read_model(run)
    if trained.origin.vocabulary_sha256 != vocabulary.sha256:
        raise CslmError(f"{run} was trained with another vocabulary, in which its ids mean other things; give it its own")
    return Generator(trained.params, trained.config, vocabulary, trained.step)
