"""From a config to the state that the first step begins with."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import optax
from etils import epath
from jax.sharding import Mesh

from cslm_jax.errors import CslmError
from cslm_jax.model import llama
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.model.parameters import Params
from cslm_jax.text import CHAT_MARKERS
from cslm_jax.text.stand_in import StandInText
from cslm_jax.train import sharding
from cslm_jax.train.checkpoint import Checkpoints, Origin, read_model
from cslm_jax.train.compatibility import check_resume, check_start
from cslm_jax.train.compiler_options import compiler_options
from cslm_jax.train.optimizer import parameter_of, schedule
from cslm_jax.train.step import TrainState, init_state, make_train_step
from cslm_jax.train.transfer import transferred
from cslm_jax.vocabulary import SPEECH_MARKERS, JointVocabulary

logger = logging.getLogger(__name__)


def load_vocabulary(config) -> JointVocabulary:
    """The vocabulary of data.vocabulary. Synthetic data does without one, with ids that mean nothing in its place.

    Raises:
        CslmError: there is none and the data is not synthetic, or it is damaged.
    """
    if not config.data.synthetic or (Path(config.data.vocabulary) / "vocabulary.json").exists():
        return JointVocabulary.load(config.data.vocabulary)
    rows = config.model.vocabulary_size
    if rows is not None:
        if rows < 2 * len(SPEECH_MARKERS + CHAT_MARKERS):
            raise CslmError(f"model.vocabulary_size={rows} has no room for chat and speech markers; make it larger")
        return JointVocabulary(StandInText(rows - len(SPEECH_MARKERS)), codes=0, pad_to=1)
    text = StandInText(config.vocabulary.pieces + len(CHAT_MARKERS))
    return JointVocabulary(text, config.tokenizer.model.codes, config.vocabulary.pad_to)


def with_vocabulary_size(config, vocabulary: JointVocabulary):
    """The experiment with the rows of its token table decided, and under LoRA which of them are frozen.

    Raises:
        CslmError: the config asks for fewer rows than the vocabulary has ids, or freezes all of them.
    """
    joint = config.train.vocabulary == "joint"
    needed = vocabulary.size if joint else vocabulary.base_size
    size = config.model.vocabulary_size or needed
    if size < needed:
        raise CslmError(f"model.vocabulary_size={size} is less than the vocabulary's {needed} ids; leave it unset")
    lora = _with_frozen_rows(config.model.lora, vocabulary, vocabulary.unpadded_size if joint else vocabulary.base_size)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocabulary_size=size, lora=lora))


def _with_frozen_rows(lora: LoraConfig, vocabulary: JointVocabulary, ids: int) -> LoraConfig:
    if not lora.rank:
        return lora
    frozen = lora.frozen_rows or vocabulary.base_size
    if frozen >= ids:
        raise CslmError(
            f"model.lora.frozen_rows={frozen} leaves none of the vocabulary's {ids} ids to train: LoRA is for a vocabulary "
            "that has grown (train.vocabulary=joint); set model.lora.rank=0 to train everything"
        )
    return dataclasses.replace(lora, frozen_rows=frozen)


def mesh_of(config, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The config's mesh over these devices, or all of the job's (`sharding.make_mesh`)."""
    rows, length = config.data.global_batch, config.data.row_length
    given = {} if devices is None else {"devices": devices}
    return sharding.make_mesh(config.mesh, config.model, rows, config.train.accumulate, row_length=length, **given)


def begin(config, origin: Origin, mesh: Mesh, optimizer: optax.GradientTransformation, checkpoints: Checkpoints) -> TrainState:
    """The state to go on from. The order of restoring:

    1. this run's own newest readable checkpoint, if it has one (resume);
    2. else the model of the run named by train.init_from (`transfer.transferred`), with a fresh optimizer;
    3. else fresh parameters from the seed.
    """
    shardings = state_shardings(config.model, mesh, optimizer)
    like = abstract_state(config.model, optimizer, shardings)
    accept = functools.partial(
        check_resume,
        experiment=origin.experiment,
        vocabulary_sha256=origin.vocabulary_sha256,
        where=str(checkpoints.directory),
    )
    restored = checkpoints.restore(like, accept)
    if restored is not None:
        logger.info("resuming %s from step %d", config.workdir, restored.step)
        return restored
    params = _first_params(config, origin, mesh, shardings.params)
    return jax.jit(lambda p: init_state(config.model, p, optimizer), out_shardings=shardings, donate_argnums=0)(params)


def state_shardings(model: LlamaConfig, mesh: Mesh, optimizer: optax.GradientTransformation) -> TrainState:
    """Where everything lives: moments with the parameter they belong to, counters everywhere."""
    params = sharding.param_shardings(mesh, llama.declared(model))
    everywhere = sharding.replicated(mesh)
    where = dict(jax.tree_util.tree_leaves_with_path(params))

    def of(path, _):
        return where.get(parameter_of(path, where), everywhere)

    state = jax.eval_shape(lambda p: init_state(model, p, optimizer), _abstract_params(model))
    return TrainState(everywhere, params, jax.tree_util.tree_map_with_path(of, state.optimizer))


def jit_train_step(config, mesh: Mesh, optimizer: optax.GradientTransformation, tasks: int) -> Callable:
    """The step as it is compiled: the state donated, its layout kept, figures on every device."""
    rates = schedule(config.optimizer, config.train.steps)
    step = make_train_step(config.model, config.train, optimizer, rates, tasks)
    layout = state_shardings(config.model, mesh, optimizer), sharding.replicated(mesh)
    options = compiler_options(mesh.devices.flat[0]) if config.train.compiler_options == "tuned" else {}
    return jax.jit(step, donate_argnums=0, out_shardings=layout, compiler_options=options)


def _first_params(config, origin: Origin, mesh: Mesh, shardings: Params) -> Params:
    where = config.train.init_from
    if where is not None and config.data.synthetic and not (epath.Path(where) / "checkpoints").exists():
        logger.warning("there is no run %s to start from; synthetic data begins with random weights instead", where)
        where = None
    if where is None:
        return fresh_params(config, shardings)
    trained = read_model(where, lambda model: sharding.param_shardings(mesh, llama.declared(model)))
    check_start(trained.origin, config.model, origin.vocabulary_sha256, where)
    rows = config.model.vocabulary_size
    logger.info("starting from step %d of %s, %d -> %d tokens", trained.step, where, trained.config.vocabulary_size, rows)
    take_over = jax.jit(lambda p, key: transferred(p, trained.config, config.model, key), out_shardings=shardings)
    return take_over(trained.params, jax.random.key(config.seed))


def fresh_params(config, shardings: Params) -> Params:
    """Random parameters from the seed, each made where it belongs."""
    make = jax.jit(lambda key: llama.initialise(config.model, key), out_shardings=shardings)
    return make(jax.random.key(config.seed))


def _abstract_params(model: LlamaConfig) -> Params:
    return jax.eval_shape(lambda: llama.initialise(model, jax.random.key(0)))


def abstract_state(model: LlamaConfig, optimizer: optax.GradientTransformation, shardings: TrainState) -> TrainState:
    """Shapes, types and places of everything that a step changes; allocates nothing."""
    shapes = jax.eval_shape(lambda p: init_state(model, p, optimizer), _abstract_params(model))
    return jax.tree.map(lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), shapes, shardings)
