"""The mixtures in seqio's registry: `import cslm_jax.data.mixtures`, then `seqio.get_mixture_or_task("cslm_cpt")`.

The import registers tasks and mixtures over the records and the vocabulary that the environment variables
CSLM_RECORDS and CSLM_VOCABULARY name; `register(config)` does it for a config. seqio's rates count examples; training
takes the same weights to count tokens (data.weights_per, loader.py).
"""

from __future__ import annotations

import os

import seqio

from cslm_jax.data import catalogue, tasks
from cslm_jax.data.config import DataConfig


def register(config: DataConfig) -> None:
    """Registers the config's tasks, and the mixtures of catalogue.MIXTURES over them with their own weights.

    The config's weights go to the mixture that it names.
    """
    tasks.register(config)
    for name in catalogue.MIXTURES:
        overrides = config.weights if name == config.mixture else {}
        weights = catalogue.all_weights(name, config.languages, overrides)
        rates = [(task, weight) for task, weight in weights.items() if weight > 0]
        seqio.MixtureRegistry.remove(name)
        if rates:  # the paper's mixtures have nothing in languages other than its own
            seqio.MixtureRegistry.add(name, rates)


_default = DataConfig()
register(
    DataConfig(
        records=os.environ.get("CSLM_RECORDS", _default.records),
        vocabulary=os.environ.get("CSLM_VOCABULARY", _default.vocabulary),
    )
)
