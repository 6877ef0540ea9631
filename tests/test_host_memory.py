"""The malloc settings must be accepted where they are meant to work, and harmless everywhere else."""

import platform

from cslm_jax import host_memory


def test_glibc_takes_the_settings():
    assert host_memory.keep_freed_memory() is (platform.libc_ver()[0] == "glibc")


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(host_memory.sys, "platform", "darwin")
    assert host_memory.keep_freed_memory() is False
