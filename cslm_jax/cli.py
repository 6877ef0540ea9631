"""`cslm <command> --config=configs/x.py --config.path.to.field=value`: the one entry point.

A command is a plain function with typed keyword arguments; tyro makes its flags, help and messages from
the signature. The function is imported only when its command runs, so that no command pays for (or
depends on) the packages of another: training never imports TensorFlow.
"""

from __future__ import annotations

import collections
import functools
import importlib
import inspect
import logging
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tyro

from cslm_jax import switches
from cslm_jax.errors import CslmError
from cslm_jax.host_memory import keep_freed_memory

COMMANDS = {
    "quickstart": ("cslm_jax.miniature.quickstart:quickstart", "the whole method on the miniature, end to end"),
    "vocabulary": ("cslm_jax.data.text:make_vocabulary", "train the text pieces and write the joint vocabulary"),
    "tokenizer": ("cslm_jax.data.speech:train_tokenizer", "train the speech tokenizer and CTC recogniser"),
    "decoder": ("cslm_jax.data.speech:train_decoder", "train the speech decoder on the answer voice"),
    "prepare": ("cslm_jax.data.prepare:prepare", "corpora -> records -> token caches"),
    "prepare-beam": ("cslm_jax.data.beam:prepare_beam", "the same, its workers placed by Apache Beam"),
    "units": ("cslm_jax.data.listen:units", "sound files -> units, as lines of JSON"),
    "align": ("cslm_jax.data.listen:align", "a sound file and its text -> words and chunks with their times, as JSON"),
    "show-batch": ("cslm_jax.data.show_batch:show_batch", "print the rows of one step"),
    "train": ("cslm_jax.train.loop:train", "train the LM: text, CPT or SFT"),
    "evaluate": ("cslm_jax.evaluate.evaluate:evaluate", "the paper's measures on held-out items, and the report"),
    "report": ("cslm_jax.evaluate.evaluate:report", "make report.json and report.html again from what was measured"),
    "plan": (
        "cslm_jax.train.plan:plan",
        "compile the train step for TPUs or GPUs that are not here: does it fit, how fast, how long",
    ),
    "bench step": ("cslm_jax.bench.step:step", "time the train step: tokens/s, MFU, memory"),
    "bench loss": ("cslm_jax.bench.loss:loss", "time and memory of the tiled loss"),
    "bench attention": ("cslm_jax.bench.attention:attention", "time every attention kernel of this machine"),
    "bench prepare": ("cslm_jax.bench.prepare:prepare", "time how records become tokens"),
    "bench loader": ("cslm_jax.bench.loader:loader", "time the batches"),
    "bench align": ("cslm_jax.bench.align:align", "time the aligner's best paths beside the plain reference"),
    "bench generate": ("cslm_jax.bench.generate:generate", "time prefill and decode"),
    "bench tokenizer": ("cslm_jax.bench.tokenizer:tokenizer", "time a published speech tokenizer"),
    "bench against-torch-training": ("cslm_jax.bench.against_torch:training", "train beside transformers.Trainer"),
    "bench against-torch-generation": ("cslm_jax.bench.against_torch:generation", "answer beside transformers' generate"),
    "convert from-hf": ("cslm_jax.train.convert:from_hf", "a published Llama folder -> a run to begin from"),
    "convert to-hf": ("cslm_jax.train.convert:to_hf", "a run -> a Llama folder that transformers loads"),
    "respond": ("cslm_jax.generate.respond:respond", "answer a spoken question with speech"),
}

# An optional part of a config (such as RoPE scaling) stays a plain field.
_PARSING = (tyro.conf.AvoidSubcommands, switches.MARKER)


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0
    keep_freed_memory()
    _keep_compiled_programs()
    logging.basicConfig(level=logging.WARNING, format="%(levelname).1s %(name)s: %(message)s")
    logging.getLogger("cslm_jax").setLevel(os.environ.get("CSLM_LOG", "INFO"))
    name = _name(argv)
    try:
        command = _command(name)
        choices, rest = _take_choices(argv[len(name.split()) :])
        bound = _bind_config(name, command, choices)
        with switches.REGISTRY:
            tyro.cli(bound, args=rest, prog=f"cslm {name}", use_underscores=True, config=_PARSING)
    except CslmError as error:
        print(f"cslm {name}: {error}", file=sys.stderr)
        return 2
    return 0


def _keep_compiled_programs() -> None:
    """A run that is started again, or the next of an ablation, then begins at once. Comes before JAX is imported, which reads
    the variable; JAX_COMPILATION_CACHE_DIR= (empty) keeps none. By host: a home may be shared by processors that differ. In a
    job of several processes JAX writes from the first alone, so pods want a folder that all of them see."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "cslm_jax" / "xla" / platform.node()))


def _name(argv: Sequence[str]) -> str:
    """The command's name, of one word or two."""
    two = " ".join(argv[:2])
    family = any(name.startswith(f"{argv[0]} ") for name in COMMANDS)
    return two if family else argv[0]


def _overview() -> str:
    rows = [f"  {name:<32}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: cslm <command> [--config=FILE] [--config.path.to.field=value] [flags]", "", *rows, "",
                      "cslm <command> [--config=FILE] --help lists every flag and config field."])  # fmt: skip


def _command(name: str) -> Callable:
    if name not in COMMANDS:
        raise CslmError(f"no such command.{_nearest(name, COMMANDS)} The commands are: {', '.join(COMMANDS)}")
    module, function = COMMANDS[name][0].split(":")
    return getattr(importlib.import_module(module), function)


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean `{close[0]}`?" if close else ""


# The config file, and what decides which tasks it has, and so which weights there are as flags of their own.
_CHOICES = ("--config", "--config.data.mixture", "--config.data.languages")
_SEVERAL = _CHOICES[2]


def _take_choices(argv: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Takes `--flag=VALUE` and `--flag VALUE` of _CHOICES (languages: VALUE ...) out of the arguments; the rest comes second."""
    taken, rest, words = {}, [], collections.deque(argv)
    while words:
        word = words.popleft()
        name, equals, value = word.partition("=")
        if name not in _CHOICES:
            rest.append(word)
            continue
        taken[name] = [value] if equals else []
        while words and not words[0].startswith("--") and (name == _SEVERAL or not taken[name]) and not equals:
            taken[name].append(words.popleft())
    return taken, rest


def _bind_config(name: str, command: Callable, choices: Mapping[str, Sequence[str]]) -> Callable:
    """The command with the file's experiment as the default that flags override."""
    if "config" not in inspect.signature(command).parameters:
        if choices:
            raise CslmError(f"this command takes no --config; see cslm {name} --help")
        return command
    path, mixture, languages = (choices.get(flag, ()) for flag in _CHOICES)
    if not path:
        raise CslmError(f"needs a config, for example: cslm {name} --config=configs/miniature_cpt.py")
    from cslm_jax import config as experiment

    @functools.wraps(command)
    def settled(config: experiment.Experiment, **flags) -> None:
        command(config=experiment.settle(config), **flags)

    loaded = experiment.load(path[0], mixture[0] if mixture else None, languages or None)
    return functools.partial(settled, config=loaded)


if __name__ == "__main__":
    sys.exit(main())
