"""The other side of `cslm bench against-torch-generation`: transformers' generate with its KV cache. Imports no JAX."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from cslm_jax.bench.turns import Stopwatch, Turns


def main(folder: Path) -> None:
    turns, request = Turns(), json.loads((folder / "request.json").read_text())
    torch.set_num_threads(request["threads"])
    config = json.loads((folder / "config.json").read_text())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, config["model"]["compute_dtype"])
    model = AutoModelForCausalLM.from_pretrained(folder / "model", attn_implementation="sdpa", dtype=dtype).to(device).eval()
    prompts = torch.from_numpy(np.load(folder / "prompts.npy")).long().to(device)
    greedy = GenerationConfig(
        do_sample=False, use_cache=True, max_new_tokens=request["new_tokens"], eos_token_id=None, pad_token_id=0
    )
    mask = torch.ones_like(prompts)
    turns.tell({"platform": device, "torch": torch.__version__, "threads": torch.get_num_threads()})
    while turns.wait():
        watch = Stopwatch()
        answers = model.generate(prompts, attention_mask=mask, generation_config=greedy)[:, prompts.shape[1] :].cpu().numpy()
        figures = watch.read()
        turns.tell(figures | {"tokens": answers.size, "same_tokens_as_ours": _share(answers, folder / "answers.npy")})


def _share(answers: np.ndarray, ours: Path) -> float | None:
    """Share of equal tokens; None before our side's first turn."""
    return float((answers == np.load(ours)).mean()) if ours.exists() else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
