"""Config files are Python; whatever is wrong in one is told with its line."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import traceback
import typing
from pathlib import Path
from typing import Any

from cslm_jax.data.catalogue import nearest
from cslm_jax.errors import CslmError

_WRONG_KEYWORD = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")


def get_config(path: Path, tree: type) -> Any:
    """What `get_config()` of a config file returns.

    Args:
        tree: the dataclass whose fields, and those of the dataclasses in it, the file may name.

    Raises:
        CslmError: the file cannot be run; the message says where, and for a wrong keyword the nearest field.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module.get_config()
    except Exception as error:  # a config file may do, and so raise, anything
        raise CslmError(f"{_place(path, error)}: {_reason(error, tree)}") from error


def _place(path: Path, error: Exception) -> str:
    """The file, and the line of it that the error came from, if it has one."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _reason(error: Exception, tree: type) -> str:
    if found := _WRONG_KEYWORD.match(str(error)):
        name, field = found.groups()
        if name in (known := _dataclasses(tree)):
            return f"{name} has no field {field!r}.{nearest(field, [each.name for each in dataclasses.fields(known[name])])}"
    if isinstance(error, SyntaxError):
        return f"syntax error: {error.msg}"
    return str(error) if isinstance(error, (CslmError, ValueError)) else f"{type(error).__name__}: {error}"


def _dataclasses(tree: Any) -> dict[str, type]:
    """The dataclasses that a type is made of, by name."""
    inside = typing.get_args(tree)
    found = {}
    if dataclasses.is_dataclass(tree):
        found[tree.__name__] = tree
        inside = typing.get_type_hints(tree).values()
    for each in inside:
        found |= _dataclasses(each)
    return found
