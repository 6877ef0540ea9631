"""Sizes and variants of the S3 tokenizer: the defaults are the published version 1, the fields reach the others."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

MEL_RATE = 100
"""Log-mel frames a second."""

OVERLAP_SECONDS = 4
"""What two windows of long sound share; each gives up the half that is nearer to its end."""

Positions = Literal["sinusoids", "rotary"]
Quantiser = Literal["codebook", "fsq"]
Dtype = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class S3Config:
    """Sizes of the tokenizer; the defaults are those of CosyVoice-300M-25Hz."""

    mels: int = 128
    """Mel bins of the input."""
    width: int = 1280
    """Model width, and the width of a codebook entry."""
    heads: int = 20
    """Attention heads."""
    layers: int = 6
    """Blocks before the quantiser."""
    mlp_ratio: int = 4
    """Width of the MLP in multiples of the model width."""
    codes: int = 4096
    """Entries of the codebook: the number of different units. Of "fsq" a power of 3."""
    unit_rate: Literal[25, 50] = 25
    """Units a second, before merging."""
    recogniser_layers: int | None = 6
    """Blocks between the quantiser and the CTC head; None for no CTC head, as in what is published."""
    memory: int = 0
    """Units that the convolutional memory beside the attention spans; 0 for none, as in version 1 (version 2: 31)."""
    positions: Positions = "sinusoids"
    """How a unit's place is told: "sinusoids" added to the input of the blocks (version 1), or "rotary", queries and keys
    turned by it (version 2)."""
    position_scale: float = 1.0
    """Factor of the sinusoids that are added to the input of the blocks."""
    quantiser: Quantiser = "codebook"
    """The nearest entry of a "codebook" (version 1), or finite scalar quantisation, "fsq" (version 2)."""
    attention_epsilon: float = 1e-5
    """Epsilon of the LayerNorm before the attention; releases of version 2 differ in it."""
    max_frames: int = 1500
    """Longest utterance in units; what it is padded with may reach beyond."""
    window_seconds: int | None = None
    """Longer sound is heard in windows of so many seconds; None: nothing longer than max_frames is heard."""
    dtype: Dtype = "float32"
    """What the blocks compute in and their weights are kept in; norms, softmax, quantiser and CTC head stay in float32."""

    def __post_init__(self):
        for field in ("mels", "width", "heads", "layers", "mlp_ratio", "codes", "max_frames"):
            if getattr(self, field) < 1:
                raise ValueError(f"s3: {field} must be at least 1, got {getattr(self, field)}")
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"s3: width must be even and a multiple of heads, got {self.width} and {self.heads}")
        if self.unit_rate not in (25, 50):
            raise ValueError(f"s3: unit_rate must be 25 or 50, got {self.unit_rate}")
        if self.recogniser_layers is not None and self.recogniser_layers < 0:
            raise ValueError(f"s3: recogniser_layers must not be negative, got {self.recogniser_layers}")
        for field, kind in (("positions", Positions), ("quantiser", Quantiser), ("dtype", Dtype)):
            if getattr(self, field) not in get_args(kind):
                raise ValueError(f"s3: {field} is {getattr(self, field)!r}; choose one of {', '.join(get_args(kind))}")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(f"s3: rotary positions turn pairs of channels; heads of {self.width // self.heads} are odd")
        if self.quantiser == "fsq" and (self.recogniser_layers is not None or self.codes != 3**self.fsq_channels):
            raise ValueError(f"s3: quantiser fsq needs codes to be a power of 3, got {self.codes}, and recogniser_layers None")
        if self.window_seconds is not None and not (OVERLAP_SECONDS < self.window_seconds <= self.max_frames / self.unit_rate):
            raise ValueError(f"s3: window_seconds must exceed {OVERLAP_SECONDS} and fit max_frames, got {self.window_seconds}")

    @property
    def first_stride(self) -> int:
        """Stride of the first convolution; the second one's is 2."""
        return MEL_RATE // self.unit_rate // 2

    @property
    def fsq_channels(self) -> int:
        """Digits of a unit to the base 3."""
        return round(np.log(self.codes) / np.log(3))

    @property
    def compute_dtype(self) -> jnp.dtype:
        return jnp.dtype(self.dtype)

    def units(self, mel_frames: Int[Array, "..."]) -> Int[Array, "..."]:
        """Units that come out of so many mel frames: the quotient, rounded up."""
        ratio = MEL_RATE // self.unit_rate
        return (mel_frames + ratio - 1) // ratio


_V1 = S3Config(recogniser_layers=None, window_seconds=30)
_V2 = dataclasses.replace(_V1, codes=3**8, memory=31, positions="rotary", quantiser="fsq")
PUBLISHED = {
    "v1_25hz": _V1,
    "v1_50hz": dataclasses.replace(_V1, unit_rate=50),
    "v2": _V2,
    "v3": dataclasses.replace(_V2, layers=12),
}
"""The tokenizers of CosyVoice-300M-25Hz, CosyVoice-300M, CosyVoice 2 and CosyVoice 3."""
