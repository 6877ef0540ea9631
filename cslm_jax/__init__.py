"""cslm_jax: cross-lingual speech language models in JAX."""

__version__ = "0.1.0"
