"""`cslm prepare-beam`: the workers of `cslm prepare` as a Beam pipeline, for Dataflow, Flink, Spark or several processes here.

Beam only places the work; what a worker does is `prepare`'s own, so the files are the same, and what is finished is not done
again. Each worker reads the corpora and the tokenizer and writes records and caches, so every path of the config must name the
same shared disk on all machines (a mounted bucket, NFS), and cslm_jax must be installed there (Dataflow: in the image of
`--sdk_container_image`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from cslm_jax.config import Experiment, from_dict, to_dict
from cslm_jax.data import prepare
from cslm_jax.data.summary import write_summary
from cslm_jax.errors import CslmError


def prepare_beam(config: Experiment, workers: int = 1, beam: str = "") -> None:
    """`cslm prepare` by Beam: the records of all workers, then the token caches of all workers, then, here, the summary.

    Args:
        workers: into how many the work is divided; at least as many as the runner has machines.
        beam: flags of Beam in one string, such as "--runner=FlinkRunner --flink_master=host:8081".

    Raises:
        CslmError: apache-beam is not installed, or whatever `cslm prepare` raises here before the work.
    """
    try:
        import apache_beam
    except ImportError as error:
        raise CslmError(f"cslm prepare-beam needs apache-beam: pip install 'cslm_jax[beam]' ({error})") from error
    if workers < 1:
        raise CslmError(f"--workers={workers}: at least one worker is needed")
    prepare.check_units(config.data)
    tree = json.dumps(to_dict(config))  # not pickled: a worker may have another version, and says so
    with apache_beam.Pipeline(argv=shlex.split(beam)) as pipeline:
        records = _numbers(apache_beam, pipeline, "records", workers) | apache_beam.Map(make_records, workers, tree)
        # Caches are of all records: the side input is there when every worker is done.
        done = apache_beam.pvalue.AsList(records)
        _numbers(apache_beam, pipeline, "caches", workers) | apache_beam.Map(make_caches, workers, tree, done)
    write_summary(config.data, Path(config.workdir))


def _numbers(beam, pipeline, name: str, workers: int):
    """The numbers of the workers, spread over the machines."""
    return pipeline | f"workers for {name}" >> beam.Create(range(workers)) | f"spread {name}" >> beam.Reshuffle()


def make_records(worker: int, workers: int, tree: str) -> int:
    config = from_dict(json.loads(tree))
    prepare.make_records_of(config.corpora, config.data, worker, workers)
    return worker


def make_caches(worker: int, workers: int, tree: str, done: Iterable[int]) -> None:
    prepare.make_caches_of(from_dict(json.loads(tree)).data, worker, workers)
