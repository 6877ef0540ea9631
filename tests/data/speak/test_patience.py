"""Patience: one bad record is no reason to stop, a server that is gone is one."""

import pytest

from cslm_jax.data.speak.patience import Patience
from cslm_jax.errors import BadRecord, CslmError, TryAgain


def attempt(patience: Patience, error: Exception | None = None) -> type[Exception] | None:
    try:
        with patience:
            if error:
                raise error
    except Exception as caught:
        return type(caught)


def test_it_ends_with_so_many_failures_in_a_row():
    patience = Patience("the server", 3)
    for _ in range(3):  # a success in between begins anew
        assert attempt(patience, TryAgain("tts", "no")) is TryAgain
        assert attempt(patience, BadRecord("tts", "no")) is BadRecord
        assert attempt(patience) is None
    assert [attempt(patience, TryAgain("tts", "no")) for _ in range(3)] == [TryAgain, TryAgain, CslmError]
    assert attempt(patience, TryAgain("tts", "no")) is TryAgain  # and is there again for another run


def test_it_names_what_failed_and_how_last():
    with pytest.raises(CslmError, match="the server failed for 1 texts in a row, the last time so: tts: it is gone"):
        with Patience("the server", 1):
            raise TryAgain("tts", "it is gone")
