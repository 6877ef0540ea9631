"""Beam places the workers, and the files are those of a plain run."""

import sys

import pytest
from killing import content_of, make_world

from cslm_jax import config as experiments
from cslm_jax.data import beam, prepare
from cslm_jax.errors import CslmError


def test_beam_makes_what_a_plain_run_makes(tmp_path):
    pytest.importorskip("apache_beam")
    plain, spread = (experiments.load(make_world(tmp_path / name, sound=False)) for name in ("plain", "beam"))
    prepare.prepare(plain)
    beam.prepare_beam(spread, workers=3, beam="--runner=DirectRunner")
    for folder in ("records", "cache"):
        assert content_of(tmp_path / "beam" / "work" / folder) == content_of(tmp_path / "plain" / "work" / folder)
    assert (tmp_path / "beam" / "work" / "summary.json").is_file()


def test_without_beam_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(CslmError, match=r"pip install 'cslm_jax\[beam\]'"):
        beam.prepare_beam(experiments.load(make_world(tmp_path / "world", sound=False)))
