"""The other side of `cslm bench against-torch-training`: transformers.Trainer as the paper's authors call it.

Every example is a sequence of its own, padded on the right to the longest of its batch and a multiple of 8; attention is
torch's fused one, the optimizer Trainer's own AdamW. Imports no JAX.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from cslm_jax.bench.turns import Stopwatch, Turns

MULTIPLE = 8
IGNORED = -100
"""Label of a target that does not count, to transformers."""


def main(folder: Path) -> None:
    turns, request = Turns(), json.loads((folder / "request.json").read_text())
    torch.set_num_threads(request["threads"])
    config = json.loads((folder / "config.json").read_text())
    optimizer = config["optimizer"]
    batch, examples = read_examples(folder)
    model = AutoModelForCausalLM.from_pretrained(folder / "model", attn_implementation="sdpa", dtype=torch.float32)
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            per_device_train_batch_size=batch,
            max_steps=request["steps"] * request["turns"],
            learning_rate=optimizer["learning_rate"],
            lr_scheduler_type="cosine",
            warmup_steps=round(optimizer["warmup"] * request["steps"] * request["turns"]),
            adam_beta1=optimizer["b1"],
            adam_beta2=optimizer["b2"],
            adam_epsilon=optimizer["epsilon"],
            weight_decay=optimizer["weight_decay"],
            max_grad_norm=optimizer["clip"],
            bf16=config["model"]["compute_dtype"] == "bfloat16",
            dataloader_pin_memory=torch.cuda.is_available(),
            train_sampling_strategy="sequential",  # the order of our rows, so that the losses can be compared
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = CountingTrainer(model=model, args=arguments, train_dataset=examples, data_collator=pad)
        trainer.add_callback(Pace(turns, request["steps"], trainer))
        trainer.train()


def read_examples(folder: Path) -> tuple[int, list[dict[str, np.ndarray]]]:
    """How many examples make a step, and all of them."""
    stored = np.load(folder / "examples.npz")
    labels = np.where(stored["loss_weights"] > 0, stored["tokens"], IGNORED)
    cut = [np.split(stream, stored["starts"][1:]) for stream in (stored["tokens"], labels)]
    return int(stored["a_step"]), [{"input_ids": ids, "labels": wanted} for ids, wanted in zip(*cut)]


def pad(examples: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """A batch as long as its longest example, rounded up."""
    longest = max(len(example["input_ids"]) for example in examples)
    shape = len(examples), -(-longest // MULTIPLE) * MULTIPLE
    padded = {"input_ids": torch.zeros(shape, dtype=torch.long), "attention_mask": torch.zeros(shape, dtype=torch.long)}
    padded["labels"] = torch.full(shape, IGNORED)
    for i, example in enumerate(examples):
        length = len(example["input_ids"])
        padded["input_ids"][i, :length] = torch.from_numpy(example["input_ids"])
        padded["labels"][i, :length] = torch.from_numpy(example["labels"])
        padded["attention_mask"][i, :length] = 1
    return padded


class CountingTrainer(Trainer):
    """Counts what it trains on."""

    useful, positions, losses = 0, 0, ()

    def training_step(self, model, inputs, *arguments, **options):
        mask = inputs["attention_mask"]
        self.useful, self.positions = self.useful + int(mask.sum()), self.positions + mask.numel()
        loss = super().training_step(model, inputs, *arguments, **options)
        self.losses += (float(loss),)
        return loss


class Pace(TrainerCallback):
    """Holds the Trainer until it is its turn, and tells the figures of every turn."""

    def __init__(self, turns: Turns, steps: int, trainer: CountingTrainer):
        self._turns, self._steps, self._trainer = turns, steps, trainer
        self._watch = Stopwatch()

    def on_step_begin(self, arguments, state, control, **_):
        if state.global_step:
            return
        self._turns.tell({"platform": arguments.device.type, "torch": torch.__version__, "threads": torch.get_num_threads()})
        self._next(control)

    def on_step_end(self, arguments, state, control, **_):
        if state.global_step % self._steps:
            return
        figures, trainer = self._watch.read(), self._trainer
        density = trainer.useful / trainer.positions
        self._turns.tell(figures | {"tokens": trainer.useful, "loss": float(np.mean(trainer.losses)), "density": density})
        self._next(control)

    def _next(self, control) -> None:
        self._trainer.useful, self._trainer.positions, self._trainer.losses = 0, 0, ()
        if not self._turns.wait():
            control.should_training_stop = True
        self._watch = Stopwatch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
