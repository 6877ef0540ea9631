"""Placeholders in what is sent to translators and synthesisers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """Texts anywhere in a template of JSON with {name} replaced, in one go: what a value holds is never replaced again."""
    match template:
        case str():
            return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)
        case Mapping():
            return {name: fill(value, values) for name, value in template.items()}
        case list() | tuple():
            return [fill(value, values) for value in template]
    return template
