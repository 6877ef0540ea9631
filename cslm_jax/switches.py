"""Yes-or-no flags of the command line: `--flag`, `--flag=true` and `--flag=false`, as every other field takes a value."""

from __future__ import annotations

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

REGISTRY = ConstructorRegistry()
_VALUES = {"true": True, "false": False}


@REGISTRY.primitive_rule
def _switch(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    if info.type is not bool:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="true|false",
        instance_from_str=_read,
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value).lower()],
    )


def _read(words: list[str]) -> bool:
    match [word.lower() for word in words]:
        case []:
            return True
        case [word] if word in _VALUES:
            return _VALUES[word]
    raise ValueError(f"is true or false, not {' '.join(words)}")


MARKER = tyro.conf.FlagConversionOff
"""Without it tyro would make pairs, --flag and --no-flag, that take no value."""
